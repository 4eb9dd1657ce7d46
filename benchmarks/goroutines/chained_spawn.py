"""Tokio's chained_spawn: each goroutine starts the next one: one link."""

from goroutines import Chan, go
from measure import benchmark


def link(left: int, done: Chan[None]) -> None:
    if left:
        go(link, left - 1, done)
    else:
        done.send(None)


def chained_spawn(n: int) -> None:
    done: Chan[None] = Chan()
    go(link, n, done)
    done.recv()


if __name__ == "__main__":
    benchmark("chained spawn", chained_spawn)
