"""Tokio's spawn_many: a thousand tasks count down, the last one tells: one task."""

import trio
from measure import benchmark

AT_A_TIME = 1000


async def a_thousand() -> None:
    done = trio.Event()
    left = AT_A_TIME

    async def count_down() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    async with trio.open_nursery() as nursery:
        for _ in range(AT_A_TIME):
            nursery.start_soon(count_down)
        await done.wait()


async def spawn_many(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        await a_thousand()


if __name__ == "__main__":
    benchmark("spawn many", spawn_many)
