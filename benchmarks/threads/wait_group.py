"""A thousand threads start and end, and one waits for all of them: one thread."""

from threading import Thread

from measure import benchmark

AT_A_TIME = 1_000


def nothing() -> None:
    pass


def wait_group(n: int) -> None:
    for _ in range(0, n, AT_A_TIME):
        threads = [Thread(target=nothing) for _ in range(AT_A_TIME)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    benchmark("wait group", wait_group)
