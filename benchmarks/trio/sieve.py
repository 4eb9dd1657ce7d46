"""The prime sieve of Go's tutorial, a filter for each prime: one prime of the first n."""

import trio
from measure import ARGUMENTS, run, timed


async def generate(out: trio.MemorySendChannel[int]) -> None:
    number = 2
    while True:
        await out.send(number)
        number += 1


async def strain(
    numbers: trio.MemoryReceiveChannel[int], out: trio.MemorySendChannel[int], prime: int
) -> None:
    async for number in numbers:
        if number % prime:
            await out.send(number)


async def sieve(n: int, nursery: trio.Nursery) -> None:
    out, numbers = trio.open_memory_channel[int](0)
    nursery.start_soon(generate, out)
    for _ in range(n):
        prime = await numbers.receive()
        out, strained = trio.open_memory_channel[int](0)
        nursery.start_soon(strain, numbers, out, prime)
        numbers = strained


async def main() -> None:
    n = ARGUMENTS[0]
    async with trio.open_nursery() as nursery:
        with timed(f"sieve of {n} primes", n):
            await sieve(n, nursery)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run(main)
