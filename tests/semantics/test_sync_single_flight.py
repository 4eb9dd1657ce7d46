"""SingleFlight: one call for all who ask meanwhile."""

import gc
import time
import traceback
import weakref

import goroutines as G
import pytest
from goroutines.sync import SingleFlight, WaitGroup
from helpers import eventually, in_run

from .support import PLACES, at, attempt, hooked, parked, spawn


def fly(f, n, fn, key="key"):
    """n goroutines that ask for key while fn, which gets a channel to wait at, is under way."""
    go_on, out = G.Chan(), G.Chan(capacity=n)

    def call():
        go_on.recv()
        return fn()

    for _ in range(n):
        G.go(lambda: out.send(attempt(f.do, key, call)))
    parked(n - 1, "wait group")
    go_on.send(None)
    return [out.recv(timeout=10) for _ in range(n)]


@pytest.mark.parametrize("place", PLACES)
def test_alone(place):
    def body():
        f = SingleFlight()
        assert f.do("key", lambda: 7) == (7, False)
        assert f.do("key", lambda *a: a, 1, 2) == ((1, 2), False)
        with pytest.raises(ZeroDivisionError):
            f.do("key", lambda: 1 / 0)
        assert "0 under way" in repr(f)

    at(place, body)


@in_run
def test_duplicates_share():
    f, calls = SingleFlight(), []
    got = fly(f, 10, lambda: calls.append(1) or "value")
    assert [o.unwrap() for o in got] == [("value", True)] * 10
    assert calls == [1]
    assert f.do("key", lambda: "again") == ("again", False)


@in_run
def test_keys_are_apart():
    f, w, got = SingleFlight(), WaitGroup(), {}
    both = G.Chan()

    def fn(key):
        both.send(key) if key == "a" else both.recv()
        return key

    for key in "ab":
        w.go(lambda key: got.update({key: f.do(key, fn, key)}), key)
    w.wait(timeout=10)
    assert got == {"a": ("a", False), "b": ("b", False)}


@in_run
def test_an_exception_reaches_everybody():
    f, error = SingleFlight(), KeyError("it")

    def fails():
        raise error

    got = fly(f, 5, fails)
    assert [o.error for o in got] == [error] * 5
    assert len(traceback.extract_tb(error.__traceback__)) < 10
    assert f.do("key", lambda: 1) == (1, False)


@in_run
def test_goexit_ends_everybody_who_calls_it():
    """Each of them in its own goroutine, none waits for ever."""
    f, w, calls = SingleFlight(), WaitGroup(), []

    def fn():
        calls.append(1)
        G.gosched()
        G.goexit()

    for _ in range(5):
        w.go(f.do, "key", fn)
    w.wait(timeout=10)
    assert "0 under way" in repr(f) and calls


@in_run
def test_one_that_is_told_to_end_ends_alone():
    """The next one who waits calls the function."""
    f, out, calls = SingleFlight(), G.Chan(capacity=3), []

    def fn():
        calls.append(1)
        if len(calls) == 1:
            parked(3, "wait group")
            raise G.GoroutineExit
        return "value"

    G.go(f.do, "key", fn)
    assert eventually(lambda: calls)
    for _ in range(3):
        G.go(lambda: out.send(f.do("key", fn)[0]))
    assert [out.recv(timeout=10) for _ in range(3)] == ["value"] * 3


def test_inside_itself_is_a_deadlock():
    def main():
        f = SingleFlight()
        f.do(1, lambda: f.do(1, int))

    with pytest.raises(G.DeadlockError, match="wait group"):
        G.run(main)
    assert G.run(lambda: SingleFlight().do(1, lambda: SingleFlight().do(1, int))) == (
        (0, False),
        False,
    )


def test_among_threads_and_goroutines():
    f, calls, got = SingleFlight(), [], []

    def slow():
        calls.append(1)
        time.sleep(0.3)
        return "value"

    def main():
        w = WaitGroup()
        threads = [spawn(lambda: got.append(f.do("key", slow))) for _ in range(3)]
        for _ in range(3):
            w.go(lambda: got.append(f.do("key", slow)))
        w.wait()
        for t in threads:
            t.join(10)

    G.run(main)
    assert calls == [1] and got == [("value", True)] * 6


class Key:
    def __init__(self, n):
        self.n = n

    def __hash__(self):
        return 1

    def __eq__(self, other):
        G.gosched()
        return self.n == other.n


@in_run
def test_keys_that_compare_by_waiting():
    f = SingleFlight()
    assert [o.unwrap() for o in fly(f, 5, lambda: 1, Key(3))] == [(1, True)] * 5
    assert f.do(Key(3), int) == (0, False)


def test_a_key_that_cannot_be_one():
    f = SingleFlight()
    with pytest.raises(TypeError):
        f.do([], int)
    assert f.do("key", int) == (0, False)


@in_run
def test_a_waiter_that_is_interrupted_leaves_the_flight_alone():
    f, out, go_on = SingleFlight(), G.Chan(capacity=2), G.Chan()
    G.go(lambda: out.send(f.do("key", go_on.recv)))
    parked()
    t = spawn(lambda: f.do("key", int))
    G.go(lambda: out.send(f.do("key", int)))
    parked(1, "wait group")
    go_on.send("value")
    assert [out.recv(timeout=10)[0] for _ in range(2)] == ["value"] * 2
    t.join(10)


def test_results_are_not_kept():
    class Result:
        pass

    f = SingleFlight()
    result, _ = f.do("key", Result)
    ref = weakref.ref(result)
    del result
    gc.collect()
    assert ref() is None


def test_a_failure_in_a_goroutine_goes_to_the_hook():
    def main():
        w, f = WaitGroup(), SingleFlight()
        w.go(f.do, "key", lambda: 1 / 0)
        w.wait()

    with hooked() as seen:
        G.run(main)
    assert [a.exc_type for a in seen] == [ZeroDivisionError]
