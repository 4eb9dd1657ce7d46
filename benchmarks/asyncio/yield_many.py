"""Tokio's yield_many: 200 tasks yield: one yield."""

import asyncio

from measure import benchmark

TASKS = 200


async def give_way(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def yield_many(n: int) -> None:
    await asyncio.gather(*[give_way(n // TASKS) for _ in range(TASKS)])


if __name__ == "__main__":
    benchmark("yield many", yield_many)
