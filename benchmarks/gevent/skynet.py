"""Skynet: a tree of greenlets with ten children each, which send up numbers and sums: one leaf."""

import gevent
from gevent.queue import Channel
from measure import benchmark


def skynet(parent: Channel, number: int, size: int) -> None:
    if size == 1:
        parent.put(number)
        return
    children = Channel()
    size //= 10
    for i in range(10):
        gevent.spawn(skynet, children, number + i * size, size)
    parent.put(sum(children.get() for _ in range(10)))


def tree(n: int) -> None:
    total = Channel()
    gevent.spawn(skynet, total, 0, n)
    assert total.get() == n * (n - 1) // 2


if __name__ == "__main__":
    benchmark("skynet", tree)
