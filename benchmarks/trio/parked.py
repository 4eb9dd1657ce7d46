"""N tasks start and park on one channel, are woken by a value each, and end: twice."""

import trio
import trio.testing
from measure import ARGUMENTS, memory, run, show_growth, timed


async def wait(channel: trio.MemoryReceiveChannel[int]) -> None:
    await channel.receive()


async def main() -> None:
    n = ARGUMENTS[0]
    sender, receiver = trio.open_memory_channel[int](0)
    before = memory()
    for park, wake in [
        ("park, fresh stack", "wake and end"),
        ("park, used stack", "wake and end again"),
    ]:
        async with trio.open_nursery() as nursery:
            with timed(park, n):
                for _ in range(n):
                    nursery.start_soon(wait, receiver)
                await trio.testing.wait_all_tasks_blocked()
            if "fresh" in park:
                show_growth("parked", before, n)
            with timed(wake, n):
                for _ in range(n):
                    await sender.send(1)
                await trio.lowlevel.checkpoint()


if __name__ == "__main__":
    run(main)
