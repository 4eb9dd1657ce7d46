"""One task puts into four queues in turn, another waits for any of them: one value."""

import asyncio

from measure import benchmark


async def produce(queues: list[asyncio.Queue[int]], n: int) -> None:
    for i in range(n):
        await queues[i & 3].put(1)


async def select4(n: int) -> None:
    queues = [asyncio.Queue[int](1) for _ in range(4)]
    other = asyncio.create_task(produce(queues, n))
    of = {asyncio.create_task(queue.get()): queue for queue in queues}
    received = 0
    while received < n:
        done, _ = await asyncio.wait(of, return_when=asyncio.FIRST_COMPLETED)
        for task in done:  # the others keep waiting: a cancelled one might lose its value
            queue = of.pop(task)
            of[asyncio.create_task(queue.get())] = queue
            received += 1
    for task in [other, *of]:
        task.cancel()


if __name__ == "__main__":
    benchmark("select of 4", select4)
