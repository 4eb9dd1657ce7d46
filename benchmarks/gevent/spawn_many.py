"""Tokio's spawn_many: a thousand greenlets count down, the last one tells: one greenlet."""

import gevent
from gevent.event import Event
from measure import benchmark

AT_A_TIME = 1000


def a_thousand() -> None:
    done = Event()
    left = AT_A_TIME

    def count_down() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    for _ in range(AT_A_TIME):
        gevent.spawn(count_down)
    done.wait()


def spawn_many(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        a_thousand()


if __name__ == "__main__":
    benchmark("spawn many", spawn_many)
