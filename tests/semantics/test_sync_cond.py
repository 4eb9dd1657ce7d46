"""Cond: wait, notify, and the lock that is held again whatever ends the wait."""

import gc
import math
import threading
import time
import weakref
from decimal import Decimal
from fractions import Fraction

import goroutines as G
import pytest
from goroutines.sync import Cond, Mutex, RWMutex
from helpers import eventually, in_run, slack

from .support import PLACES, at, parked, spawn


def waiters(c, n):
    """n wait in c, and have released its lock."""
    assert eventually(lambda: f"{n} waiting" in repr(c)), repr(c)


@pytest.mark.parametrize("place", PLACES)
def test_waits_until_notified_everywhere(place):
    def body():
        c, state = Cond(), []

        def tells():
            with c:
                state.append(1)
                c.notify()

        with c:
            G.go(tells)
            while not state:
                assert c.wait(timeout=slack(20)) is None
            assert c.lock.locked()
        assert not c.lock.locked()

    at(place, body)


@pytest.mark.parametrize("place", PLACES)
def test_a_timeout_elapses_everywhere(place):
    def body():
        c = Cond()
        with c:
            for timeout in 0, 0.05:
                start = time.monotonic()
                with pytest.raises(TimeoutError):
                    c.wait(timeout)
                assert timeout <= time.monotonic() - start < slack(5)
                assert c.lock.locked()
            c.notify()  # nobody waits any more: it is not kept
            with pytest.raises(TimeoutError):
                c.wait(timeout=0.01)
        assert not c.lock.locked()

    at(place, body)


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan"), float("-inf")])
def test_a_negative_timeout_is_a_value_error(timeout):
    c = Cond()
    with c:
        with pytest.raises(ValueError):
            c.wait(timeout)
        with pytest.raises(ValueError):
            c.wait_for(lambda: True, timeout)
        assert c.lock.locked()
    with pytest.raises(ValueError):
        c.wait(timeout)


@pytest.mark.parametrize("timeout", [Decimal(1), Fraction(1, 2), 10**400, math.inf])
def test_timeouts_of_other_kinds(timeout):
    c = Cond()
    with c:
        assert c.wait_for(lambda: 7, timeout) == 7


@pytest.mark.parametrize("make", [Mutex, threading.Lock, threading.RLock])
def test_the_lock_must_be_held(make):
    c = Cond(make())
    for call in (c.wait, c.notify, c.notify_all, lambda: c.wait_for(lambda: False)):
        with pytest.raises(RuntimeError):
            call()
    assert "0 waiting" in repr(c)
    with c:
        c.notify()
        c.notify_all()


def test_the_lock_is_a_lock():
    for wrong in 3, "lock", object():
        with pytest.raises(TypeError):
            Cond(wrong)
    m = Mutex()
    c = Cond(m)
    assert c.lock is m
    assert c.acquire() is True and m.locked()
    assert c.acquire(False) is False and c.acquire(timeout=0.01) is False
    assert c.release() is None
    with c as entered:
        assert entered is True
    assert isinstance(Cond().lock, Mutex)


@in_run
def test_the_first_to_wait_is_the_first_to_be_told():
    c, order = Cond(), []

    def waits(i):
        with c:
            c.wait()
            order.append(i)

    for i in range(10):
        G.go(waits, i)
        waiters(c, i + 1)
    for n, told in [(1, 1), (0, 1), (3, 4), (2, 6)]:
        with c:
            c.notify(n)
        assert eventually(lambda: len(order) == told)
        assert sorted(order) == list(range(told)), "those told at once may go in any order"
    with c:
        c.notify_all()
    assert eventually(lambda: len(order) == 10)
    with c:
        c.notify(n=100)
        with pytest.raises(ValueError):
            c.notify(-1)
        with pytest.raises(TypeError):
            c.notify(1.5)


