"""One task sends, another receives, over a channel with room for 128: one value."""

import trio
from measure import benchmark


async def produce(channel: trio.MemorySendChannel[int], n: int) -> None:
    for _ in range(n):
        await channel.send(1)


async def buffered(n: int) -> None:
    sender, receiver = trio.open_memory_channel[int](128)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce, sender, n)
        for _ in range(n):
            await receiver.receive()


if __name__ == "__main__":
    benchmark("buffered", buffered)
