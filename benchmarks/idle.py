"""What the runtime costs when it has nothing to do: the CPU time of its threads while

- one goroutine computes, alone (sysmon's share, below 1 %),
- one computes and another one wakes every millisecond (sysmon's share),
- N goroutines are parked (the whole process: nothing).

    python benchmarks/idle.py [SECONDS [N]]
"""

import os
import sys
import threading
import time
from pathlib import Path

from goroutines import Chan, go, gomaxprocs, run, sleep

TICK = os.sysconf("SC_CLK_TCK")
TASKS = Path("/proc/self/task")


def sysmon_thread() -> int:
    """The one that is neither the main thread nor that of the only goroutine."""
    sleep(0.01)
    known = {os.getpid(), threading.get_native_id()}
    (sysmon,) = {int(task.name) for task in TASKS.iterdir()} - known
    return sysmon


def cpu_of(thread: int) -> float:
    """Seconds of user and system time."""
    fields = (TASKS / str(thread) / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def wake_often(quit_: list[bool]) -> None:
    while not quit_:
        sleep(0.001)


def share(what: str, seconds: float, thread: int) -> None:
    before, start = cpu_of(thread), time.monotonic()
    compute(seconds)
    took = time.monotonic() - start
    print(
        f"{what}: sysmon {100 * (cpu_of(thread) - before) / took:.2f} % of a processor", flush=True
    )


def parked(seconds: float, n: int) -> None:
    ch: Chan[None] = Chan()
    for _ in range(n):
        go(ch.recv_ok)
    sleep(2.0)  # all park, and sysmon comes to rest
    before = time.process_time()
    sleep(seconds)
    used = time.process_time() - before
    print(f"{n:,} parked: the process {100 * used / seconds:.3f} % of a processor", flush=True)
    ch.close()


def main(seconds: float, n: int) -> None:
    sysmon = sysmon_thread()
    share("one computes", seconds, sysmon)
    quit_: list[bool] = []
    go(wake_often, quit_)
    share("one computes, one wakes every ms", seconds, sysmon)
    quit_.append(True)
    parked(seconds, n)


if __name__ == "__main__":
    gomaxprocs(1)
    run(
        main,
        float(sys.argv[1]) if len(sys.argv) > 1 else 10.0,
        int(sys.argv[2]) if len(sys.argv) > 2 else 100_000,
    )
