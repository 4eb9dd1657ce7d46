"""Tokio's chained_spawn: each greenlet starts the next one: one link."""

import gevent
from gevent.event import Event
from measure import benchmark


def link(left: int, done: Event) -> None:
    if left:
        gevent.spawn(link, left - 1, done)
    else:
        done.set()


def chained_spawn(n: int) -> None:
    done = Event()
    gevent.spawn(link, n, done)
    done.wait()


if __name__ == "__main__":
    benchmark("chained spawn", chained_spawn)
