"""The first N primes, sieved by a chain of goroutines: Go's oldest example.

Each prime that comes out at the end of the chain adds a goroutine to it, which passes on what its
prime does not divide. A program of N + 1 tiny programs that know only their neighbours:

    2, 3, 4, 5, ...  ->  [not 2]  ->  [not 3]  ->  [not 5]  ->  ...

    $ python sieve.py 10
    2 3 5 7 11 13 17 19 23 29
    11 goroutines, 0.00 s
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from itertools import count, islice

from goroutines import Chan, RecvChan, SendChan, go, num_goroutine, run


def generate(out: SendChan[int]) -> None:
    for number in count(2):
        out.send(number)


def sift(prime: int, source: RecvChan[int], out: SendChan[int]) -> None:
    for number in source:
        if number % prime:
            out.send(number)


def primes() -> Iterator[int]:
    chain = Chan(int)
    go(generate, chain.sender)
    while True:
        prime = chain.recv()
        longer = Chan(int)
        go(sift, prime, chain.receiver, longer.sender)
        yield prime
        chain = longer


def main(n: int) -> None:
    began = time.perf_counter()
    print(*islice(primes(), n))
    seconds = time.perf_counter() - began
    # All but main, which ends here; the others wait in a send or a receive and end with it.
    print(f"{num_goroutine() - 1} goroutines, {seconds:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(description="the first N primes, by a chain of filters")
    parser.add_argument("n", metavar="N", type=int, nargs="?", default=100)
    try:
        run(main, max(0, parser.parse_args().n))
    except KeyboardInterrupt:
        sys.exit(130)
