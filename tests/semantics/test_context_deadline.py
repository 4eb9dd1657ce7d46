"""Deadlines of contexts."""

import math
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from goroutines import Chan, DeadlockError, debug, go, recv, run, select, sleep
from goroutines.context import (
    Canceled,
    DeadlineExceeded,
    background,
    with_cancel,
    with_deadline,
    with_timeout,
    with_value,
)
from helpers import eventually, in_run, prints, scaled, slack

from .support import Nothing, take


@in_run
def test_a_deadline_passes():
    start = time.monotonic()
    ctx = with_timeout(background(), 0.05)
    assert start + 0.05 <= ctx.deadline() <= time.monotonic() + 0.05
    assert 0 < ctx.remaining() <= 0.05
    assert ctx.done().recv_ok(timeout=30) == (None, False)
    assert 0.05 <= time.monotonic() - start < slack(5)
    assert type(ctx.err()) is DeadlineExceeded and ctx.cause() is ctx.err()
    assert ctx.remaining() == 0.0
    with pytest.raises(TimeoutError, match="context deadline exceeded"):
        ctx.check()


@pytest.mark.parametrize("seconds", [0, -0.0, -1, -1e9, -math.inf])
def test_a_deadline_in_the_past(seconds):
    for ctx in (
        with_timeout(background(), seconds),
        with_deadline(background(), time.monotonic() + seconds),
        with_timeout(with_timeout(background(), 600), seconds),
    ):
        assert type(ctx.err()) is DeadlineExceeded
        assert not ctx.done().recv_ok(timeout=0)[1] and ctx.remaining() == 0.0


@pytest.mark.parametrize("seconds", [math.inf, 10**400])
def test_infinity_is_no_deadline(seconds):
    ctx = with_timeout(background(), seconds)
    assert ctx.deadline() is None and ctx.remaining() is None and ctx.err() is None
    parent = with_timeout(background(), 600)
    assert with_timeout(parent, seconds).deadline() == parent.deadline()


@pytest.mark.parametrize("make", [with_timeout, with_deadline])
def test_what_is_no_number(make):
    with pytest.raises(ValueError, match="NaN"):
        make(background(), math.nan)
    for wrong in ("1", None, [], 1j):
        with pytest.raises(TypeError, match="must be a number, not"):
            make(background(), wrong)


@pytest.mark.parametrize("seconds", [Decimal("600"), Fraction(600), True, 600])
def test_numbers_of_all_kinds(seconds):
    assert 0 < with_timeout(background(), seconds).remaining() <= 600


def test_far_away():
    ctx = with_timeout(background(), 1e12)
    assert ctx.remaining() > 1e11 and take(ctx.done()) is Nothing
    ctx.cancel()


@in_run
def test_the_earlier_one_counts():
    parent = with_timeout(background(), 0.03)
    child = with_timeout(parent, 600)
    assert child.deadline() == parent.deadline()
    child.done().recv_ok(timeout=30)
    assert child.err() is parent.err() and type(child.err()) is DeadlineExceeded
    parent = with_timeout(background(), 600)
    child = with_timeout(with_value(with_cancel(parent), 1, 2), 0.03)
    assert child.deadline() < parent.deadline()
    child.done().recv_ok(timeout=30)
    assert type(child.err()) is DeadlineExceeded and parent.err() is None


def test_a_child_inherits_it():
    parent = with_timeout(background(), 600)
    for child in (with_cancel(parent), with_value(with_cancel(parent), 1, 2)):
        assert child.deadline() == parent.deadline() and 0 < child.remaining() <= 600


@in_run
def test_it_reaches_all_below():
    ctx = leaf = with_timeout(background(), 0.03)
    for i in range(50):
        leaf = with_cancel(with_value(leaf, i, i))
    leaf.done().recv_ok(timeout=30)
    assert leaf.err() is ctx.err()


@in_run
def test_cancel_before_and_after_it():
    early, late = with_timeout(background(), 0.02), with_timeout(background(), 0.02)
    early.cancel(KeyError())
    late.done().recv_ok(timeout=30)
    late.cancel(KeyError())
    sleep(0.03)
    assert type(early.err()) is Canceled and type(early.cause()) is KeyError
    assert type(late.err()) is DeadlineExceeded and late.cause() is late.err()


@in_run
def test_they_come_in_order():
    order = Chan(int, 20)
    ctxs = [with_timeout(background(), 0.02 * (i + 1)) for i in range(8)]
    for i in reversed(range(8)):
        go(lambda i=i: (ctxs[i].done().recv_ok(), order.send(i)))
    got = [order.recv(timeout=30) for _ in range(8)]
    assert sorted(got) == list(range(8))


@in_run
def test_many_at_once():
    n = scaled(2000)
    ctxs = [with_timeout(background(), 0.05) for _ in range(n)]
    for ctx in ctxs:
        assert ctx.done().recv_ok(timeout=30) == (None, False)
        assert type(ctx.err()) is DeadlineExceeded
    assert eventually(lambda: debug.stats().goroutines == 1)


@in_run
def test_remaining_fits_the_timeout_of_any_wait():
    for ctx, error in ((with_timeout(background(), 0.02), TimeoutError), (background(), None)):
        c = Chan(int, 1)
        if error:
            with pytest.raises(TimeoutError):
                c.recv(timeout=ctx.remaining())
            ctx.done().recv_ok(timeout=30)
            with pytest.raises(TimeoutError):
                select(recv(c), timeout=ctx.remaining())
        else:
            c.send(1)
            assert c.recv(timeout=ctx.remaining()) == 1


def test_a_deadline_is_no_deadlock():
    def main():
        with with_timeout(background(), 0.4) as ctx:
            return select(recv(Chan()), recv(ctx.done())).index

    assert run(main) == 1


def test_waiting_for_what_nobody_can_cancel_is_a_deadlock():
    with pytest.raises(DeadlockError):
        run(lambda: with_cancel(background()).done().recv())
    with pytest.raises(DeadlockError):
        run(lambda: select(recv(background().done())))


def test_cleanup_may_wait_for_a_deadline_while_run_ends():
    log, begun = [], Chan()

    def cleaner():
        try:
            begun.send(None)
            Chan().recv()
        finally:
            with with_timeout(background(), 0.3) as ctx:
                log.append(select(recv(Chan()), recv(ctx.done())).index)
                log.append(type(ctx.err()))

    def main():
        go(cleaner)
        begun.recv()

    run(main)
    assert log == [1, DeadlineExceeded]


def test_a_thread_keeps_its_deadline_when_run_ends():
    prints(
        """
        import threading, time, goroutines
        from goroutines.context import *
        got = []
        def body():
            with with_timeout(background(), 0.3) as ctx:
                ready.set()
                got.append((ctx.done().recv_ok(timeout=20), type(ctx.err()).__name__))
        ready = threading.Event()
        t = threading.Thread(target=body)
        t.start()
        ready.wait()
        for _ in range(5):
            goroutines.run(lambda: goroutines.sleep(0.01))
        t.join()
        print(*got)
        """,
        "((None, False), 'DeadlineExceeded')",
    )


def test_at_exit_and_in_a_forked_child():
    prints(
        """
        import os, goroutines
        from goroutines.context import *
        kept = [with_timeout(background(), 600) for _ in range(100)]
        pid = os.fork()
        if pid == 0:
            kept[0].cancel()
            kept.clear()
            with with_timeout(background(), 0.02) as ctx:
                ctx.done().recv_ok(timeout=20)
            os._exit(0 if isinstance(ctx.err(), DeadlineExceeded) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
        "0",
        options=["-W", "ignore"],
    )
