"""The prime sieve of Go's tutorial, a filter for each prime: one prime of the first n."""

from queue import Queue
from threading import Thread

from measure import ARGUMENTS, timed


def generate(out: Queue[int]) -> None:
    number = 2
    while True:
        out.put(number)
        number += 1


def strain(numbers: Queue[int], out: Queue[int], prime: int) -> None:
    while True:
        number = numbers.get()
        if number % prime:
            out.put(number)


def sieve(n: int) -> None:
    numbers = Queue[int](1)
    Thread(target=generate, args=(numbers,), daemon=True).start()
    for _ in range(n):
        prime = numbers.get()
        out = Queue[int](1)
        Thread(target=strain, args=(numbers, out, prime), daemon=True).start()
        numbers = out


def main() -> None:
    n = ARGUMENTS[0]
    with timed(f"sieve of {n} primes", n):
        sieve(n)


if __name__ == "__main__":
    main()
