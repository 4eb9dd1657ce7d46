"""One goroutine sends on four unbuffered channels in turn, another selects from them: one value."""

from goroutines import Chan, go, recv, select
from measure import benchmark


def produce(channels: list[Chan[int]], n: int) -> None:
    for i in range(n):
        channels[i & 3].send(1)


def select4(n: int) -> None:
    a, b, c, d = channels = [Chan(int) for _ in range(4)]
    go(produce, channels, n)
    for _ in range(n):
        select(recv(a), recv(b), recv(c), recv(d))


if __name__ == "__main__":
    benchmark("select of 4", select4)
