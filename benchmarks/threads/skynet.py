"""Skynet: a tree of threads with ten children each, which send up numbers and sums: one leaf."""

from queue import SimpleQueue
from threading import Thread

from measure import benchmark


def skynet(parent: SimpleQueue[int], number: int, size: int) -> None:
    if size == 1:
        parent.put(number)
        return
    children = SimpleQueue[int]()
    size //= 10
    for i in range(10):
        Thread(target=skynet, args=(children, number + i * size, size)).start()
    parent.put(sum(children.get() for _ in range(10)))


def tree(n: int) -> None:
    total = SimpleQueue[int]()
    Thread(target=skynet, args=(total, 0, n)).start()
    assert total.get() == n * (n - 1) // 2


if __name__ == "__main__":
    benchmark("skynet", tree)
