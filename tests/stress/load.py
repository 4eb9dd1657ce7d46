"""How much work a stress test does, on how many Ps, and from which random numbers.

Environment:
  GOROUTINES_STRESS       multiplies the amount of work (default 1.0: 20 to 60 s in all on 2 cores)
  GOROUTINES_STRESS_SEED  the seed to start from; each test prints its own, so that it can be rerun
"""

from __future__ import annotations

import os
import random
import time
import typing
from collections.abc import Callable

import goroutines as G
import pytest

STRESS = float(os.environ.get("GOROUTINES_STRESS", "1"))
SEED = os.environ.get("GOROUTINES_STRESS_SEED")

on_all_procs = pytest.mark.parametrize("procs", [1, 2, 4, 8])


def amount(n: int, least: int = 1) -> int:
    """n / 2 times GOROUTINES_STRESS."""
    return max(least, int(n / 2 * STRESS))


class Dice(random.Random):
    """A random generator that gives each goroutine one of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.first = seed

    def child(self, i: int) -> Dice:
        """The generator of goroutine i: it does not depend on the order in which they run."""
        return Dice(self.first * 1_000_003 + i)


def dice() -> Dice:
    """A random generator whose seed is shown when the test fails."""
    seed = int(SEED) if SEED else random.SystemRandom().randrange(2**32)
    print(f"GOROUTINES_STRESS_SEED={seed}")
    return Dice(seed)


def execute(procs: int, main: Callable[[], typing.Any]) -> typing.Any:
    """run(main) on that many Ps; the time is shown when the test fails."""
    before, start = G.gomaxprocs(procs), time.monotonic()
    try:
        return G.run(main)
    finally:
        G.gomaxprocs(before)
        print(f"{procs} Ps: {time.monotonic() - start:.2f} s")
        print(G.debug.stats())


def crowd(n: int, body: Callable[[int], typing.Any], timeout: float = 100) -> list[typing.Any]:
    """The results of n goroutines body(i), in order; the first exception of one is raised here."""
    out: G.Chan[typing.Any] = G.Chan(tuple)

    def member(i: int) -> None:
        try:
            out.send((i, body(i), None))
        except Exception as error:
            out.send((i, None, error))

    for i in range(n):
        G.go(member, i)
    results: list[typing.Any] = [None] * n
    for _ in range(n):
        i, value, error = out.recv(timeout=timeout)
        if error is not None:
            raise error
        results[i] = value
    return results
