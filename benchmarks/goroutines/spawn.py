"""An empty goroutine is started, runs and ends; a hundred at a time, on stacks used before."""

from goroutines import go, gosched, num_goroutine
from measure import benchmark

AT_A_TIME = 100


def nothing() -> None:
    pass


def spawn(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        for _ in range(AT_A_TIME):
            go(nothing)
        while num_goroutine() > 1:
            gosched()


if __name__ == "__main__":
    benchmark("spawn", spawn)
