"""Tokio's yield_many: 200 greenlets yield: one yield."""

import gevent
from measure import benchmark

TASKS = 200


def give_way(n: int) -> None:
    for _ in range(n):
        gevent.sleep(0)


def yield_many(n: int) -> None:
    gevent.joinall([gevent.spawn(give_way, n // TASKS) for _ in range(TASKS)])


if __name__ == "__main__":
    benchmark("yield many", yield_many)
