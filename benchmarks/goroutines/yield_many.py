"""Tokio's yield_many: 200 goroutines yield: one yield."""

from goroutines import Chan, go, gosched
from measure import benchmark

TASKS = 200


def give_way(n: int, done: Chan[None]) -> None:
    for _ in range(n):
        gosched()
    done.send(None)


def yield_many(n: int) -> None:
    done: Chan[None] = Chan(capacity=TASKS)
    for _ in range(TASKS):
        go(give_way, n // TASKS, done)
    for _ in range(TASKS):
        done.recv()


if __name__ == "__main__":
    benchmark("yield many", yield_many)
