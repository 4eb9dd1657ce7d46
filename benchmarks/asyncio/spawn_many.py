"""Tokio's spawn_many: a thousand tasks count down, the last one tells: one task."""

import asyncio

from measure import benchmark

AT_A_TIME = 1000


async def a_thousand() -> None:
    done = asyncio.Event()
    left = AT_A_TIME

    async def count_down() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    for _ in range(AT_A_TIME):
        asyncio.create_task(count_down())  # noqa: RUF006
    await done.wait()


async def spawn_many(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        await a_thousand()


if __name__ == "__main__":
    benchmark("spawn many", spawn_many)
