"""A mutex that nobody else wants is locked and unlocked."""

from goroutines.sync import Mutex
from measure import benchmark


def mutex(n: int) -> None:
    lock = Mutex()
    for _ in range(n):
        with lock:
            pass


if __name__ == "__main__":
    benchmark("mutex", mutex)