@in_run
def test_who_is_told_waits_for_the_lock():
    c, out = Cond(), G.Chan(capacity=3)

    def waits():
        with c:
            c.wait()
            out.send(c.lock.locked())

    for _ in range(3):
        G.go(waits)
    waiters(c, 3)
    with c:
        c.notify_all()
        parked(3, "mutex")
        assert len(out) == 0
    assert [out.recv(timeout=10) for _ in range(3)] == [True] * 3


@in_run
def test_what_is_told_to_one_that_has_given_up_is_not_lost():
    """Told and timed out at the same time: either it returns, or the next one is told."""
    for i in range(200):
        c, told, late = Cond(), [], []

        def hasty():
            with c:
                try:
                    c.wait(timeout=0.001)
                    told.append("hasty")
                except TimeoutError:
                    late.append("hasty")

        def patient():
            with c:
                c.wait()
                told.append("patient")

        G.go(hasty)
        assert eventually(lambda: "1 waiting" in repr(c) or late)
        G.go(patient)
        assert eventually(lambda: "2 waiting" in repr(c) or (late and "1 waiting" in repr(c)))
        G.sleep(0.0001 * (i % 10))
        with c:
            c.notify()
        assert eventually(lambda: told), "told nobody"
        with c:
            c.notify_all()
        assert eventually(lambda: len(told) + len(late) == 2)


@in_run
def test_wait_for():
    c, state, out = Cond(), [0], G.Chan(capacity=1)

    def waits():
        with c:
            out.send((c.wait_for(lambda: state[0] >= 3 and "ready"), state[0]))

    G.go(waits)
    for _ in range(3):
        G.sleep(0.005)
        with c:
            state[0] += 1
            c.notify_all()
    assert out.recv(timeout=10) == ("ready", 3)
    with c:
        assert c.wait_for(lambda: "at once") == "at once"
        assert c.wait_for(lambda: 7, timeout=0) == 7


@in_run
def test_wait_for_gives_up_in_time_however_often_it_is_told():
    c, calls, stop = Cond(), [], []

    def tells():
        while not stop:
            with c:
                c.notify_all()
            G.sleep(0.005)

    G.go(tells)
    with c:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            c.wait_for(lambda: calls.append(c.lock.locked()), timeout=0.1)
        assert 0.1 <= time.monotonic() - start < slack(5)
        assert c.lock.locked()
    stop.append(1)
    assert len(calls) > 1 and all(calls), "the lock is held whenever the predicate is called"


@in_run
def test_wait_for_looks_once_more_at_the_end():
    c, calls = Cond(), []
    with c:

        def comes_late():
            calls.append(1)
            return len(calls) == 2

        assert c.wait_for(comes_late, timeout=0.02) is True
        assert len(calls) == 2
        with pytest.raises(ZeroDivisionError):
            c.wait_for(lambda: 1 / 0)
        with pytest.raises(TimeoutError):
            c.wait_for(lambda: None, timeout=0)


def test_an_rlock_is_released_however_often_it_is_held():
    c, state = Cond(threading.RLock()), []

    def tells():
        with c:
            state.append(1)
            c.notify()

    with c, c, c:
        t = spawn(tells)
        c.wait_for(lambda: state, timeout=slack(20))
        for _ in range(3):
            assert c.lock._is_owned()
    t.join(10)
    assert not c.lock._is_owned()


@in_run
def test_both_sides_of_an_rwmutex():
    m, state = RWMutex(), []
    reads = Cond(m.read())

    def waits():
        with reads:
            reads.wait_for(lambda: state, timeout=slack(20))
            state.append("seen")

    G.go(waits)
    waiters(reads, 1)
    with m.write():
        state.append(1)
    with reads:
        reads.notify()
    assert eventually(lambda: "seen" in state)


class Lock:
    """A lock written in Python, with what can go wrong."""

    def __init__(self):
        self.mutex, self.fail = Mutex(), None

    def acquire(self):
        if self.fail == "acquire":
            raise ZeroDivisionError
        return self.mutex.acquire()

    def release(self):
        if self.fail == "release":
            raise ZeroDivisionError
        self.mutex.release()


