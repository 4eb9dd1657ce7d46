"""The prime sieve of Go's tutorial, a filter for each prime: one prime of the first n."""

from goroutines import Chan, go, run
from measure import ARGUMENTS, timed


def generate(out: Chan[int]) -> None:
    number = 2
    while True:
        out.send(number)
        number += 1


def strain(numbers: Chan[int], out: Chan[int], prime: int) -> None:
    for number in numbers:
        if number % prime:
            out.send(number)


def sieve(n: int) -> None:
    numbers = Chan(int)
    go(generate, numbers)
    for _ in range(n):
        prime = numbers.recv()
        out = Chan(int)
        go(strain, numbers, out, prime)
        numbers = out


def main() -> None:
    n = ARGUMENTS[0]
    with timed(f"sieve of {n} primes", n):
        sieve(n)


if __name__ == "__main__":
    run(main)
