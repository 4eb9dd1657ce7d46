"""50 goroutines share a mutex, and each yields while it has it: one lock."""

from goroutines import gosched
from goroutines.sync import Mutex, WaitGroup
from measure import benchmark

USERS = 50


def use(lock: Mutex, n: int) -> None:
    for _ in range(n):
        with lock:
            gosched()


def mutex_contended(n: int) -> None:
    lock, users = Mutex(), WaitGroup()
    for _ in range(USERS):
        users.go(use, lock, n // USERS)
    users.wait()


if __name__ == "__main__":
    benchmark("contended mutex", mutex_contended)
