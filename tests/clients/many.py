"""Imported by the programs of these tests: many requests at once, each with its own number."""

import os
from collections.abc import Callable

import goroutines as G

N = int(os.environ["REQUESTS"])


def payload(number: int) -> bytes:
    """Some kilobytes in which the number is everywhere."""
    return b"%d " % number * 1000


def number(payload: bytes) -> int:
    """The only number in there."""
    (found,) = set(payload.split())
    return int(found)


def each(request: Callable[[int], int], limit: int | None = None, few: float = 20) -> None:
    """request(0) ... request(N - 1) in N goroutines, or `limit` at a time, get their numbers back.

    The threads are counted at the end: there are as many as there ever were.
    """
    with G.Group(limit=limit) as group:
        answers = [group.go(request, i) for i in range(N)]
    assert [answer.value() for answer in answers] == list(range(N))
    threads = len(os.listdir("/proc/self/task"))
    assert threads < few, threads
