"""run() that ends while thousands of goroutines are in random states, again and again."""

import time

from goroutines import (
    Chan,
    GoroutineExit,
    after,
    go,
    gosched,
    lock_os_thread,
    num_goroutine,
    recv,
    run,
    select,
    send,
    sleep,
)
from helpers import eventually
from semantics.support import parked

from .load import amount, dice, execute, on_all_procs


def spins():
    while True:
        gosched()


def computes():
    end = time.monotonic() + 5
    while time.monotonic() < end:
        pass


WAYS = [
    lambda c: c.recv(),
    lambda c: c.send(1),
    lambda c: Chan().recv(),
    lambda c: Chan().send(1),
    lambda c: Chan().recv(timeout=0.001 * (id(c) % 5)),
    lambda c: [c.send(1) for _ in range(50)],
    lambda c: list(c),
    lambda c: select(recv(c), send(c, 1)),
    lambda c: select(recv(c), recv(after(0.001)), timeout=1),
    lambda c: select(),
    lambda c: sleep(600),
    lambda c: sleep(0.0005),
    lambda c: [sleep(0.0001) for _ in range(100)],
    lambda c: spins(),
    lambda c: time.sleep(0.0005),
    lambda c: go(c.recv),
    lambda c: [go(int) for _ in range(20)],
    lambda c: after(0.0005).recv(),
    lambda c: sorted([3, 1, 2], key=lambda x: c.recv()),
]


@on_all_procs
def test_the_end_comes_at_any_moment(procs):
    rng = dice()
    for _ in range(amount(8)):
        begun, ended = [], []

        def main(begun=begun, ended=ended):
            channels = [Chan(int, rng.choice([0, 1])) for _ in range(5)]

            def body(i):
                try:
                    begun.append(i)
                    WAYS[i % len(WAYS)](channels[i % 5])
                except TimeoutError:
                    pass
                finally:
                    ended.append(i)

            for i in range(rng.choice([1, 30, 200])):
                go(body, i)
            for _ in range(rng.choice([0, 1, 10, 200])):
                gosched()
            return "result"

        assert execute(procs, main) == "result"
        # Those who were in time.sleep just then are left behind and end a moment later.
        assert eventually(lambda: len(begun) == len(ended), 20)
        assert sorted(begun) == sorted(ended)
        assert num_goroutine() == 0


@on_all_procs
def test_thousands_parked_in_every_way(procs):
    rng = dice()
    n = amount(1500)
    ways = [0, 1, 2, 3, 6, 7, 9, 10]
    log, begun = [], []

    def main():
        channels = [Chan(int) for _ in range(20)]

        def body(i):
            begun.append(i)
            try:
                while True:
                    WAYS[ways[i % len(ways)]](channels[rng.randrange(20)])
            except GoroutineExit:
                log.append(i)
                raise

        for i in range(n):
            go(body, i)
        while len(begun) < n:
            sleep(0.001)

    execute(procs, main)
    assert sorted(log) == list(range(n)), "each gets it, and once"
    assert num_goroutine() == 0


@on_all_procs
def test_cleanup_talks_to_other_cleanup(procs):
    """Pairs that meet once more in their finally blocks."""
    n = amount(100)
    log = []

    def main():
        begun = Chan()

        def one(c):
            try:
                begun.send(None)
                select()
            finally:
                c.send("bye")

        def other(c):
            try:
                begun.send(None)
                select()
            finally:
                log.append(c.recv())

        for _ in range(n):
            c = Chan(str)
            go(one, c)
            go(other, c)
        for _ in range(2 * n):
            begun.recv()

    execute(procs, main)
    assert log == ["bye"] * n


@on_all_procs
def test_stubborn_ones(procs):
    """They swallow it and wait again, a random number of times."""
    rng = dice()
    times = [rng.randint(0, 4) for _ in range(amount(100))]
    left = []

    def main():
        def body(i):
            for _ in range(times[i]):
                try:
                    Chan().recv()
                except GoroutineExit:
                    pass
            left.append(i)

        for i in range(len(times)):
            go(body, i)
        parked(sum(n > 0 for n in times))

    execute(procs, main)
    assert sorted(left) == list(range(len(times)))


@on_all_procs
def test_computing_ones(procs):
    def main():
        begun = Chan()

        def body():
            begun.send(None)
            computes()

        for _ in range(5):
            go(body)
        for _ in range(5):
            begun.recv()

    start = time.monotonic()
    for _ in range(amount(4)):
        execute(procs, main)
    assert time.monotonic() - start < 4 * amount(4) + 10
    assert num_goroutine() == 0


@on_all_procs
def test_locked_ones(procs):
    def main():
        begun = Chan()

        def body():
            lock_os_thread()
            begun.send(None)
            select()

        for _ in range(10):
            go(body)
        for _ in range(10):
            begun.recv()

    for _ in range(amount(10)):
        execute(procs, main)
    assert num_goroutine() == 0


def test_very_short_runs():
    for i in range(amount(500)):

        def main(i=i):
            for _ in range(i % 7):
                go(gosched)
            return i

        assert run(main) == i
    assert num_goroutine() == 0
