"""One task puts, another gets, over a queue with room for 128: one value."""

import asyncio

from measure import benchmark


async def produce(queue: asyncio.Queue[int], n: int) -> None:
    for _ in range(n):
        await queue.put(1)


async def buffered(n: int) -> None:
    queue = asyncio.Queue[int](128)
    other = asyncio.create_task(produce(queue, n))
    for _ in range(n):
        await queue.get()
    await other


if __name__ == "__main__":
    benchmark("buffered", buffered)
