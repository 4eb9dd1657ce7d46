"""Ten thousand greenlets start and end, and one waits for all of them: one greenlet."""

from gevent.pool import Group
from measure import benchmark

AT_A_TIME = 10_000


def nothing() -> None:
    pass


def wait_group(n: int) -> None:
    for _ in range(0, n, AT_A_TIME):
        group = Group()
        for _ in range(AT_A_TIME):
            group.spawn(nothing)
        group.join()


if __name__ == "__main__":
    benchmark("wait group", wait_group)
