"""WaitGroup: a counter whose zero is waited for."""

import sys
import time

import goroutines as G
import pytest
from goroutines.sync import WaitGroup
from helpers import eventually, in_run, slack

from .support import PLACES, at, hooked, line_of, parked, spawn


@pytest.mark.parametrize("place", PLACES)
def test_waits_for_zero_everywhere(place):
    def body():
        w = WaitGroup()
        assert w.wait() is None
        assert w.add() is None
        w.add(2)
        w.add(n=-1)
        for timeout in 0, 0.02:
            with pytest.raises(TimeoutError):
                w.wait(timeout)
        assert w.done() is None
        w.done()
        w.wait(0)
        w.wait(timeout=None)
        w.add(0)
        w.wait(timeout=float("inf"))

    at(place, body)


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan"), float("-inf")])
def test_a_negative_timeout_is_a_value_error(timeout):
    w = WaitGroup()
    for _ in range(2):
        with pytest.raises(ValueError):
            w.wait(timeout)
        w.add()


def test_a_counter_below_zero_is_a_value_error_and_changes_nothing():
    w = WaitGroup()
    for misuse in w.done, lambda: w.add(-1), lambda: w.add(-(10**30)):
        with pytest.raises(ValueError, match="negative"):
            misuse()
    w.add(2)
    with pytest.raises(ValueError):
        w.add(-3)
    assert "2 to wait for" in repr(w)
    w.add(-2)
    w.wait(0)


def test_a_counter_that_is_too_large():
    w = WaitGroup()
    w.add(2**63 - 1)
    for n in 1, 2**63, 10**30:
        with pytest.raises(ValueError, match="large"):
            w.add(n)
    w.add(-(2**63 - 1))
    w.wait(0)
    for wrong in 1.5, "1", None:
        with pytest.raises(TypeError):
            w.add(wrong)


@in_run
def test_all_who_wait_go_on_at_zero():
    w, out = WaitGroup(), G.Chan(capacity=20)
    w.add(3)
    for i in range(20):
        G.go(lambda i: (w.wait(), out.send(i)), i)
    parked(20, "wait group")
    w.add(-2)
    assert len(out) == 0
    w.done()
    w.add()  # used again at once: those who waited go on all the same
    assert sorted(out.recv(timeout=10) for _ in range(20)) == list(range(20))
    with pytest.raises(TimeoutError):
        w.wait(0)


@in_run
def test_it_can_be_used_again():
    w, n = WaitGroup(), []
    for i in range(50):
        for _ in range(3):
            w.go(n.append, i)
        w.wait()
        assert len(n) == 3 * (i + 1)


@in_run
def test_go_passes_arguments_and_counts():
    w, got = WaitGroup(), []
    assert w.go(lambda *a, **k: got.append((a, k)), 1, 2, key=3) is None
    assert "1 to wait for" in repr(w)
    w.wait()
    assert got == [((1, 2), {"key": 3})]

    @w.go
    def decorated():
        got.append("decorated")

    w.wait()
    assert got[1:] == ["decorated"] and decorated is None


@pytest.mark.parametrize("bad", [None, 3, "f"])
def test_go_wants_a_function(bad):
    w = WaitGroup()
    with pytest.raises(TypeError):
        w.go(bad)
    with pytest.raises(TypeError):
        w.go()

    async def f(): ...

    with pytest.raises(TypeError, match="async"):
        w.go(f)
    w.wait(0)


@pytest.mark.parametrize("error", [KeyError, G.GoroutineExit, SystemExit])
def test_one_that_fails_is_waited_for_too(error):
    def fails():
        G.sleep(0.01)
        raise error

    def main():
        w = WaitGroup()
        w.go(fails)
        w.go(G.goexit)
        w.wait(timeout=10)

    with hooked() as seen:
        if error is SystemExit:
            with pytest.raises(SystemExit):
                G.run(main)
        else:
            G.run(main)
    assert [a.exc_type for a in seen] == [KeyError] * (error is KeyError)


def test_an_escaped_exception_says_where_it_was_started():
    def main():
        w = WaitGroup()
        w.go(lambda: 1 / 0)
        w.wait()

    with hooked() as seen:
        G.run(main)
    (args,) = seen
    assert f"{__file__}:{line_of(main, 2)}" in args.created_at and "main" in args.created_at


def test_the_hook_has_been_called_when_the_wait_is_over():
    """So that who waits knows of all failures."""

    def main():
        w = WaitGroup()
        w.go(lambda: 1 / 0)
        w.wait(10)
        return len(seen)

    def slow(args):
        G.sleep(0.05)
        seen.append(args)

    before, seen = G.excepthook, []
    G.excepthook = slow
    try:
        assert G.run(main) == 1
    finally:
        G.excepthook = before


def test_one_that_never_begins_is_counted_off():
    """At the end of run: its cleanup may wait for the group."""
    w, seen = WaitGroup(), []

    def cleans_up():
        try:
            G.Chan().recv()
        finally:
            w.wait(timeout=5)
            seen.append("waited")

    def main():
        G.go(cleans_up)
        parked()
        w.go(seen.append, "ran")

    G.run(main)
    assert seen[-1] == "waited"
    w.wait(0)


@in_run
def test_go_keeps_no_references():
    w = WaitGroup()

    class Thing:
        def __call__(self, x):
            pass

    thing = Thing()
    before = sys.getrefcount(thing), sys.getrefcount(w)
    for _ in range(50):
        w.go(thing, thing)
    w.wait()
    assert eventually(lambda: (sys.getrefcount(thing), sys.getrefcount(w)) == before)


def test_threads_and_goroutines_wait_for_each_other():
    w, out = WaitGroup(), []

    def main():
        w.add(4)
        t = spawn(lambda: (w.wait(), out.append("thread")))
        for _ in range(2):
            spawn(lambda: (time.sleep(0.01), w.done()))
            G.go(lambda: (G.sleep(0.01), w.done()))
        w.wait(timeout=slack(10))
        t.join(10)

    G.run(main)
    assert out == ["thread"]
    w.wait(0)


def test_takes_no_arguments():
    with pytest.raises(TypeError):
        WaitGroup(1)
