"""As buffered.py, but received by iteration over the channel: one value."""

from goroutines import Chan, go
from measure import benchmark


def produce(ch: Chan[int], n: int) -> None:
    for _ in range(n):
        ch.send(1)
    ch.close()


def iterated(n: int) -> None:
    ch = Chan(int, 128)
    go(produce, ch, n)
    for _ in ch:
        pass


if __name__ == "__main__":
    benchmark("buffered, iterated", iterated)
