"""Mutex: threading.Lock's interface, FIFO hand-over, the same from everywhere."""

import copy
import gc
import inspect
import math
import os
import pickle
import sys
import threading
import time
import weakref
from functools import partial

import goroutines as G
import pytest
from goroutines.sync import Cond, Mutex, RWMutex, Semaphore, WaitGroup
from helpers import eventually, in_run, procs, scaled, slack

from .support import PLACES, at, parked, spawn, waiting


@pytest.mark.parametrize("place", PLACES)
def test_locks_and_unlocks_everywhere(place):
    def body():
        m = Mutex()
        assert not m.locked()
        assert m.acquire() is True and m.locked()
        assert m.acquire(False) is False and m.acquire(blocking=False) is False
        assert m.acquire(timeout=0) is False and m.acquire(True, 0.0) is False
        assert m.release() is None and not m.locked()
        with m as entered:
            assert entered is True and m.locked()
        assert not m.locked()
        assert m.acquire(True, 5) is True
        m.release()
        assert m.acquire(blocking=True, timeout=math.inf) is True

    at(place, body)


@pytest.mark.parametrize("place", PLACES)
def test_a_timeout_elapses_everywhere(place):
    def body():
        m = Mutex()
        m.acquire()
        start = time.monotonic()
        assert m.acquire(timeout=0.05) is False
        assert 0.05 <= time.monotonic() - start < slack(5)
        m.release()
        assert m.acquire(False)

    at(place, body)


ARGUMENTS = [
    ((False, 1), ValueError),
    ((False, 0), ValueError),
    ((False, 0.0), ValueError),
    ((True, -2), ValueError),
    ((True, -0.001), ValueError),
    ((True, -math.inf), ValueError),
    ((True, math.nan), ValueError),
    ((False, math.nan), ValueError),
    ((True, 1e100), OverflowError),
    ((True, threading.TIMEOUT_MAX + 1), OverflowError),
    ((True, 10**400), OverflowError),
    ((True, "1"), TypeError),
    ((True, None), TypeError),
    ((1, 2, 3), TypeError),
]


@pytest.mark.parametrize(("args", "error"), ARGUMENTS)
def test_arguments_are_checked_as_those_of_a_lock(args, error):
    if args not in [(False, 0), (False, 0.0)]:  # those, threading.Lock may take or leave
        with pytest.raises((error, OverflowError) if args[-1] == -math.inf else error):
            threading.Lock().acquire(*args)
    m = Mutex()
    with pytest.raises(error):
        m.acquire(*args)
    assert not m.locked()


def test_no_timeout_but_minus_one_for_a_call_that_does_not_wait():
    """Nor infinity, which threading.Lock does not take at all."""
    for held in (False, True):
        m = Mutex()
        assert m.acquire(False, -1) is True
        if not held:
            m.release()
        with pytest.raises(ValueError, match="non-blocking"):
            m.acquire(False, math.inf)
        assert m.locked() is held
        assert m.acquire(False, -1.0) is not held


def waits():
    """All that wait in goroutines.sync, free and taken."""
    free, taken = RWMutex(), RWMutex()
    taken.acquire_write()
    group, cond = WaitGroup(), Cond()
    busy = WaitGroup()
    busy.add()
    cond.acquire()
    for rw in free, taken:
        yield rw.acquire_read
        yield rw.acquire_write
    for n in 1, 2:
        yield partial(Semaphore(1).acquire, n)
    yield group.wait
    yield busy.wait
    yield cond.wait
    yield partial(cond.wait_for, lambda: True)
    yield partial(cond.wait_for, lambda: False)
    m = Mutex()
    yield partial(m.acquire, True)
    m.acquire()
    yield partial(m.acquire, True)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-2, ValueError),
        (-0.5, ValueError),
        (-math.inf, ValueError),
        (math.nan, ValueError),
        ("1", TypeError),
        ([], TypeError),
    ],
)
def test_a_wrong_timeout_is_refused_whatever_the_state(timeout, error):
    says = "timeout must (not )?be (a number of seconds, not|negative|NaN)"
    for wait in waits():
        with pytest.raises(error, match=says):
            wait(timeout=timeout)


