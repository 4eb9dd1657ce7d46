"""Skynet: a tree of tasks with ten children each, which send up numbers and sums: one leaf."""

import asyncio

from measure import benchmark


async def skynet(parent: asyncio.Queue[int], number: int, size: int) -> None:
    if size == 1:
        await parent.put(number)
        return
    children = asyncio.Queue[int](1)
    size //= 10
    tasks = [asyncio.create_task(skynet(children, number + i * size, size)) for i in range(10)]
    total = 0
    for _ in tasks:
        total += await children.get()
    await parent.put(total)


async def tree(n: int) -> None:
    total = asyncio.Queue[int](1)
    await asyncio.create_task(skynet(total, 0, n))
    assert await total.get() == n * (n - 1) // 2


if __name__ == "__main__":
    benchmark("skynet", tree)
