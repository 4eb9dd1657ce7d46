"""Tokio's yield_many: 200 tasks yield: one yield."""

import trio
from measure import benchmark

TASKS = 200


async def give_way(n: int) -> None:
    for _ in range(n):
        await trio.lowlevel.checkpoint()


async def yield_many(n: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(give_way, n // TASKS)


if __name__ == "__main__":
    benchmark("yield many", yield_many)
