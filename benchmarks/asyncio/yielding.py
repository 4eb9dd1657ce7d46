"""Two tasks yield to each other: one yield."""

import asyncio

from measure import benchmark


async def give_way(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def yielding(n: int) -> None:
    await asyncio.gather(give_way(n // 2), give_way(n // 2))


if __name__ == "__main__":
    benchmark("yield", yielding)
