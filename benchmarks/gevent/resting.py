"""The CPU time of a process in which N greenlets are parked, per second."""

import time

import gevent
from gevent.queue import Channel
from measure import ARGUMENTS, show


def main() -> None:
    n, milliseconds = ARGUMENTS
    channel = Channel()
    for _ in range(n):
        gevent.spawn(channel.get)
    gevent.sleep(1.0)
    before = time.process_time_ns()
    gevent.sleep(milliseconds / 1000)
    used = time.process_time_ns() - before
    show("CPU at rest", "ns/s", used * 1000 / milliseconds)


if __name__ == "__main__":
    main()
