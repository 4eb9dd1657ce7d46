"""A daisy chain: a number goes from the last greenlet to the first, each adds one: one link."""

import gevent
from gevent.queue import Channel
from measure import benchmark


def add_one(left: Channel, right: Channel) -> None:
    left.put(1 + right.get())


def daisy(n: int) -> None:
    leftmost = left = Channel()
    for _ in range(n):
        right = Channel()
        gevent.spawn(add_one, left, right)
        left = right
    left.put(1)
    assert leftmost.get() == n + 1


if __name__ == "__main__":
    benchmark("daisy chain", daisy)
