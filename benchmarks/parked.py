"""N goroutines start and park on one channel, are woken by a value each, and end.

The first round is on memory never touched, the second on the stacks of the first. Memory is what
the process holds while all are parked, less what it held before.
"""

from goroutines import Chan, go, gosched, num_goroutine, run
from measure import arguments, memory, show, timed


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
    n = arguments()
    ch = Chan(int)
    resident, tables = memory()
    timed("park, fresh stack", n, lambda: park_all(ch, n))
    resident_after, tables_after = memory()
    show("parked", "bytes", (resident_after - resident) / n)
    show("parked, page tables", "bytes", (tables_after - tables) / n)
    timed("wake and end", n, lambda: wake_all(ch, n))
    timed("park, used stack", n, lambda: park_all(ch, n))
    timed("wake and end again", n, lambda: wake_all(ch, n))


if __name__ == "__main__":
    run(main)
