"""The prime sieve of Go's tutorial, a filter for each prime: one prime of the first n."""

import asyncio

from measure import ARGUMENTS, run, timed


async def generate(out: asyncio.Queue[int]) -> None:
    number = 2
    while True:
        await out.put(number)
        number += 1


async def strain(numbers: asyncio.Queue[int], out: asyncio.Queue[int], prime: int) -> None:
    while True:
        number = await numbers.get()
        if number % prime:
            await out.put(number)


async def sieve(n: int) -> list[asyncio.Task[None]]:
    numbers = asyncio.Queue[int](1)
    tasks = [asyncio.create_task(generate(numbers))]
    for _ in range(n):
        prime = await numbers.get()
        out = asyncio.Queue[int](1)
        tasks.append(asyncio.create_task(strain(numbers, out, prime)))
        numbers = out
    return tasks


async def main() -> None:
    n = ARGUMENTS[0]
    with timed(f"sieve of {n} primes", n):
        tasks = await sieve(n)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    run(main)
