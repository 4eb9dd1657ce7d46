"""P producers put into one queue, one thread gets: one value.

python producers.py N P
"""

from queue import Queue
from threading import Thread

from measure import ARGUMENTS, timed


def produce(queue: Queue[int], n: int) -> None:
    for _ in range(n):
        queue.put(1)


def produced(n: int, producers: int) -> None:
    queue = Queue[int](1)
    for _ in range(producers):
        Thread(target=produce, args=(queue, n // producers)).start()
    for _ in range(n // producers * producers):
        queue.get()


def main() -> None:
    n, producers = ARGUMENTS
    produced(n // 10, producers)
    with timed(f"{producers} producers", n):
        produced(n, producers)


if __name__ == "__main__":
    main()