@in_run
def test_a_lock_of_ones_own():
    lock = Lock()
    c, out = Cond(lock), G.Chan(capacity=1)

    def waits():
        c.acquire()
        c.wait()
        out.send(lock.mutex.locked())
        c.release()

    G.go(waits)
    waiters(c, 1)
    c.acquire()
    c.notify()
    c.release()
    assert out.recv(timeout=10) is True


@pytest.mark.parametrize("fail", ["acquire", "release"])
def test_a_lock_that_fails(fail):
    lock = Lock()
    c = Cond(lock)
    lock.acquire()
    lock.fail = fail
    with pytest.raises(ZeroDivisionError) as caught:
        c.wait(timeout=0.01)
    if fail == "acquire":
        assert isinstance(caught.value.__context__, TimeoutError)
    assert "0 waiting" in repr(c)


@in_run
def test_told_while_the_lock_is_being_released():
    """After the waiter has joined, before it sleeps: not lost."""

    class Meddling(Lock):
        def release(self):
            super().release()
            if self.fail == "tell":
                self.fail = None
                G.gosched()
                G.Chan(capacity=1).send(1)
                with c:
                    c.notify()

    lock = Meddling()
    c = Cond(lock)
    with c:
        lock.fail = "tell"
        c.wait(timeout=slack(20))
    assert not lock.mutex.locked()


@in_run
def test_told_and_then_unable_to_release():
    """What it was told goes to the next."""
    c, out = Cond(), G.Chan(capacity=1)

    def next_one():
        mine = Mutex()
        mine.acquire()
        c._waiters.wait(mine, None)
        out.send("told")

    class Fails(Lock):
        def release(self):
            G.go(next_one)
            waiters(c, 2)
            c._waiters.notify(1)  # the first, which is here
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        c._waiters.wait(Fails(), None)
    assert out.recv(timeout=10) == "told"


def test_goroutine_exit_finds_the_lock_held():
    c, seen = Cond(), []

    def waits():
        with c:
            try:
                c.wait()
            except G.GoroutineExit:
                seen.append(c.lock.locked())
                raise

    def main():
        for _ in range(20):
            G.go(waits)
        waiters(c, 20)

    G.run(main)
    assert seen == [True] * 20
    assert not c.lock.locked()


def test_goroutine_exit_while_the_lock_is_held_by_another():
    c, seen = Cond(), []

    def waits():
        with c:
            try:
                c.wait()
            except G.GoroutineExit:
                seen.append(c.lock.locked())

    def holds():
        with c:
            try:
                G.Chan().recv()
            finally:
                seen.append("held")
                G.sleep(0.05)

    def main():
        G.go(waits)
        waiters(c, 1)
        G.go(holds)
        parked()

    G.run(main)
    assert seen == ["held", True]
    assert not c.lock.locked()


def test_the_end_comes_though_the_lock_never_does():
    """Whoever held it is gone: the wait cannot have it back, and is ended without."""
    c, seen = Cond(), []

    def waits():
        c.acquire()
        try:
            c.wait()
        except BaseException as error:
            seen.append(type(error))
            raise

    def main():
        G.go(waits)
        waiters(c, 1)
        G.go(c.acquire)
        assert eventually(c.lock.locked)

    G.run(main)
    assert seen == [G.GoroutineExit]


def test_between_threads_and_goroutines():
    c, items, got = Cond(), [], []

    def consumes(n):
        for _ in range(n):
            with c:
                c.wait_for(lambda: items)
                got.append(items.pop(0))

    def main():
        threads = [spawn(consumes, 20) for _ in range(2)]
        for _ in range(2):
            G.go(consumes, 20)
        for i in range(80):
            with c:
                items.append(i)
                c.notify()
            if i % 10 == 0:
                G.sleep(0.001)
        assert eventually(lambda: len(got) == 80, 30)
        for t in threads:
            t.join(10)

    G.run(main)
    assert sorted(got) == list(range(80))


def test_it_is_collected_with_its_lock():
    class Owner:
        def __init__(self):
            self.c = Cond(Lock())
            self.c.lock.owner = self

    ref = weakref.ref(Owner())
    gc.collect()
    assert ref() is None
