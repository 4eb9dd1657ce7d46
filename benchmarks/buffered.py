"""One goroutine sends, another receives, over a channel with room for 128: one value.

Received by a call for each, and by iteration.
"""

from goroutines import Chan, go, run
from measure import arguments, timed


def produce(ch: Chan[int], n: int) -> None:
    for _ in range(n):
        ch.send(1)
    ch.close()


def received(n: int) -> None:
    ch = Chan(int, 128)
    go(produce, ch, n)
    for _ in range(n):
        ch.recv()


def iterated(n: int) -> None:
    ch = Chan(int, 128)
    go(produce, ch, n)
    for _ in ch:
        pass


def main() -> None:
    n = arguments()
    received(n // 10)
    timed("buffered", n, lambda: received(n))
    iterated(n // 10)
    timed("buffered, iterated", n, lambda: iterated(n))


if __name__ == "__main__":
    run(main)
