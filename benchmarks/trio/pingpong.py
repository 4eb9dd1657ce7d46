"""A value goes to another task and back, over two unbuffered channels: one round trip."""

import trio
from measure import benchmark


async def echo(
    there: trio.MemoryReceiveChannel[int], back: trio.MemorySendChannel[int], n: int
) -> None:
    for _ in range(n):
        await back.send(await there.receive())


async def pingpong(n: int) -> None:
    to_there, there = trio.open_memory_channel[int](0)
    to_back, back = trio.open_memory_channel[int](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo, there, to_back, n)
        for _ in range(n):
            await to_there.send(1)
            await back.receive()


if __name__ == "__main__":
    benchmark("round trip", pingpong)
