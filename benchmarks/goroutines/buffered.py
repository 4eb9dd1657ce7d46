"""One goroutine sends, another receives, over a channel with room for 128: one value."""

from goroutines import Chan, go
from measure import benchmark


def produce(ch: Chan[int], n: int) -> None:
    for _ in range(n):
        ch.send(1)


def buffered(n: int) -> None:
    ch = Chan(int, 128)
    go(produce, ch, n)
    for _ in range(n):
        ch.recv()


if __name__ == "__main__":
    benchmark("buffered", buffered)
