"""Exceptions thrown about: out of goroutines, into hooks, through parks, and deadlocks."""

import goroutines
import pytest
from goroutines import (
    Chan,
    ChannelClosed,
    DeadlockError,
    go,
    goexit,
    gosched,
    num_goroutine,
    run,
    sleep,
)
from helpers import eventually

from .load import amount, crowd, dice, execute, on_all_procs


@pytest.fixture
def hooked():
    before, seen = goroutines.excepthook, []
    goroutines.excepthook = seen.append
    yield seen
    goroutines.excepthook = before


class Boom(Exception):
    pass


@on_all_procs
def test_every_escaped_exception_reaches_the_hook_once(procs, hooked):
    n = amount(300)

    def main():
        def body(i):
            for _ in range(i % 4):
                gosched()
            if i % 5 == 0:
                goexit()
            raise Boom(i)

        for i in range(n):
            go(body, i)
        assert eventually(lambda: num_goroutine() == 1)

    execute(procs, main)
    assert sorted(s.exc_value.args[0] for s in hooked) == [i for i in range(n) if i % 5]


@on_all_procs
def test_raised_and_caught_between_parks(procs):
    rng = dice()

    def main():
        def body(i):
            mine = rng.child(i)
            caught = 0
            for k in range(amount(40)):
                try:
                    try:
                        gosched()
                        if mine.random() < 0.5:
                            raise Boom(k)
                    finally:
                        if mine.random() < 0.2:
                            sleep(0)
                except Boom as error:
                    assert error.args == (k,)
                    caught += 1
            return caught

        return crowd(30, body)

    assert sum(execute(procs, main)) > 0


@on_all_procs
def test_errors_of_channels(procs):
    def main():
        def body(i):
            c = Chan(int, 1)
            for _ in range(amount(30)):
                with pytest.raises(TypeError):
                    c.send("x")
                with pytest.raises(TimeoutError):
                    c.recv(timeout=0)
                gosched()
            c.close()
            with pytest.raises(ChannelClosed):
                c.send(1)
            return 1

        return sum(crowd(20, body))

    assert execute(procs, main) == 20


@on_all_procs
def test_recursion_errors_by_the_dozen(procs):
    def main():
        def endless(n):
            return endless(n + 1) + 1

        def body(i):
            hits = 0
            for _ in range(amount(3)):
                try:
                    endless(0)
                except RecursionError:
                    hits += 1
                gosched()
            return hits

        return sum(crowd(12, body))

    assert execute(procs, main) == 12 * amount(3)


@on_all_procs
def test_deadlocks_again_and_again(procs):
    for i in range(amount(25)):

        def main(i=i):
            for _ in range(i % 5):
                go(Chan().recv)
            if i % 2:
                sleep(0.0002)
            Chan().recv()

        with pytest.raises(DeadlockError):
            execute(procs, main)


@on_all_procs
def test_runs_that_fail(procs):
    for i in range(amount(50)):

        def main(i=i):
            for _ in range(i % 6):
                go(Chan().recv)
            raise Boom(i)

        with pytest.raises(Boom) as caught:
            execute(procs, main)
        assert caught.value.args == (i,)


def test_system_exit_of_goroutines_in_many_runs():
    for i in range(amount(100)):

        def main(i=i):
            def ends():
                raise SystemExit(i)

            go(ends)
            for _ in range(i % 4):
                gosched()
            Chan().recv()

        with pytest.raises(SystemExit) as caught:
            run(main)
        assert caught.value.code == i
