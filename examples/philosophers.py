"""Dining philosophers whose forks are channels; and what a deadlock looks like.

A fork is a channel of capacity 1 that holds a token while the fork lies on the table: to receive
is to pick it up, to send is to put it back. Each philosopher picks up the fork of the lower number
first, so they cannot all hold one fork and wait for the next: somebody always eats.

    $ python philosophers.py
    Plato ate 3 times
    Confucius ate 3 times
    Socrates ate 3 times
    Voltaire ate 3 times
    Descartes ate 3 times

With --naive each one picks up the left fork first. Soon all hold their left fork, and nothing in
the program can ever wake them. The runtime notices, and says who waits where:

    $ python philosophers.py --naive
    all goroutines are asleep - deadlock!
    ... one line for each goroutine: its wait reason, file, line and function
"""

import argparse
import sys
from collections import Counter

from goroutines import Chan, DeadlockError, RecvChan, SendChan, go, run, sleep

NAMES = ("Plato", "Confucius", "Socrates", "Voltaire", "Descartes")
MEALS = 3

Fork = Chan[bool]


def philosopher(name: str, first: Fork, second: Fork, ate: SendChan[str]) -> None:
    for _ in range(MEALS):
        first.recv()
        sleep(0.01)  # a thought, with one fork in hand: long enough for the others to take theirs
        second.recv()
        ate.send(name)
        second.send(True)
        first.send(True)


def dinner(naive: bool) -> RecvChan[str]:
    """Seat everybody; each meal's eater is sent over the channel that is returned."""
    ate = Chan(str)
    forks: list[Fork] = [Chan(bool, 1) for _ in NAMES]
    for fork in forks:
        fork.send(True)
    for seat, name in enumerate(NAMES):
        hands = [seat, (seat + 1) % len(NAMES)]
        if not naive:
            hands.sort()
        go(philosopher, name, forks[hands[0]], forks[hands[1]], ate.sender)
    return ate.receiver


def main(naive: bool) -> int:
    ate = dinner(naive)
    try:
        meals = Counter(ate.recv() for _ in range(MEALS * len(NAMES)))
    except DeadlockError as deadlock:
        print(deadlock)
        return 1
    for name in NAMES:
        print(f"{name} ate {meals[name]} times")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="five philosophers, five forks")
    parser.add_argument("--naive", action="store_true", help="left fork first; exit code 1")
    try:
        sys.exit(run(main, parser.parse_args().naive))
    except KeyboardInterrupt:
        sys.exit(130)
