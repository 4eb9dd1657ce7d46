"""The prime sieve of Go's tutorial, a filter for each prime: one prime of the first n."""

import gevent
from gevent.queue import Channel
from measure import ARGUMENTS, timed


def generate(out: Channel) -> None:
    number = 2
    while True:
        out.put(number)
        number += 1


def strain(numbers: Channel, out: Channel, prime: int) -> None:
    while True:
        number = numbers.get()
        if number % prime:
            out.put(number)


def sieve(n: int) -> None:
    numbers = Channel()
    gevent.spawn(generate, numbers)
    for _ in range(n):
        prime = numbers.get()
        out = Channel()
        gevent.spawn(strain, numbers, out, prime)
        numbers = out


def main() -> None:
    n = ARGUMENTS[0]
    with timed(f"sieve of {n} primes", n):
        sieve(n)


if __name__ == "__main__":
    main()
