"""As buffered.py, but received by iteration over the queue: one value."""

import gevent
from gevent.queue import Queue
from measure import benchmark


def produce(queue: Queue, n: int) -> None:
    for _ in range(n):
        queue.put(1)
    queue.put(StopIteration)


def iterated(n: int) -> None:
    queue = Queue(128)
    gevent.spawn(produce, queue, n)
    for _ in queue:
        pass


if __name__ == "__main__":
    benchmark("buffered, iterated", iterated)
