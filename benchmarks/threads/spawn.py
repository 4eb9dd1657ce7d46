"""A thread that does nothing is started, runs and ends; a hundred at a time."""

from threading import Thread

from measure import benchmark

AT_A_TIME = 100


def nothing() -> None:
    pass


def spawn(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        threads = [Thread(target=nothing) for _ in range(AT_A_TIME)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    benchmark("spawn", spawn)
