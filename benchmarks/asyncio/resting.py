"""The CPU time of a process in which N tasks are parked, per second."""

import asyncio
import os
import sys
import time

from measure import ARGUMENTS, run, show


async def main() -> None:
    n, milliseconds = ARGUMENTS
    event = asyncio.Event()
    tasks = [asyncio.create_task(event.wait()) for _ in range(n)]
    await asyncio.sleep(1.0)
    before = time.process_time_ns()
    await asyncio.sleep(milliseconds / 1000)
    used = time.process_time_ns() - before
    show("CPU at rest", "ns/s", used * 1000 / milliseconds)
    sys.stdout.flush()
    os._exit(0 if tasks else 1)  # to cancel them takes longer than all the rest


if __name__ == "__main__":
    run(main)
