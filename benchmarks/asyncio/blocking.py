"""200 tasks block in `time.sleep`, which nothing has marked, 5 ms at a time. How late is another
one that wants to run every millisecond?
"""

import asyncio
import time

from measure import ARGUMENTS, run, show_percentiles

BLOCKED = 200
PERIOD = 0.001


async def block() -> None:
    while True:
        time.sleep(0.005)
        await asyncio.sleep(0)


async def main() -> None:
    tasks = [asyncio.create_task(block()) for _ in range(BLOCKED)]
    lateness = []
    for _ in range(ARGUMENTS[0]):
        due = time.monotonic() + PERIOD
        await asyncio.sleep(PERIOD)
        lateness.append(time.monotonic() - due)
    show_percentiles("late beside 200 blocked", lateness)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    run(main)
