"""A number goes round a ring of tasks and is counted down: one pass to the next.

python ring.py N [SIZE]
"""

import os
import sys

import trio
from measure import ARGUMENTS, run, timed

SIZE = 503


async def node(
    inbox: trio.MemoryReceiveChannel[int],
    outbox: trio.MemorySendChannel[int],
    done: trio.MemorySendChannel[int],
) -> None:
    while True:
        left = await inbox.receive()
        if left:
            await outbox.send(left - 1)
        else:
            await done.send(0)


async def main() -> None:
    n, size = (*ARGUMENTS, SIZE)[:2]
    to_done, done = trio.open_memory_channel[int](0)
    channels = [trio.open_memory_channel[int](0) for _ in range(size)]
    async with trio.open_nursery() as nursery:
        for i in range(size):
            nursery.start_soon(node, channels[i][1], channels[(i + 1) % size][0], to_done)
        await channels[0][0].send(size)  # all begin
        await done.receive()
        with timed(f"ring of {size}", n):
            await channels[0][0].send(n)
            await done.receive()
        sys.stdout.flush()
        os._exit(0)  # to cancel a great many takes longer than all the rest


if __name__ == "__main__":
    run(main)
