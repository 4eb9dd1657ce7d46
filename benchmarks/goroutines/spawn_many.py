"""Tokio's spawn_many: a thousand goroutines count down, the last one tells: one goroutine."""

from goroutines import Chan, go
from measure import benchmark

AT_A_TIME = 1000


def a_thousand() -> None:
    done: Chan[None] = Chan()
    left = AT_A_TIME

    def count_down() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.send(None)

    for _ in range(AT_A_TIME):
        go(count_down)
    done.recv()


def spawn_many(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        a_thousand()


if __name__ == "__main__":
    benchmark("spawn many", spawn_many)
