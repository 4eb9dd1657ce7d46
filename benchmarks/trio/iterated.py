"""As buffered.py, but received by iteration over the channel: one value."""

import trio
from measure import benchmark


async def produce(channel: trio.MemorySendChannel[int], n: int) -> None:
    async with channel:
        for _ in range(n):
            await channel.send(1)


async def iterated(n: int) -> None:
    sender, receiver = trio.open_memory_channel[int](128)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce, sender, n)
        async for _ in receiver:
            pass


if __name__ == "__main__":
    benchmark("buffered, iterated", iterated)
