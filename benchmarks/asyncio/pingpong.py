"""A value goes to another task and back, over two queues: one round trip."""

import asyncio

from measure import benchmark


async def echo(there: asyncio.Queue[int], back: asyncio.Queue[int], n: int) -> None:
    for _ in range(n):
        await back.put(await there.get())


async def pingpong(n: int) -> None:
    there, back = asyncio.Queue[int](1), asyncio.Queue[int](1)
    other = asyncio.create_task(echo(there, back, n))
    for _ in range(n):
        await there.put(1)
        await back.get()
    await other


if __name__ == "__main__":
    benchmark("round trip", pingpong)
