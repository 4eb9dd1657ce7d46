"""A number goes round a ring of threads and is counted down: one pass to the next.

python ring.py N [SIZE]
"""

from queue import SimpleQueue
from threading import Thread

from measure import ARGUMENTS, timed

SIZE = 503


def node(inbox: SimpleQueue[int], outbox: SimpleQueue[int], done: SimpleQueue[int]) -> None:
    while True:
        left = inbox.get()
        if left:
            outbox.put(left - 1)
        else:
            done.put(0)


def main() -> None:
    n, size = (*ARGUMENTS, SIZE)[:2]
    done = SimpleQueue[int]()
    queues = [SimpleQueue[int]() for _ in range(size)]
    for i in range(size):
        outbox = queues[(i + 1) % size]
        Thread(target=node, args=(queues[i], outbox, done), daemon=True).start()
    queues[0].put(size)  # all begin
    done.get()
    with timed(f"ring of {size}", n):
        queues[0].put(n)
        done.get()


if __name__ == "__main__":
    main()
