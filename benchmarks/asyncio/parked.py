"""N tasks start and park on one queue, are woken by a value each, and end: twice."""

import asyncio

from measure import ARGUMENTS, memory, run, show_growth, timed

Tasks = list[asyncio.Task[None]]


async def wait(queue: asyncio.Queue[int]) -> None:
    await queue.get()


async def park_all(queue: asyncio.Queue[int], n: int) -> Tasks:
    tasks = [asyncio.create_task(wait(queue)) for _ in range(n)]
    await asyncio.sleep(0)
    return tasks


async def wake_all(queue: asyncio.Queue[int], tasks: Tasks) -> None:
    for _ in tasks:
        await queue.put(1)
    for task in tasks:
        await task


async def main() -> None:
    n = ARGUMENTS[0]
    queue = asyncio.Queue[int](1)
    before = memory()
    with timed("park, fresh stack", n):
        tasks = await park_all(queue, n)
    show_growth("parked", before, n)
    with timed("wake and end", n):
        await wake_all(queue, tasks)
    with timed("park, used stack", n):
        tasks = await park_all(queue, n)
    with timed("wake and end again", n):
        await wake_all(queue, tasks)


if __name__ == "__main__":
    run(main)
