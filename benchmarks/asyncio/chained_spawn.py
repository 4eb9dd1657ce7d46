"""Tokio's chained_spawn: each task starts the next one: one link."""

import asyncio

from measure import benchmark


async def link(left: int, done: asyncio.Event) -> None:
    if left:
        asyncio.create_task(link(left - 1, done))  # noqa: RUF006
    else:
        done.set()


async def chained_spawn(n: int) -> None:
    done = asyncio.Event()
    first = asyncio.create_task(link(n, done))
    await done.wait()
    await first


if __name__ == "__main__":
    benchmark("chained spawn", chained_spawn)
