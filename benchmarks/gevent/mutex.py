"""A semaphore of one that nobody else wants is taken and released."""

from gevent.lock import BoundedSemaphore
from measure import benchmark


def mutex(n: int) -> None:
    lock = BoundedSemaphore()
    for _ in range(n):
        with lock:
            pass


if __name__ == "__main__":
    benchmark("mutex", mutex)
