"""A lock that nobody else wants is taken and released."""

import trio
from measure import benchmark


async def mutex(n: int) -> None:
    lock = trio.Lock()
    for _ in range(n):
        async with lock:
            pass


if __name__ == "__main__":
    benchmark("mutex", mutex)
