"""50 threads share a lock, and each yields while it has it: one lock taken."""

import os
from threading import Lock, Thread

from measure import benchmark

USERS = 50


def use(lock: Lock, n: int) -> None:
    for _ in range(n):
        with lock:
            os.sched_yield()


def mutex_contended(n: int) -> None:
    lock = Lock()
    threads = [Thread(target=use, args=(lock, n // USERS)) for _ in range(USERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    benchmark("contended mutex", mutex_contended)