def test_an_int_that_no_float_holds():
    for sign in 1, -1:
        with pytest.raises(OverflowError):  # as threading.Lock
            Mutex().acquire(True, sign * 10**400)
    assert Semaphore(1).acquire(timeout=10**400)
    with pytest.raises(ValueError, match="negative"):
        Semaphore(1).acquire(timeout=-(10**400))


def test_keywords_are_checked():
    m = Mutex()
    with pytest.raises(TypeError, match="nonsense"):
        m.acquire(nonsense=1)
    with pytest.raises(TypeError, match="blocking"):
        m.acquire(True, blocking=True)
    with pytest.raises(TypeError):
        Mutex(1)
    with pytest.raises(TypeError):
        Mutex(lock=1)
    assert m.acquire(timeout=-1, blocking=False) is True
    assert m.acquire(timeout=-1.0, blocking=0) is False


@pytest.mark.parametrize("place", PLACES)
def test_unlocking_the_unlocked_is_an_error(place):
    def body():
        m = Mutex()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="unlocked"):
                m.release()
            with m:
                pass
        with pytest.raises(RuntimeError), m:
            m.release()
        assert m.acquire(False) and not m.acquire(False)

    at(place, body)


@in_run
def test_anybody_may_unlock_it():
    m = Mutex()
    m.acquire()
    G.go(m.release)
    assert m.acquire(timeout=10)
    spawn(m.release)
    assert m.acquire(timeout=10)


def test_an_exception_passes_through_with():
    m = Mutex()
    with pytest.raises(KeyError), m:
        raise KeyError
    assert not m.locked()


@in_run
def test_first_come_first_served():
    m, order = Mutex(), []

    def user(i):
        with m:
            order.append(i)

    m.acquire()
    for i in range(20):
        G.go(user, i)
        parked(i + 1, "mutex")
    m.release()
    assert m.acquire(timeout=10)
    assert order == list(range(20)), "the last to come was this one"


@in_run
def test_what_is_released_is_handed_over():
    """Between the release and the waiter's turn nobody else can take it."""
    m, out = Mutex(), G.Chan(capacity=1)
    m.acquire()
    G.go(lambda: (m.acquire(), out.send(True)))
    parked(1, "mutex")
    m.release()
    assert m.locked() and m.acquire(False) is False
    assert out.recv(timeout=10)


