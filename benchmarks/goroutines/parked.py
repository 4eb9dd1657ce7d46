"""N goroutines start and park on one channel, are woken by a value each, and end.

The first round is on memory never touched, the second on the stacks of the first. Memory is what
the process holds while all are parked, less what it held before.
"""

from goroutines import Chan, go, gosched, num_goroutine, run
from measure import ARGUMENTS, memory, show_growth, timed


def wait(ch: Chan[int]) -> None:
    ch.recv()


def park_all(ch: Chan[int], n: int) -> None:
    for _ in range(n):
        go(wait, ch)
    gosched()


def wake_all(ch: Chan[int], n: int) -> None:
    for _ in range(n):
        ch.send(1)
    while num_goroutine() > 1:
        gosched()


def main() -> None:
    n = ARGUMENTS[0]
    ch = Chan(int)
    before = memory()
    with timed("park, fresh stack", n):
        park_all(ch, n)
    show_growth("parked", before, n)
    with timed("wake and end", n):
        wake_all(ch, n)
    with timed("park, used stack", n):
        park_all(ch, n)
    with timed("wake and end again", n):
        wake_all(ch, n)


if __name__ == "__main__":
    run(main)
