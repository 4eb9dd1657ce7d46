"""An empty task is started, runs and ends; a hundred at a time."""

import asyncio

from measure import benchmark

AT_A_TIME = 100


async def nothing() -> None:
    pass


async def spawn(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        for task in [asyncio.create_task(nothing()) for _ in range(AT_A_TIME)]:
            await task


if __name__ == "__main__":
    benchmark("spawn", spawn)
