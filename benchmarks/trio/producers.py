"""P producers send on one unbuffered channel, one task receives: one value.

python producers.py N P
"""

import trio
from measure import ARGUMENTS, run, timed


async def produce(channel: trio.MemorySendChannel[int], n: int) -> None:
    for _ in range(n):
        await channel.send(1)


async def produced(n: int, producers: int) -> None:
    sender, receiver = trio.open_memory_channel[int](0)
    async with trio.open_nursery() as nursery:
        for _ in range(producers):
            nursery.start_soon(produce, sender, n // producers)
        for _ in range(n // producers * producers):
            await receiver.receive()


async def main() -> None:
    n, producers = ARGUMENTS
    await produced(n // 10, producers)
    with timed(f"{producers} producers", n):
        await produced(n, producers)


if __name__ == "__main__":
    run(main)
