"""Skynet: a tree of tasks with ten children each, which send up numbers and sums: one leaf."""

import trio
from measure import benchmark


async def skynet(
    nursery: trio.Nursery, parent: trio.MemorySendChannel[int], number: int, size: int
) -> None:
    if size == 1:
        await parent.send(number)
        return
    to_me, children = trio.open_memory_channel[int](0)
    size //= 10
    for i in range(10):
        nursery.start_soon(skynet, nursery, to_me, number + i * size, size)
    total = 0
    for _ in range(10):
        total += await children.receive()
    await parent.send(total)


async def tree(n: int) -> None:
    to_total, total = trio.open_memory_channel[int](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(skynet, nursery, to_total, 0, n)
        assert await total.receive() == n * (n - 1) // 2


if __name__ == "__main__":
    benchmark("skynet", tree)
