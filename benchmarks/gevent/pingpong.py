"""A value goes to another greenlet and back, over two unbuffered channels: one round trip."""

import gevent
from gevent.queue import Channel
from measure import benchmark


def echo(there: Channel, back: Channel, n: int) -> None:
    for _ in range(n):
        back.put(there.get())


def pingpong(n: int) -> None:
    there, back = Channel(), Channel()
    gevent.spawn(echo, there, back, n)
    for _ in range(n):
        there.put(1)
        back.get()


if __name__ == "__main__":
    benchmark("round trip", pingpong)
