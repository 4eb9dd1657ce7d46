"""Two threads yield to each other: one yield."""

import os
from threading import Thread

from measure import benchmark


def give_way(n: int) -> None:
    for _ in range(n):
        os.sched_yield()


def yielding(n: int) -> None:
    threads = [Thread(target=give_way, args=(n // 2,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    benchmark("yield", yielding)
