"""Skynet: a tree of goroutines with ten children each; the leaves, n of them (a power of ten),
send their number up, the others the sum: one leaf.
"""

from goroutines import Chan, go
from measure import benchmark


def skynet(parent: Chan[int], number: int, size: int) -> None:
    if size == 1:
        parent.send(number)
        return
    children = Chan(int)
    size //= 10
    for i in range(10):
        go(skynet, children, number + i * size, size)
    parent.send(sum(children.recv() for _ in range(10)))


def tree(n: int) -> None:
    total = Chan(int)
    go(skynet, total, 0, n)
    assert total.recv() == n * (n - 1) // 2


if __name__ == "__main__":
    benchmark("skynet", tree)
