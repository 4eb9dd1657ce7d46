"""A number goes round a ring of goroutines and is counted down: one pass to the next.

python ring.py N [SIZE]
"""

from goroutines import Chan, go, run
from measure import ARGUMENTS, timed

SIZE = 503


def node(inbox: Chan[int], outbox: Chan[int], done: Chan[int]) -> None:
    while True:
        left = inbox.recv()
        if left:
            outbox.send(left - 1)
        else:
            done.send(0)


def ring(size: int, done: Chan[int]) -> Chan[int]:
    first = inbox = Chan(int)
    for _ in range(size - 1):
        outbox = Chan(int)
        go(node, inbox, outbox, done)
        inbox = outbox
    go(node, inbox, first, done)
    return first


def main() -> None:
    n, size = (*ARGUMENTS, SIZE)[:2]
    done = Chan(int)
    first = ring(size, done)
    first.send(size)  # all begin
    done.recv()
    with timed(f"ring of {size}", n):
        first.send(n)
        done.recv()


if __name__ == "__main__":
    run(main)
