"""200 tasks block in `time.sleep`, which nothing has marked, 5 ms at a time. How late is another
one that wants to run every millisecond?
"""

import time

import trio
from measure import ARGUMENTS, run, show_percentiles

BLOCKED = 200
PERIOD = 0.001


async def block() -> None:
    while True:
        time.sleep(0.005)
        await trio.lowlevel.checkpoint()


async def main() -> None:
    lateness = []
    async with trio.open_nursery() as nursery:
        for _ in range(BLOCKED):
            nursery.start_soon(block)
        for _ in range(ARGUMENTS[0]):
            due = time.monotonic() + PERIOD
            await trio.sleep(PERIOD)
            lateness.append(time.monotonic() - due)
        show_percentiles("late beside 200 blocked", lateness)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run(main)
