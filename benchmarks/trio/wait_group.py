"""Ten thousand tasks start and end, and one waits for all of them: one task."""

import trio
from measure import benchmark

AT_A_TIME = 10_000


async def nothing() -> None:
    pass


async def wait_group(n: int) -> None:
    for _ in range(0, n, AT_A_TIME):
        async with trio.open_nursery() as nursery:
            for _ in range(AT_A_TIME):
                nursery.start_soon(nothing)


if __name__ == "__main__":
    benchmark("wait group", wait_group)
