"""Ctrl-C and GoroutineExit during a wait in goroutines.sync: nothing is taken, nothing lost."""

import textwrap

import goroutines as G
import pytest
from goroutines.sync import Cond, Mutex, Once, RWMutex, Semaphore, WaitGroup
from helpers import eventually, told
from interrupts import MAY_WAKE, interrupted

from .support import parked

WAITS = {
    "mutex": "m.acquire()",
    "mutex, timeout": "m.acquire(timeout=600)",
    "mutex, with": "m.__enter__()",
    "read": "rw.acquire_read()",
    "write": "rw.acquire_write()",
    "write, with": "rw.write().__enter__()",
    "semaphore": "s.acquire()",
    "semaphore, timeout": "s.acquire(timeout=600)",
    "too many": "s.acquire(2)",
    "wait group": "w.wait()",
    "cond": "c.wait()",
    "cond, timeout": "c.wait(timeout=600)",
    "wait_for": "c.wait_for(lambda: False)",
    "once": "once.do(int)",
}

SCENE = """
from goroutines.sync import *
m, rw, s, w, c, once = Mutex(), RWMutex(), Semaphore(1), WaitGroup(), Cond(), Once()
m.acquire(), rw.acquire_write(), s.acquire(), w.add(), c.acquire(), once._mutex.acquire()
"""


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
@pytest.mark.parametrize("how", WAITS)
def test_ctrl_c_ends_a_wait(how, place):
    done = interrupted(
        MAY_WAKE
        + SCENE
        + textwrap.dedent(
            f"""
            def main():
                ready()
                try:
                    {WAITS[how]}
                except KeyboardInterrupt:
                    print("interrupted")
                m.release(), rw.release_write(), s.release(), w.done(), c.release()
                once._mutex.release()
                assert m.acquire(timeout=0) and not m.acquire(timeout=0)
                rw.acquire_write(timeout=0)
                assert s.try_acquire() and not s.try_acquire()
                w.wait(timeout=0)
                assert c.acquire(timeout=0)
                once.do(lambda: print("usable"))
            {place}
            """
        )
    )
    assert done.stdout.split() == ["interrupted", "usable"], told(done)
    assert (done.returncode, done.stderr) == (0, ""), told(done)


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
def test_ctrl_c_in_a_cond_whose_lock_is_taken(place):
    """It comes when the lock is there again."""
    done = interrupted(
        MAY_WAKE
        + textwrap.dedent(
            f"""
            from goroutines.sync import *
            c = Cond()

            def holds():
                with c:
                    ready()
                    time.sleep(1)
                    print("released")

            def main():
                with c:
                    threading.Thread(target=holds, daemon=True).start()
                    try:
                        c.wait()
                    except KeyboardInterrupt:
                        print("interrupted", c.lock.locked())
                print(c.lock.locked())
            {place}
            """
        )
    )
    assert done.stdout.split() == ["released", "interrupted", "True", "False"], told(done)
    assert done.returncode == 0, told(done)


def waiters():
    m, rw, s, w, c = Mutex(), RWMutex(), Semaphore(2), WaitGroup(), Cond()
    m.acquire(), rw.acquire_write(), s.acquire(1), w.add()
    once = Once()
    once._mutex.acquire()

    def cond():
        with c:
            c.wait()

    waits = [m.acquire, rw.acquire_read, rw.acquire_write, lambda: s.acquire(2), w.wait, cond]
    waits += [lambda: once.do(int)]

    def check():
        m.release(), rw.release_write(), s.release(1), w.done(), once._mutex.release()
        assert m.acquire(timeout=0)
        rw.acquire_write(timeout=0)
        assert s.try_acquire(2)
        w.wait(timeout=0)
        assert "0 waiting" in repr(c) and c.acquire(timeout=0)
        once.do(int)

    return waits, check


def test_the_end_of_run_ends_all_waits_and_takes_nothing():
    waits, check = waiters()
    ended = []

    def body(wait):
        try:
            wait()
        except G.GoroutineExit:
            ended.append(wait)
            raise

    def main():
        for wait in waits * 5:
            G.go(body, wait)
        parked(10, "mutex")
        parked(10, "rwmutex")
        parked(5, "semaphore")
        parked(5, "wait group")
        parked(5, "cond")

    G.run(main)
    assert len(ended) == 5 * len(waits)
    check()


def test_what_was_handed_over_is_kept_though_the_end_comes():
    """The lock is handed over, then main ends: the goroutine has it and comes to its `try`."""
    m, got = Mutex(), []

    def body():
        got.append(m.acquire())
        try:
            G.Chan().recv()
        finally:
            m.release()

    def main():
        m.acquire()
        G.go(body)
        parked(1, "mutex")
        m.release()

    G.run(main)
    assert got == [True] and not m.locked()


def test_locks_in_cleanup():
    m, order = Mutex(), []

    def body(i):
        try:
            G.Chan().recv()
        finally:
            with m:
                G.sleep(0.001)
                order.append(i)

    def main():
        for i in range(20):
            G.go(body, i)
        parked(20)

    G.run(main)
    assert sorted(order) == list(range(20)) and not m.locked()


def test_a_finalizer_waits_for_a_lock():
    m = Mutex()
    seen = []

    class Thing:
        def __del__(self):
            with m:
                seen.append(1)

    def main():
        m.acquire()

        def body():
            Thing()

        G.go(body)
        parked(1, "mutex")
        m.release()
        assert eventually(lambda: seen)

    G.run(main)
