"""50 greenlets share a semaphore of one, and each yields while it has it: one time taken."""

import gevent
from gevent.lock import BoundedSemaphore
from measure import benchmark

USERS = 50


def use(lock: BoundedSemaphore, n: int) -> None:
    for _ in range(n):
        with lock:
            gevent.sleep(0)


def mutex_contended(n: int) -> None:
    lock = BoundedSemaphore()
    gevent.joinall([gevent.spawn(use, lock, n // USERS) for _ in range(USERS)])


if __name__ == "__main__":
    benchmark("contended mutex", mutex_contended)
