"""The CPU time of a process in which N goroutines are parked, per second.

python resting.py N MILLISECONDS
"""

import time

from goroutines import Chan, go, run, sleep
from measure import ARGUMENTS, show


def main() -> None:
    n, milliseconds = ARGUMENTS
    ch: Chan[None] = Chan()
    for _ in range(n):
        go(ch.recv_ok)
    sleep(1.0)  # all park, and sysmon comes to rest
    before = time.process_time_ns()
    sleep(milliseconds / 1000)
    used = time.process_time_ns() - before
    show("CPU at rest", "ns/s", used * 1000 / milliseconds)


if __name__ == "__main__":
    run(main)
