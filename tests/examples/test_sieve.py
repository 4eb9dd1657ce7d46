"""sieve.py against trial division."""

import pytest
from helpers import scaled


def primes(n):
    found = []
    number = 2
    while len(found) < n:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


@pytest.mark.parametrize("n", [0, 1, 10, scaled(300)])
def test_first_primes(example, n):
    done = example("sieve.py", n)
    assert done.returncode == 0, done.stderr
    assert [int(word) for word in done.stdout.split()] == primes(n)


def test_one_goroutine_for_each_prime(example):
    assert example("sieve.py", 10).stderr.startswith("11 goroutines, ")
