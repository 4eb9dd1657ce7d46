"""Imported by the programs of these tests: many requests at once, each with its own number."""

import os
from collections.abc import Callable

import goroutines as G

N = int(os.environ["REQUESTS"])
SLACK = float(os.environ["SLACK"])


def payload(number: int) -> bytes:
    """Some kilobytes in which the number is everywhere."""
    return b"%d " % number * 1000


def number(payload: bytes) -> int:
    """The only number in there."""
    (found,) = set(payload.split())
    return int(found)


def check_threads(threads: int, few: int = 20) -> None:
    """On a busy machine there are more: a thread without a turn seems to be blocked."""
    assert threads < few * SLACK, threads


def each(request: Callable[[int], int], limit: int | None = None, few: int = 20) -> None:
    """request(0) ... request(N - 1) in N goroutines, or `limit` at a time, get their numbers back.

    The threads are counted at the end: there are as many as there ever were.
    """
    with G.Group(limit=limit) as group:
        answers = [group.go(request, i) for i in range(N)]
    assert [answer.value() for answer in answers] == list(range(N))
    check_threads(len(os.listdir("/proc/self/task")), few)
