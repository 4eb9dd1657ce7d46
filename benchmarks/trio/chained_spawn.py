"""Tokio's chained_spawn: each task starts the next one: one link."""

import trio
from measure import benchmark


async def link(left: int, nursery: trio.Nursery) -> None:
    if left:
        nursery.start_soon(link, left - 1, nursery)


async def chained_spawn(n: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link, n, nursery)


if __name__ == "__main__":
    benchmark("chained spawn", chained_spawn)
