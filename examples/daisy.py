"""A chain of 100,000 goroutines, all alive at once: each adds 1 to what it hears from the right.

    left  <-- +1 <-- +1 <-- ... <-- +1 <-- 1   right

A goroutine that waits is a stack of a few KB and no thread, so a hundred thousand are nothing
special. The memory is that of the whole chain: goroutines, channels and what they hold.

    $ python daisy.py 100000
    100001
    100000 goroutines alive at once, in 886 MB (8.9 KB each), on 3 OS threads
    1.57 s: 14.3 us to start each, 1.4 us to pass the number on and end
"""

import argparse
import re
import sys
import time
from typing import NamedTuple

from goroutines import Chan, RecvChan, SendChan, debug, go, gosched, num_goroutine, run


class Report(NamedTuple):
    result: int
    alive: int
    threads: int
    kilobytes: int
    start: float
    whisper: float


def link(left: SendChan[int], right: RecvChan[int]) -> None:
    left.send(1 + right.recv())


def memory_in_use() -> int:
    """Resident memory of this process with its page tables, in KB."""
    with open("/proc/self/status") as status:
        return sum(map(int, re.findall(r"^Vm(?:RSS|PTE):\s*(\d+)", status.read(), re.MULTILINE)))


def daisy(n: int) -> Report:
    memory, began = memory_in_use(), time.perf_counter()
    leftmost = right = Chan(int)
    for _ in range(n):
        left, right = right, Chan(int)
        go(link, left.sender, right.receiver)
    while any(debug.stats().runnable):
        gosched()  # until each of them has begun and waits for its neighbour
    ready = time.perf_counter()
    stats, alive, memory = debug.stats(), num_goroutine() - 1, memory_in_use() - memory

    go(right.send, 1)
    result = leftmost.recv()
    return Report(result, alive, stats.threads, memory, ready - began, time.perf_counter() - ready)


def main(n: int) -> None:
    report = daisy(n)
    print(report.result)
    print(
        f"{report.alive} goroutines alive at once, in {report.kilobytes / 1000:.0f} MB "
        f"({report.kilobytes / max(n, 1):.1f} KB each), on {report.threads} OS threads"
    )
    print(
        f"{report.start + report.whisper:.2f} s: {report.start / max(n, 1) * 1e6:.1f} us to start "
        f"each, {report.whisper / max(n, 1) * 1e6:.1f} us to pass the number on and end"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a chain of N goroutines")
    parser.add_argument("n", metavar="N", type=int, nargs="?", default=100_000)
    try:
        run(main, max(0, parser.parse_args().n))
    except KeyboardInterrupt:
        sys.exit(130)
