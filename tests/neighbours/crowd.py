"""Imported by the programs of these tests: runs them in a crowd, so that goroutines change threads.

The crowd waits, yields, blocks (then Ps are handed to other threads) and computes (then Ps are
preempted). The switch interval is short, for the goroutine that computes would keep the GIL else.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import goroutines as G


def _switches(i: int) -> None:
    while True:
        G.sleep(0.0003 * (i % 4))
        G.gosched()


def _blocks(i: int) -> None:
    while True:
        time.sleep(0.0003 * (i + 1))
        G.gosched()


def _computes() -> None:
    while True:
        sum(range(100))


def run(main: Callable[[], Any]) -> Any:
    """G.run(main) in a crowd."""

    def crowded() -> Any:
        for i in range(4):
            G.go(_switches, i)
            G.go(_blocks, i)
        G.go(_computes)
        return main()

    sys.setswitchinterval(0.0003)
    return G.run(crowded)


def each(n: int, body: Callable[[int], Any]) -> list[Any]:
    """body(0), ... body(n - 1) in n goroutines at once: what they return, in this order."""
    out = G.Chan(tuple)

    def one(i: int) -> None:
        try:
            out.send((i, body(i), None))
        except Exception as error:
            out.send((i, None, error))

    for i in range(n):
        G.go(one, i)
    got = sorted((out.recv(timeout=100) for _ in range(n)), key=lambda r: r[0])
    for _, _, error in got:
        if error is not None:
            raise error
    return [value for _, value, _ in got]


def wander(i: int) -> None:
    """Wait a little, in ways that may end on another thread."""
    G.sleep(0.0002 * (i % 5))
    time.sleep(0.0002)
    G.gosched()
