"""Tokio's yield_many: 200 threads yield: one yield."""

import os
from threading import Thread

from measure import benchmark

TASKS = 200


def give_way(n: int) -> None:
    for _ in range(n):
        os.sched_yield()


def yield_many(n: int) -> None:
    threads = [Thread(target=give_way, args=(n // TASKS,)) for _ in range(TASKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    benchmark("yield many", yield_many)
