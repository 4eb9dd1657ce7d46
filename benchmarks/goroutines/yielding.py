"""Two goroutines yield to each other: one yield."""

from goroutines import Chan, go, gosched
from measure import benchmark


def give_way(n: int, done: Chan[None]) -> None:
    for _ in range(n):
        gosched()
    done.send(None)


def yielding(n: int) -> None:
    done: Chan[None] = Chan(capacity=2)
    go(give_way, n // 2, done)
    go(give_way, n // 2, done)
    done.recv()
    done.recv()


if __name__ == "__main__":
    benchmark("yield", yielding)
