"""A number goes round a ring of greenlets and is counted down: one pass to the next.

python ring.py N [SIZE]
"""

import gevent
from gevent.queue import Channel
from measure import ARGUMENTS, timed

SIZE = 503


def node(inbox: Channel, outbox: Channel, done: Channel) -> None:
    while True:
        left = inbox.get()
        if left:
            outbox.put(left - 1)
        else:
            done.put(0)


def ring(size: int, done: Channel) -> Channel:
    first = inbox = Channel()
    for _ in range(size - 1):
        outbox = Channel()
        gevent.spawn(node, inbox, outbox, done)
        inbox = outbox
    gevent.spawn(node, inbox, first, done)
    return first


def main() -> None:
    n, size = (*ARGUMENTS, SIZE)[:2]
    done = Channel()
    first = ring(size, done)
    first.put(size)  # all begin
    done.get()
    with timed(f"ring of {size}", n):
        first.put(n)
        done.get()


if __name__ == "__main__":
    main()
