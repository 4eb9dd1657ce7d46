"""N greenlets start and park on one channel, are woken by a value each, and end: twice."""

import gevent
from gevent.queue import Channel
from measure import ARGUMENTS, memory, show_growth, timed


def wait(channel: Channel) -> None:
    channel.get()


def park_all(channel: Channel, n: int) -> None:
    for _ in range(n):
        gevent.spawn(wait, channel)
    gevent.sleep(0)


def wake_all(channel: Channel, n: int) -> None:
    for _ in range(n):
        channel.put(1)
    gevent.sleep(0)


def main() -> None:
    n = ARGUMENTS[0]
    channel = Channel()
    before = memory()
    with timed("park, fresh stack", n):
        park_all(channel, n)
    show_growth("parked", before, n)
    with timed("wake and end", n):
        wake_all(channel, n)
    with timed("park, used stack", n):
        park_all(channel, n)
    with timed("wake and end again", n):
        wake_all(channel, n)


if __name__ == "__main__":
    main()
