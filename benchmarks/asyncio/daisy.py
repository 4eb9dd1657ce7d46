"""A daisy chain: a number goes from the last task to the first, each adds one: one link."""

import asyncio

from measure import benchmark


async def add_one(left: asyncio.Queue[int], right: asyncio.Queue[int]) -> None:
    await left.put(1 + await right.get())


async def daisy(n: int) -> None:
    leftmost = left = asyncio.Queue[int](1)
    tasks = []
    for _ in range(n):
        right = asyncio.Queue[int](1)
        tasks.append(asyncio.create_task(add_one(left, right)))
        left = right
    await left.put(1)
    assert await leftmost.get() == n + 1


if __name__ == "__main__":
    benchmark("daisy chain", daisy)
