"""An empty greenlet is started, runs and ends; a hundred at a time."""

import gevent
from measure import benchmark

AT_A_TIME = 100


def nothing() -> None:
    pass


def spawn(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        gevent.joinall([gevent.spawn(nothing) for _ in range(AT_A_TIME)])


if __name__ == "__main__":
    benchmark("spawn", spawn)
