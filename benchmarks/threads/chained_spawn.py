"""Tokio's chained_spawn: each thread starts the next one: one link."""

from threading import Event, Thread

from measure import benchmark


def link(left: int, done: Event) -> None:
    if left:
        Thread(target=link, args=(left - 1, done)).start()
    else:
        done.set()


def chained_spawn(n: int) -> None:
    done = Event()
    Thread(target=link, args=(n, done)).start()
    done.wait()


if __name__ == "__main__":
    benchmark("chained spawn", chained_spawn)
