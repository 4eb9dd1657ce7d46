"""P producers put into one queue, one task gets: one value.

python producers.py N P
"""

import asyncio

from measure import ARGUMENTS, run, timed


async def produce(queue: asyncio.Queue[int], n: int) -> None:
    for _ in range(n):
        await queue.put(1)


async def produced(n: int, producers: int) -> None:
    queue = asyncio.Queue[int](1)
    tasks = [asyncio.create_task(produce(queue, n // producers)) for _ in range(producers)]
    for _ in range(n // producers * producers):
        await queue.get()
    await asyncio.gather(*tasks)


async def main() -> None:
    n, producers = ARGUMENTS
    await produced(n // 10, producers)
    with timed(f"{producers} producers", n):
        await produced(n, producers)


if __name__ == "__main__":
    run(main)
