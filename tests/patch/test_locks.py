"""Locks, RLocks and what is made of them, in goroutines and threads at once."""

import pytest
from helpers import script

from .waiting import FEW_THREADS

PROLOGUE = f"""
{FEW_THREADS}
import _thread, os, sys, threading, time
import goroutines as G
from goroutines import patch
early_lock, early_rlock = threading.Lock(), threading.RLock()
early_acquire = early_lock.acquire
start_os_thread = patch.original("_thread", "start_new_thread")
os_sleep = patch.original("time", "sleep")

patch.all()
"""


def run(source: str, **env: str) -> str:
    done = script(PROLOGUE + source, env=env, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lock_parks_and_every_waiter_gets_it():
    run(
        """
def main():
    done = G.Chan(capacity=200)
    for lock, acquire in ((early_lock, early_acquire), (_thread.allocate_lock(), None)):
        acquire = acquire or lock.__enter__
        lock.acquire()
        def member(i):
            assert acquire() is True
            lock.release()
            done.send(i)
        for i in range(100):
            G.go(member, i)
        G.sleep(0.1)
        few_threads()
        assert not len(done)
        lock.release()
        assert sorted(done.recv() for _ in range(100)) == list(range(100))
        assert not lock.locked()

G.run(main)
"""
    )


def test_arguments_of_acquire_are_as_before():
    run(
        """
def calls(lock):
    lock.acquire()
    def other():
        return lock
    seen = []
    for args, kwargs in [((False,), {}), ((True, 0.01), {}), ((), {"timeout": 0.01}), ((1, 0), {}),
                         ((False, 1), {}), ((True, -2), {}), ((), {"timeout": "1"}),
                         ((1, 2, 3), {}),
                         ((), {"blocking": False}), ((), {"wait": 1}), ((True, 1e20), {}),
                         ((True,), {"blocking": True}), ((), {"timeout": float("nan")})]:
        try:
            seen.append(lock.acquire(*args, **kwargs))
        except Exception as exc:
            seen.append((type(exc), str(exc)))
    lock.release()
    try:
        lock.release()
    except RuntimeError as exc:
        seen.append(str(exc))
    return seen

before = calls(threading.Lock())
assert G.run(calls, threading.Lock()) == before
assert before[0] is before[1] is before[2] is False
"""
    )


def test_a_timeout_elapses_and_the_lock_is_as_before():
    run(
        """
def main():
    lock, rlock = threading.Lock(), threading.RLock()
    for each in (lock, rlock):
        held, free = G.Chan(), G.Chan()
        def holder():
            with each:
                held.send(1)
                free.recv()
        G.go(holder)
        held.recv()
        start = time.monotonic()
        assert each.acquire(timeout=0.05) is False
        assert time.monotonic() - start >= 0.05
        free.send(1)
        assert each.acquire(timeout=10) is True
        each.release()

G.run(main)
"""
    )


def test_rlock_belongs_to_the_goroutine():
    run(
        """
def main():
    G.gomaxprocs(1)  # all on one OS thread
    for rlock in (early_rlock, threading.RLock(), threading._PyRLock()):
        inside, most, done = 0, 0, G.Chan(capacity=100)
        def member():
            nonlocal inside, most
            for _ in range(20):
                with rlock:
                    with rlock:
                        inside += 1
                        most = max(most, inside)
                        time.sleep(0.0002)  # parks, and may come back on another thread
                        assert rlock._is_owned()
                        inside -= 1
            done.send(1)
        for _ in range(10):
            G.go(member)
        for _ in range(10):
            done.recv()
        assert most == 1
        rlock.acquire()
        failed = G.Chan()
        def thief():
            assert not rlock._is_owned() and not rlock.acquire(blocking=False)
            try:
                rlock.release()
            except RuntimeError as exc:
                failed.send(str(exc))
        G.go(thief)
        assert failed.recv() == "cannot release un-acquired lock"
        rlock.release()

G.run(main)
"""
    )


def test_an_rlock_held_by_a_thread_keeps_goroutines_out_and_the_other_way_round():
    run(
        """
def main():
    rlock, log = threading.RLock(), []
    taken, over = G.Chan(capacity=1), G.Chan(capacity=1)
    def thread():
        with rlock:
            taken.send(1)
            os_sleep(0.1)
            log.append("thread")
        with rlock:
            log.append("thread again")
        over.send(1)
    start_os_thread(thread, ())
    taken.recv()
    with rlock:
        log.append("goroutine")
        G.sleep(0.1)
        log.append("goroutine still")
    over.recv()
    assert log[:1] == ["thread"] and log.index("goroutine still") == log.index("goroutine") + 1, log

G.run(main)
"""
    )


def test_condition_event_semaphore_barrier():
    run(
        """
def main():
    n, done = 60, G.Chan(capacity=200)
    for kind in (threading.Lock, threading.RLock):
        cond = threading.Condition(kind())
        def waiter():
            with cond:
                assert cond.wait(10)
            done.send(1)
        for _ in range(n):
            G.go(waiter)
        G.sleep(0.1)
        few_threads()
        with cond:
            cond.notify(3)
        for _ in range(3):
            done.recv()
        G.sleep(0.05)
        assert not len(done)
        with cond:
            cond.notify_all()
        for _ in range(n - 3):
            done.recv()
    event, sem, barrier = threading.Event(), threading.Semaphore(0), threading.Barrier(n)
    for block in (event.wait, sem.acquire, barrier.wait):
        for _ in range(n - (block == barrier.wait)):
            G.go(lambda block=block: done.send(block()))
    G.sleep(0.1)
    few_threads()
    assert not len(done)
    event.set()
    sem.release(n)
    barrier.wait()
    assert sum(1 for _ in range(3 * n - 1) if done.recv() is not None) == 3 * n - 1

G.run(main)
"""
    )


def test_a_condition_has_its_rlock_after_goroutine_exit():
    """The end of run() interrupts wait(); its cleanup must find the lock taken, counts and all."""
    run(
        """
log = []

def main():
    cond = threading.Condition()
    def waiter():
        try:
            with cond, cond:
                try:
                    cond.wait()
                finally:
                    log.append(cond._is_owned())
        except RuntimeError as exc:
            log.append(exc)
    for _ in range(5):
        G.go(waiter)
    G.sleep(0.05)

G.run(main)
assert log == [True] * 5, log
"""
    )


def test_a_deadlock_through_locks_is_found():
    out = run(
        """
def main():
    lock = threading.Lock()
    lock.acquire()
    try:
        lock.acquire()
    except G.DeadlockError as exc:
        print(str(exc).splitlines()[1].split("]")[0])

G.run(main)
"""
    )
    assert out.strip().endswith("[lock")


def test_nobody_starves():
    """One that takes the lock again at once, and parks inside, leaves it to others."""
    run(
        """
def main():
    G.gomaxprocs(1)
    for lock in (threading.Lock(), threading.RLock()):
        over = []
        def greedy():
            while not over:
                with lock:
                    time.sleep(0.0005)
        G.go(greedy)
        G.sleep(0.01)
        for _ in range(20):
            assert lock.acquire(timeout=20)
            lock.release()
        over.append(1)
        G.sleep(0.01)

G.run(main)
"""
    )


MIXED = """
sys.setswitchinterval(1e-5)
rounds = int(sys.argv[1])

def work(lock, box, n):
    for i in range(n):
        if i % 3 == 0:
            if not lock.acquire(timeout=30):
                raise SystemExit("lost wake-up")
        else:
            lock.acquire()
        seen = box[0]
        if i % 5 == 0:
            time.sleep(0)
        box[0] = seen + 1
        lock.release()

def main():
    for round in range(rounds):
        lock = (threading.Lock, threading.RLock)[round % 2]()
        box, over = [0], G.Chan(capacity=20)
        def member():
            work(lock, box, 60)
            over.send(1)
        for _ in range(3):
            start_os_thread(member, ())
        for _ in range(6):
            G.go(member)
        for _ in range(9):
            over.recv(timeout=60)
        assert box == [9 * 60], box

G.run(main)
print("ok")
"""


@pytest.mark.hang(150)
@pytest.mark.parametrize("procs", ["1", "2", "4", "8"])
def test_locks_shared_by_threads_and_goroutines(procs):
    done = script(PROLOGUE + MIXED, args=["20"], env={"GOMAXPROCS": procs}, timeout=120)
    assert done.stdout == "ok\n", done.stderr
