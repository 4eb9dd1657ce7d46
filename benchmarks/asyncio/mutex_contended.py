"""50 tasks share a lock, and each yields while it has it: one lock taken."""

import asyncio

from measure import benchmark

USERS = 50


async def use(lock: asyncio.Lock, n: int) -> None:
    for _ in range(n):
        async with lock:
            await asyncio.sleep(0)


async def mutex_contended(n: int) -> None:
    lock = asyncio.Lock()
    await asyncio.gather(*[use(lock, n // USERS) for _ in range(USERS)])


if __name__ == "__main__":
    benchmark("contended mutex", mutex_contended)
