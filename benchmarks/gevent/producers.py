"""P producers put into one channel, one greenlet gets: one value.

python producers.py N P
"""

import gevent
from gevent.queue import Channel
from measure import ARGUMENTS, timed


def produce(channel: Channel, n: int) -> None:
    for _ in range(n):
        channel.put(1)


def produced(n: int, producers: int) -> None:
    channel = Channel()
    for _ in range(producers):
        gevent.spawn(produce, channel, n // producers)
    for _ in range(n // producers * producers):
        channel.get()


def main() -> None:
    n, producers = ARGUMENTS
    produced(n // 10, producers)
    with timed(f"{producers} producers", n):
        produced(n, producers)


if __name__ == "__main__":
    main()
