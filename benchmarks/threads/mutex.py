"""A lock that nobody else wants is taken and released."""

from threading import Lock

from measure import benchmark


def mutex(n: int) -> None:
    lock = Lock()
    for _ in range(n):
        with lock:
            pass


if __name__ == "__main__":
    benchmark("mutex", mutex)
