"""Ten thousand goroutines start and end, and one waits for all of them: one goroutine."""

from goroutines.sync import WaitGroup
from measure import benchmark

AT_A_TIME = 10_000


def nothing() -> None:
    pass


def wait_group(n: int) -> None:
    for _ in range(0, n, AT_A_TIME):
        group = WaitGroup()
        for _ in range(AT_A_TIME):
            group.go(nothing)
        group.wait()


if __name__ == "__main__":
    benchmark("wait group", wait_group)
