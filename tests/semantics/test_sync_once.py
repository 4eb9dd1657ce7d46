"""Once, once_func, once_value."""

import time
import traceback

import goroutines as G
import pytest
from goroutines.sync import Once, WaitGroup, once_func, once_value
from helpers import eventually, in_run

from .support import PLACES, at, attempt, parked, spawn


@pytest.mark.parametrize("place", PLACES)
def test_once_and_never_again(place):
    def body():
        once, calls = Once(), []
        assert "not done" in repr(once)
        for i in range(3):
            assert once.do(lambda: calls.append(i) or "ignored") is None
        assert calls == [0]
        assert "not done" not in repr(once)
        once.do(lambda: 1 / 0)

    at(place, body)


@in_run
def test_nobody_returns_before_it_is_done():
    once, w, seen, state = Once(), WaitGroup(), [], []

    def slow():
        G.sleep(0.05)
        state.append(1)

    def user():
        once.do(slow)
        seen.append(len(state))

    for _ in range(50):
        w.go(user)
    w.wait()
    assert seen == [1] * 50


def test_among_threads_and_goroutines():
    once, calls, out = Once(), [], []

    def slow():
        calls.append(1)
        time.sleep(0.02)

    def main():
        w = WaitGroup()
        threads = [spawn(lambda: (once.do(slow), out.append(len(calls)))) for _ in range(3)]
        for _ in range(3):
            w.go(lambda: (once.do(slow), out.append(len(calls))))
        w.wait()
        for t in threads:
            t.join(10)

    G.run(main)
    assert out == [1] * 6 and calls == [1]


@in_run
def test_an_exception_counts_as_done():
    """As Go's panics: raised where it was called; those who wait, and later ones, return."""
    once, waited, calls = Once(), G.Chan(capacity=3), []

    def fails():
        calls.append(1)
        parked(3, "mutex")
        raise KeyError("mine")

    def leads():
        return attempt(once.do, fails)

    led = G.Chan(capacity=1)
    G.go(lambda: led.send(leads()))
    assert eventually(lambda: calls)
    for _ in range(3):
        G.go(lambda: waited.send(attempt(once.do, fails)))
    assert isinstance(led.recv(timeout=10).error, KeyError)
    assert [waited.recv(timeout=10).error for _ in range(3)] == [None] * 3
    assert once.do(fails) is None and calls == [1]


def test_inside_itself_is_a_deadlock():
    def main():
        once = Once()
        once.do(lambda: once.do(lambda: None))

    with pytest.raises(G.DeadlockError, match="mutex"):
        G.run(main)


@in_run
def test_once_value():
    calls = []

    @once_value
    def value():
        """What it is."""
        calls.append(1)
        G.sleep(0.02)
        return object()

    w, got = WaitGroup(), []
    for _ in range(10):
        w.go(lambda: got.append(value()))
    w.wait()
    assert calls == [1] and set(got) == {value()} and len(got) == 10
    assert value.__name__ == "value" and value.__doc__ == "What it is."
    with pytest.raises(TypeError):
        value(1)


@in_run
def test_once_func():
    calls = []

    @once_func
    def work():
        calls.append(1)
        return "ignored"

    assert [work(), work()] == [None, None]
    assert calls == [1] and work.__name__ == "work"


@pytest.mark.parametrize("decorator", [once_func, once_value])
@in_run
def test_each_call_raises_what_the_first_raised(decorator):
    calls = []

    @decorator
    def fails():
        calls.append(1)
        G.sleep(0.01)
        raise KeyError("it")

    w, got = WaitGroup(), []
    for _ in range(5):
        w.go(lambda: got.append(attempt(fails).error))
    w.wait()
    got += [attempt(fails).error for _ in range(50)]
    assert calls == [1] and isinstance(got[0], KeyError) and len(got) == 55
    assert all(e is got[0] for e in got)
    frames = traceback.extract_tb(attempt(fails).error.__traceback__)
    assert len(frames) < 10, "the traceback does not grow"
    assert frames[-1].name == "fails"


@pytest.mark.parametrize("decorator", [once_func, once_value])
def test_one_whose_goroutine_was_told_to_end(decorator):
    begun = []

    @decorator
    def waits():
        begun.append(1)
        G.Chan().recv()

    def main():
        G.go(waits)
        assert eventually(lambda: begun)

    G.run(main)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="told to end") as caught:
            G.run(waits)
        assert isinstance(caught.value.__cause__, G.GoroutineExit)
    assert begun == [1]
