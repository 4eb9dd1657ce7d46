"""Tokio's spawn_many: a thousand threads count down, the last one tells: one thread."""

from threading import Event, Lock, Thread

from measure import benchmark

AT_A_TIME = 1000


def a_thousand() -> None:
    done, lock = Event(), Lock()
    left = AT_A_TIME

    def count_down() -> None:
        nonlocal left
        with lock:
            left -= 1
            if left == 0:
                done.set()

    for _ in range(AT_A_TIME):
        Thread(target=count_down).start()
    done.wait()


def spawn_many(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        a_thousand()


if __name__ == "__main__":
    benchmark("spawn many", spawn_many)
