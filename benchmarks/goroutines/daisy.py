"""A daisy chain: a number goes from the last goroutine to the first, each adds one: one link,
from its start to its end.
"""

from goroutines import Chan, go
from measure import benchmark


def add_one(left: Chan[int], right: Chan[int]) -> None:
    left.send(1 + right.recv())


def daisy(n: int) -> None:
    leftmost = left = Chan(int)
    for _ in range(n):
        right = Chan(int)
        go(add_one, left, right)
        left = right
    left.send(1)
    assert leftmost.recv() == n + 1


if __name__ == "__main__":
    benchmark("daisy chain", daisy)
