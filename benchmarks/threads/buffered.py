"""One thread puts, another gets, over a queue with room for 128: one value."""

from queue import Queue
from threading import Thread

from measure import benchmark


def produce(queue: Queue[int], n: int) -> None:
    for _ in range(n):
        queue.put(1)


def buffered(n: int) -> None:
    queue = Queue[int](128)
    Thread(target=produce, args=(queue, n)).start()
    for _ in range(n):
        queue.get()


if __name__ == "__main__":
    benchmark("buffered", buffered)
