"""A daisy chain: a number goes from the last task to the first, each adds one: one link."""

import trio
from measure import benchmark


async def add_one(left: trio.MemorySendChannel[int], right: trio.MemoryReceiveChannel[int]) -> None:
    await left.send(1 + await right.receive())


async def daisy(n: int) -> None:
    left, leftmost = trio.open_memory_channel[int](0)
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            next_left, right = trio.open_memory_channel[int](0)
            nursery.start_soon(add_one, left, right)
            left = next_left
        await left.send(1)
        assert await leftmost.receive() == n + 1


if __name__ == "__main__":
    benchmark("daisy chain", daisy)
