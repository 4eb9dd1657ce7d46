"""N tasks that wait are cancelled, and end: one task."""

import asyncio

from measure import ARGUMENTS, run, timed, warm_up

Tasks = list[asyncio.Task[bool]]


async def start(n: int) -> Tasks:
    never = asyncio.Event()
    tasks = [asyncio.create_task(never.wait()) for _ in range(n)]
    await asyncio.sleep(0)
    return tasks


async def cancel(tasks: Tasks) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def main() -> None:
    n = ARGUMENTS[0]
    few, many = await start(warm_up(n)), await start(n)
    await cancel(few)
    with timed("cancel", n):
        await cancel(many)


if __name__ == "__main__":
    run(main)
