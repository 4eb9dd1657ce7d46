"""One greenlet puts, another gets, over a queue with room for 128: one value."""

import gevent
from gevent.queue import Queue
from measure import benchmark


def produce(queue: Queue, n: int) -> None:
    for _ in range(n):
        queue.put(1)


def buffered(n: int) -> None:
    queue = Queue(128)
    gevent.spawn(produce, queue, n)
    for _ in range(n):
        queue.get()


if __name__ == "__main__":
    benchmark("buffered", buffered)
