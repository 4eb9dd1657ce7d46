"""The CPU time of a process in which N tasks are parked, per second."""

import os
import sys
import time

import trio
from measure import ARGUMENTS, run, show


async def main() -> None:
    n, milliseconds = ARGUMENTS
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(event.wait)
        await trio.sleep(1.0)
        before = time.process_time_ns()
        await trio.sleep(milliseconds / 1000)
        used = time.process_time_ns() - before
        show("CPU at rest", "ns/s", used * 1000 / milliseconds)
        sys.stdout.flush()
        os._exit(0)  # to cancel them takes longer than all the rest


if __name__ == "__main__":
    run(main)
