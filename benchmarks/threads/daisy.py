"""A daisy chain: a number goes from the last thread to the first, each adds one: one link."""

from queue import SimpleQueue
from threading import Thread

from measure import benchmark


def add_one(left: SimpleQueue[int], right: SimpleQueue[int]) -> None:
    left.put(1 + right.get())


def daisy(n: int) -> None:
    leftmost = left = SimpleQueue[int]()
    for _ in range(n):
        right = SimpleQueue[int]()
        Thread(target=add_one, args=(left, right)).start()
        left = right
    left.put(1)
    assert leftmost.get() == n + 1


if __name__ == "__main__":
    benchmark("daisy chain", daisy)
