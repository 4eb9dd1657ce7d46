"""Semaphore: weights, FIFO, never more out than there are."""

import math
import time

import goroutines as G
import pytest
from goroutines.sync import Semaphore
from helpers import in_run, slack

from .support import PLACES, at, parked, spawn


@pytest.mark.parametrize("place", PLACES)
def test_takes_and_gives_everywhere(place):
    def body():
        s = Semaphore(3)
        assert s.acquire() is True
        assert s.acquire(2) is True
        assert s.try_acquire() is False and s.acquire(timeout=0) is False
        start = time.monotonic()
        assert s.acquire(n=1, timeout=0.04) is False
        assert 0.04 <= time.monotonic() - start < slack(5)
        assert s.release(2) is None
        assert s.try_acquire(3) is False
        assert s.try_acquire(n=2) is True
        s.release(n=3)
        assert s.acquire(3, math.inf) is True
        s.release(3)
        with s as entered:
            assert entered is True and s.try_acquire(3) is False
        assert s.try_acquire(3) is True

    at(place, body)


@pytest.mark.parametrize("n", [1, 2, 10**30])
def test_releasing_more_than_is_held(n):
    s = Semaphore(5)
    with pytest.raises(RuntimeError):
        s.release(n)
    s.acquire(3)
    with pytest.raises(RuntimeError):
        s.release(4)
    s.release(3)
    assert s.try_acquire(5), "what failed gave nothing back"


@pytest.mark.parametrize("n", [-1, -(10**30)])
def test_a_negative_count_is_a_value_error(n):
    s = Semaphore(2)
    for call in (s.acquire, s.try_acquire, s.release, Semaphore):
        with pytest.raises(ValueError):
            call(n)


@pytest.mark.parametrize("n", [1.0, "1", None, True, False])
def test_a_count_is_an_int(n):
    """True and False too: who thinks of threading.Semaphore.acquire(blocking) is told."""
    s = Semaphore(2)
    for call in (s.acquire, s.try_acquire, s.release, Semaphore):
        with pytest.raises(TypeError):
            call(n)
    with pytest.raises(TypeError):
        Semaphore()
    with pytest.raises(TypeError):
        s.acquire(blocking=False)


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan"), float("-inf")])
def test_a_negative_timeout_is_a_value_error(timeout):
    s = Semaphore(1)
    for _ in range(2):
        with pytest.raises(ValueError):
            s.acquire(timeout=timeout)
        s.try_acquire()


def test_none_at_all():
    s = Semaphore(0)
    assert s.try_acquire() is False and s.try_acquire(0) is True
    s.release(0)
    with pytest.raises(RuntimeError):
        s.release()


@in_run
def test_a_large_request_is_not_overtaken():
    s, order = Semaphore(4), G.Chan(capacity=9)
    s.acquire(3)
    G.go(lambda: (s.acquire(3), order.send("large")))
    parked(1, "semaphore")
    assert s.try_acquire(1) is False, "one is free, but somebody waits"
    G.go(lambda: (s.acquire(1), order.send("small")))
    parked(2, "semaphore")
    s.release(1)
    assert len(order) == 0
    s.release(1)
    assert order.recv(timeout=10) == "large"
    assert s.try_acquire() is False and len(order) == 0
    s.release(1)
    assert order.recv(timeout=10) == "small"
    s.release(4)


@in_run
def test_a_release_may_serve_many():
    s, out = Semaphore(10), G.Chan(capacity=10)
    s.acquire(10)
    for i, n in enumerate([1, 2, 3, 5]):
        G.go(lambda n: (s.acquire(n), out.send(n)), n)
        parked(i + 1, "semaphore")
    s.release(6)
    assert sorted(out.recv(timeout=10) for _ in range(3)) == [1, 2, 3]
    assert s.try_acquire() is False and len(out) == 0
    s.release(4)
    s.release(1)
    assert out.recv(timeout=10) == 5


@in_run
def test_one_that_gives_up_makes_way():
    s, out = Semaphore(2), G.Chan(capacity=3)
    s.acquire()
    G.go(lambda: out.send(("large", s.acquire(2, timeout=0.1))))
    parked(1, "semaphore")
    G.go(lambda: out.send(("small", s.acquire())))
    parked(2, "semaphore")
    assert {out.recv(timeout=10), out.recv(timeout=10)} == {("large", False), ("small", True)}


@in_run
def test_what_can_never_be_had_is_in_nobodys_way():
    s, out = Semaphore(2), G.Chan(capacity=1)
    assert s.try_acquire(3) is False
    G.go(lambda: out.send(s.acquire(3, timeout=0.2)))
    parked(1, "semaphore")
    for _ in range(5):
        assert s.acquire(2, timeout=0) is True
        s.release(2)
    assert s.acquire(10**30, timeout=0.01) is False
    assert out.recv(timeout=10) is False


def test_threads_and_goroutines_never_have_more_than_there_are():
    s, inside, most, over = Semaphore(3), [0], [0], []

    def user(pause):
        for i in range(30):
            n = 1 + i % 3
            s.acquire(n)
            inside[0] += n
            most[0] = max(most[0], inside[0])
            pause(0.0002)
            inside[0] -= n
            s.release(n)
        over.append(1)

    def main():
        for _ in range(4):
            G.go(user, G.sleep)
        threads = [spawn(user, time.sleep) for _ in range(3)]
        while len(over) < 7:
            G.sleep(0.005)
        for t in threads:
            t.join(10)

    # (The counting is right only while nobody is preempted inside it: a switch may lose a step.)
    G.run(main)
    assert len(over) == 7
    assert s.try_acquire(3)


def test_its_repr():
    s = Semaphore(3)
    s.acquire(2)
    assert "1 of 3 free" in repr(s)
