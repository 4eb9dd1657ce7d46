"""N threads start and park on one queue, are woken by a value each, and end: twice."""

from queue import SimpleQueue
from threading import Thread

from measure import ARGUMENTS, memory, show_growth, timed


def park_all(queue: SimpleQueue[int], n: int) -> list[Thread]:
    threads = [Thread(target=queue.get) for _ in range(n)]
    for thread in threads:
        thread.start()
    return threads


def wake_all(queue: SimpleQueue[int], threads: list[Thread]) -> None:
    for _ in threads:
        queue.put(1)
    for thread in threads:
        thread.join()


def main() -> None:
    n = ARGUMENTS[0]
    queue = SimpleQueue[int]()
    before = memory()
    with timed("park, fresh stack", n):
        threads = park_all(queue, n)
    show_growth("parked", before, n)
    with timed("wake and end", n):
        wake_all(queue, threads)
    with timed("park, used stack", n):
        threads = park_all(queue, n)
    with timed("wake and end again", n):
        wake_all(queue, threads)


if __name__ == "__main__":
    main()
