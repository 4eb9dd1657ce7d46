"""Two greenlets yield to each other: one yield."""

import gevent
from measure import benchmark


def give_way(n: int) -> None:
    for _ in range(n):
        gevent.sleep(0)


def yielding(n: int) -> None:
    gevent.joinall([gevent.spawn(give_way, n // 2) for _ in range(2)])


if __name__ == "__main__":
    benchmark("yield", yielding)
