"""A value goes to another goroutine and back, over two unbuffered channels: one round trip."""

from goroutines import Chan, go
from measure import benchmark


def echo(there: Chan[int], back: Chan[int], n: int) -> None:
    for _ in range(n):
        back.send(there.recv())


def pingpong(n: int) -> None:
    there, back = Chan(int), Chan(int)
    go(echo, there, back, n)
    for _ in range(n):
        there.send(1)
        back.recv()


if __name__ == "__main__":
    benchmark("round trip", pingpong)
