"""A number goes round a ring of tasks and is counted down: one pass to the next.

python ring.py N [SIZE]
"""

import asyncio
import os
import sys

from measure import ARGUMENTS, run, timed

SIZE = 503


async def node(
    inbox: asyncio.Queue[int], outbox: asyncio.Queue[int], done: asyncio.Queue[int]
) -> None:
    while True:
        left = await inbox.get()
        if left:
            await outbox.put(left - 1)
        else:
            await done.put(0)


async def main() -> None:
    n, size = (*ARGUMENTS, SIZE)[:2]
    done = asyncio.Queue[int](1)
    queues = [asyncio.Queue[int](1) for _ in range(size)]
    tasks = [
        asyncio.create_task(node(queues[i], queues[(i + 1) % size], done)) for i in range(size)
    ]
    await queues[0].put(size)  # all begin
    await done.get()
    with timed(f"ring of {size}", n):
        await queues[0].put(n)
        await done.get()
    sys.stdout.flush()
    os._exit(0 if tasks else 1)  # to cancel a great many takes longer than all the rest


if __name__ == "__main__":
    run(main)
