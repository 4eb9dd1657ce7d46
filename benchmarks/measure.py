"""What the benchmark programs share: the clock, and one line of output for each number.

A program is called as `python pingpong.py N [PROCS]` and prints lines of the form
`what unit number`; the Go programs beside them do the same. The runner (run.py) knows no more.
"""

import os
import sys
import time
from collections.abc import Callable

import goroutines


def arguments() -> int:
    """N, once the number of Ps is set."""
    if len(sys.argv) > 2:
        goroutines.gomaxprocs(int(sys.argv[2]))
    return int(sys.argv[1])


def show(what: str, unit: str, number: float) -> None:
    print(what, unit, f"{number:.2f}", flush=True)


def timed(what: str, n: int, body: Callable[[], object]) -> None:
    """Prints wall time and CPU time (of all threads, user and system) per operation."""
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    body()
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    show(what, "ns", wall / n)
    show(what, "cpu-ns", cpu / n)


def benchmark(what: str, body: Callable[[int], object]) -> None:
    """body(n) in a main goroutine: once to warm up, once for the clock."""
    n = arguments()

    def main() -> None:
        body(max(n // 10, 1))
        timed(what, n, lambda: body(n))

    goroutines.run(main)


def memory() -> tuple[int, int]:
    """Bytes of this process: resident, and in page tables."""
    found = {}
    with open(f"/proc/{os.getpid()}/status") as status:
        for line in status:
            name, _, rest = line.partition(":")
            found[name] = rest.split()
    return int(found["VmRSS"][0]) << 10, int(found["VmPTE"][0]) << 10
