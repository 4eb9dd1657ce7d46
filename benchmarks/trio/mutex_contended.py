"""50 tasks share a lock, and each yields while it has it: one lock taken."""

import trio
from measure import benchmark

USERS = 50


async def use(lock: trio.Lock, n: int) -> None:
    for _ in range(n):
        async with lock:
            await trio.lowlevel.checkpoint()


async def mutex_contended(n: int) -> None:
    lock = trio.Lock()
    async with trio.open_nursery() as nursery:
        for _ in range(USERS):
            nursery.start_soon(use, lock, n // USERS)


if __name__ == "__main__":
    benchmark("contended mutex", mutex_contended)
