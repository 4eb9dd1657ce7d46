"""An empty task is started, runs and ends; a hundred at a time."""

import trio
from measure import benchmark

AT_A_TIME = 100


async def nothing() -> None:
    pass


async def spawn(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        async with trio.open_nursery() as nursery:
            for _ in range(AT_A_TIME):
                nursery.start_soon(nothing)


if __name__ == "__main__":
    benchmark("spawn", spawn)
