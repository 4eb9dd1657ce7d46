"""What a DeadlockError says about the waits of goroutines.sync."""

import re
import sys
import threading

import goroutines as G
import pytest
from goroutines import debug
from goroutines.sync import (
    Cond,
    Mutex,
    Once,
    RWMutex,
    Semaphore,
    SingleFlight,
    WaitGroup,
    once_value,
)
from helpers import eventually, prints

from .support import line_of, parked


def locked(m):
    m.acquire_write() if isinstance(m, RWMutex) else m.acquire()
    return m


def waits_for_mutex():
    locked(Mutex()).acquire()


def waits_in_with():
    with locked(Mutex()):
        pass


def waits_to_read():
    locked(RWMutex()).acquire_read()


def waits_to_read_in_with():
    with locked(RWMutex()).read():
        pass


def waits_to_write():
    locked(RWMutex()).acquire_write()


def waits_for_semaphore():
    locked(Semaphore(1)).acquire()


def waits_for_too_many():
    Semaphore(1).acquire(2)


def waits_for_group():
    [w.wait() for w in [WaitGroup()] if not w.add()]


def waits_in_cond():
    [c.wait() for c in [Cond()] if c.acquire()]


def waits_in_wait_for():
    [c.wait_for(lambda: False) for c in [Cond()] if c.acquire()]


def waits_in_once():
    [o.do(lambda: o.do(int)) for o in [Once()]]


def waits_in_flight():
    [f.do(1, lambda: f.do(1, int)) for f in [SingleFlight()]]


REASONS = {
    waits_for_mutex: "mutex",
    waits_in_with: "mutex",
    waits_to_read: "rwmutex",
    waits_to_read_in_with: "rwmutex",
    waits_to_write: "rwmutex",
    waits_for_semaphore: "semaphore",
    waits_for_too_many: "semaphore",
    waits_for_group: "wait group",
    waits_in_cond: "cond",
    waits_in_wait_for: "cond",
    waits_in_once: "mutex",
    waits_in_flight: "wait group",
}


@pytest.mark.parametrize("fn", REASONS, ids=lambda fn: fn.__name__)
def test_the_reason_and_the_line(fn):
    with pytest.raises(G.DeadlockError) as caught:
        G.run(fn)
    head, line = str(caught.value).splitlines()
    assert head == "all goroutines are asleep - deadlock!"
    assert f" [{REASONS[fn]}]: {__file__}:{line_of(fn)} in " in line, "the caller's line, not ours"


def test_the_main_thread_without_run():
    prints(
        f"""
        import sys
        sys.path[:0] = {sys.path!r}
        import goroutines as G
        from semantics.test_sync_deadlock import REASONS
        for wait in REASONS:
            try:
                wait()
            except G.DeadlockError as error:
                print(error)
        """,
        "\n".join(["all goroutines are asleep - deadlock!"] * len(REASONS)),
    )


@pytest.mark.parametrize("kind", [Mutex, RWMutex])
def test_who_holds_it_and_where(kind):
    m = kind()

    def holder():
        with m if kind is Mutex else m.write():
            G.Chan().recv()

    def waiter():
        locked(m)

    def main():
        G.go(holder)
        parked()
        G.go(waiter)
        G.select()

    with pytest.raises(G.DeadlockError) as caught:
        G.run(main)
    lines = str(caught.value).splitlines()
    (held,) = [x for x in lines if "holder" in x]
    number = re.search(r"goroutine (\d+)", held)[1]
    (wait,) = [x for x in lines if "held by" in x]
    assert "waiter" in wait or "locked" in wait
    assert wait.endswith(f"(held by goroutine {number} at {__file__}:{line_of(holder, 2)})")


def test_held_by_one_that_has_ended():
    m = Mutex()

    def main():
        G.go(m.acquire)
        assert eventually(m.locked)
        assert eventually(lambda: G.num_goroutine() == 1)
        m.acquire()

    with pytest.raises(G.DeadlockError, match=r"held by goroutine \d+, which has ended\)"):
        G.run(main)


def test_held_by_a_thread():
    m = Mutex()
    m.acquire()
    with pytest.raises(G.DeadlockError, match=r"held by a thread\)"):
        G.run(m.acquire)


def test_held_by_readers():
    m = RWMutex()
    m.acquire_read()
    with pytest.raises(G.DeadlockError) as caught:
        G.run(m.acquire_write)
    assert "rwmutex" in str(caught.value) and "held by" not in str(caught.value)


def test_two_that_wait_for_each_other():
    a, b = Mutex(), Mutex()

    def first():
        with a:
            parked(1, "chan receive")
            step.send(None)
            with b:
                pass

    def second():
        with b:
            step.recv()
            with a:
                pass

    step = G.Chan()

    def main():
        G.go(second)
        first()

    with pytest.raises(G.DeadlockError) as caught:
        G.run(main)
    text = str(caught.value)
    assert text.count("[mutex]") == 2
    assert f"at {__file__}:{line_of(first, 4)})" in text
    assert f"at {__file__}:{line_of(second, 3)})" in text


def test_a_deadlock_may_be_caught_and_undone():
    m = Mutex()

    def main():
        m.acquire()
        with pytest.raises(G.DeadlockError):
            m.acquire()
        m.release()
        assert m.acquire(timeout=1)
        m.release()

    G.run(main)


def test_no_deadlock_while_a_timeout_runs():
    def main():
        m = Mutex()
        m.acquire()
        G.go(m.acquire)
        assert m.acquire(timeout=0.5) is False
        m.release()

    G.run(main)


def test_no_deadlock_while_a_thread_could_release_it():
    m = Mutex()
    m.acquire()
    timer = threading.Timer(0.5, m.release)
    timer.start()
    assert G.run(m.acquire) is True
    timer.join()


def test_a_cond_whose_lock_is_lost():
    """DeadlockError comes though the lock cannot be had again."""

    def main():
        c = Cond()
        c.acquire()
        G.go(c.acquire)
        c.wait()

    with pytest.raises(G.DeadlockError, match="cond|mutex"):
        G.run(main)


def test_stacks_show_them_all():
    def main():
        for fn in REASONS:
            G.go(fn)
        for reason in set(REASONS.values()):
            parked(list(REASONS.values()).count(reason), reason)
        text = debug.stacks()
        for fn in REASONS:
            assert fn.__name__ in text

    G.run(main)


def test_a_failed_value_is_no_deadlock():
    value = once_value(lambda: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            G.run(value)
