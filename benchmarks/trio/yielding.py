"""Two tasks yield to each other: one yield."""

import trio
from measure import benchmark


async def give_way(n: int) -> None:
    for _ in range(n):
        await trio.lowlevel.checkpoint()


async def yielding(n: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(give_way, n // 2)


if __name__ == "__main__":
    benchmark("yield", yielding)