@in_run
def test_threads_and_goroutines_are_in_one_line():
    m, order = Mutex(), []

    def user(name):
        with m:
            order.append(name)

    m.acquire()
    threads = []
    for i in range(6):
        if i % 2:
            threads.append(spawn(user, i))
            time.sleep(0.1)  # nothing shows that a thread waits
        else:
            G.go(user, i)
            parked(i // 2 + 1, "mutex")
    m.release()
    for t in threads:
        t.join(10)
    assert eventually(lambda: len(order) == 6)
    assert order == list(range(6))


@pytest.mark.parametrize("n", [1, 2, 4])
@in_run
def test_a_greedy_one_and_fifty_patient_ones(n):
    """Nobody waits longer than one turn of each of the others."""
    m, turns, worst, over = Mutex(), [0], [], G.Chan()
    users, rounds = 50, scaled(20, 5)
    stop = []

    def greedy():
        while not stop:
            with m:
                turns[0] += 1
                if turns[0] % 7 == 0:
                    G.gosched()
        over.send(None)

    def patient():
        for _ in range(rounds):
            asked = turns[0]
            with m:
                worst.append(turns[0] - asked)
                turns[0] += 1
                G.gosched()
        over.send(None)

    with procs(n):
        G.go(greedy)
        for _ in range(users):
            G.go(patient)
        for _ in range(users):
            over.recv()
        stop.append(1)
        over.recv()
    assert len(worst) == users * rounds
    # Between reading `turns` and asking, one may be preempted, and the greedy one goes on: rarely.
    worst.sort()
    assert worst[len(worst) * 9 // 10] <= 2 * users + 2


@in_run
def test_one_that_gives_up_is_passed_over():
    m, out = Mutex(), G.Chan(capacity=3)
    m.acquire()
    G.go(lambda: out.send(("hasty", m.acquire(timeout=0.05))))
    parked(1, "mutex")
    G.go(lambda: out.send(("patient", m.acquire())))
    parked(2, "mutex")
    assert out.recv(timeout=10) == ("hasty", False)
    m.release()
    assert out.recv(timeout=10) == ("patient", True)
    m.release()
    assert not m.locked()


@in_run
def test_waiting_keeps_no_thread():
    m = Mutex()
    m.acquire()
    out = G.Chan()

    def user():
        with m:
            pass
        out.send(None)

    before = G.debug.stats().threads
    for _ in range(200):
        G.go(user)
    parked(200, "mutex")
    assert G.debug.stats().threads <= before + 3
    m.release()
    for _ in range(200):
        out.recv(timeout=10)


def test_a_waiter_shows_in_stacks():
    def main():
        m = Mutex()
        m.acquire()
        G.go(m.acquire)
        parked(1, "mutex")
        assert waiting("mutex") == 1
        m.release()

    G.run(main)


def test_locked_in_one_run_and_released_in_the_next():
    m = Mutex()
    G.run(m.acquire)
    assert m.locked()
    G.run(m.release)
    assert not m.locked()


@in_run
def test_a_finalizer_may_use_the_lock_that_is_held():
    m, seen = Mutex(), []

    class Thing:
        def __del__(self):
            seen.append(m.acquire(False))

    with m:
        Thing()
        gc.collect()
    assert seen == [False]


@in_run
def test_who_waits_keeps_it_alive():
    out = G.Chan(capacity=1)

    def scene():
        m = Mutex()
        m.acquire()
        G.go(lambda m: out.send(m.acquire()), m)
        return weakref.ref(m)

    ref = scene()
    parked(1, "mutex")
    gc.collect()
    ref().release()
    assert out.recv(timeout=10) is True
    assert eventually(lambda: ref() is None)


ALL = [Mutex, RWMutex, lambda: Semaphore(1), WaitGroup, Cond]


@pytest.mark.parametrize("make", ALL)
def test_an_object_like_others(make):
    it = make()
    assert {it: 1}[it] == 1 and it != make()
    assert weakref.ref(it)() is it
    assert type(it).__module__ == "goroutines.sync"
    assert repr(it).startswith("<") and type(it).__name__ in repr(it)
    assert type(it).__doc__
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot"):
            act(it)


def test_its_repr_says_whether_it_is_locked():
    m = Mutex()
    assert repr(m).startswith("<unlocked goroutines.sync.Mutex object at ")
    m.acquire()
    assert repr(m).startswith("<locked goroutines.sync.Mutex object at ")


def test_no_references_leak():
    m = Mutex()

    def use():
        m.acquire()
        m.acquire(False)
        m.acquire(timeout=0.0001)
        m.release()
        with pytest.raises(RuntimeError):
            m.release()
        with m:
            pass

    use()
    before = sys.getrefcount(m)
    for _ in range(50):
        use()
    assert sys.getrefcount(m) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_finds_it_as_it_was():
    """Held stays held, _at_fork_reinit() frees it, as threading.Lock. Who waited is forgotten."""
    m = Mutex()
    m.acquire()
    threads = [spawn(lambda: (m.acquire(), m.release())) for _ in range(3)]
    time.sleep(0.1)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            new = [spawn(lambda: [0] * 1000) for _ in range(5)]  # on the stacks of those forgotten
            for t in new:
                t.join()
            if m.locked() and not m.acquire(False) and m.acquire(timeout=0.01) is False:
                m._at_fork_reinit()
                if not m.locked() and m.acquire(False):
                    m.release()
                    code = 0
        finally:
            os._exit(code)
    m.release()
    for t in threads:
        t.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not m.locked()


@in_run
def test_reinit_does_not_forget_who_waits():
    m, out = Mutex(), G.Chan(capacity=1)
    m._at_fork_reinit()
    assert not m.locked()
    m.acquire()
    G.go(lambda: (m.acquire(), out.send(True)))
    parked(1, "mutex")
    m._at_fork_reinit()
    assert out.recv(timeout=10) and m.locked()


@pytest.mark.parametrize(
    "method",
    [Mutex.acquire, RWMutex.acquire_read, Semaphore.acquire, WaitGroup.wait, WaitGroup.go],
)
def test_signatures_and_docs(method):
    assert "self" in inspect.signature(method).parameters
    assert len(method.__doc__) > 20
