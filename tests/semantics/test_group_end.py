"""How members of a Group are ended: when they wait, compute, have not begun; the end of run."""

import re
import sqlite3
import time

import pytest
from goroutines import (
    Chan,
    DeadlockError,
    GoroutineExit,
    Group,
    after,
    go,
    gosched,
    lock_os_thread,
    num_goroutine,
    recv,
    run,
    select,
    send,
    sleep,
)
from helpers import in_run, on_procs, prints
from interrupts import MAY_WAKE, interrupted

from .support import Nothing, hooked, parked, take


class Boom(Exception):
    pass


def in_sqlite():
    db = sqlite3.connect(":memory:")
    db.create_function("wait", 0, lambda: Chan().recv())
    db.execute("select wait()")


WAITS = {
    "recv": ("chan receive", lambda: Chan().recv()),
    "recv, timeout": ("chan receive", lambda: Chan().recv(timeout=600)),
    "recv_ok": ("chan receive", lambda: Chan().recv_ok()),
    "iteration": ("chan receive", lambda: list(Chan())),
    "send": ("chan send", lambda: Chan().send(1)),
    "select": ("select", lambda: select(recv(Chan()), send(Chan(), 1))),
    "select, timeout": ("select", lambda: select(recv(Chan()), timeout=600)),
    "select, none": ("select (no cases)", lambda: select()),
    "sleep": ("sleep", lambda: sleep(600)),
    "after": ("chan receive", lambda: after(600).recv()),
    "locked": ("chan receive", lambda: (lock_os_thread(), Chan().recv())),
    "sorted": ("chan receive", lambda: sorted([2, 1], key=lambda x: Chan().recv())),
}


@pytest.mark.parametrize("how", WAITS)
@pytest.mark.parametrize("procs", [1, 4])
def test_waiting_ones_at_once(how, procs):
    reason, wait = WAITS[how]
    log = []

    def member():
        try:
            wait()
        except GoroutineExit:
            log.append("ended")
            raise
        finally:
            log.append("finally")

    def main():
        with Group() as g:
            for _ in range(3):
                g.go(member)
            parked(3, reason)
            raise Boom

    with pytest.raises(Boom):
        on_procs(procs, main)
    assert sorted(log) == ["ended"] * 3 + ["finally"] * 3


@in_run
def test_in_a_callback_of_c_code():
    with pytest.raises(BaseExceptionGroup) as caught:
        with Group() as g:
            g.go(in_sqlite)
            parked(1)
            raise Boom
    assert [type(e) for e in caught.value.exceptions] == [Boom, sqlite3.OperationalError]


@in_run
def test_one_that_has_not_begun_never_runs():
    log = []
    with pytest.raises(Boom):
        with Group() as g:
            results = [g.go(log.append, i) for i in range(20)]
            raise Boom
    # On several Ps some may have begun meanwhile.
    ran = [r for r in results if not isinstance(r._exc, GoroutineExit)]
    assert len(ran) == len(log)
    for r in results:
        assert r.done


def test_on_one_p_none_has_begun():
    log = []

    def main():
        with pytest.raises(Boom):
            with Group() as g:
                results = [g.go(log.append, i) for i in range(20)]
                raise Boom
        for r in results:
            with pytest.raises(GoroutineExit):
                r.value()

    on_procs(1, main)
    assert log == []


@in_run
def test_a_failed_group_starts_nothing():
    log = []
    with pytest.raises(Boom):
        with Group() as g:

            @g.go
            def failing():
                raise Boom

            g.context.done().recv_ok()
            late = g.go(log.append, 1)
            assert late.done
    assert log == []
    with pytest.raises(GoroutineExit):
        late.value()


@in_run
def test_computing_ones_at_their_next_blocking_point():
    log, begun = [], Chan()

    def member():
        begun.send(None)
        while g.context.err() is None:
            pass
        log.append("went on")
        try:
            gosched()
        except GoroutineExit:
            log.append("ended")
            raise

    with pytest.raises(Boom):
        with Group() as g:
            g.go(member)
            begun.recv()
            raise Boom
    assert log == ["went on", "ended"]


@in_run
def test_one_that_computes_to_its_end_has_its_value():
    begun = Chan()

    def member():
        begun.send(None)
        while g.context.err() is None:
            pass
        return "value"

    with hooked() as seen, pytest.raises(Boom):
        with Group() as g:
            result = g.go(member)
            begun.recv()
            raise Boom
    assert result.value() == "value" and seen == []
    # What was meant for it does not reach the next goroutine on the same stack.
    with Group() as g:
        assert [g.go(lambda: (gosched(), 1)[1]).value() for _ in range(20)] == [1] * 20


@in_run
def test_one_that_is_blocked_in_c_is_waited_for():
    log, begun = [], Chan()

    def member():
        begun.send(None)
        time.sleep(0.1)
        log.append("slept")
        sleep(0)
        log.append("not here")

    with pytest.raises(Boom):
        with Group() as g:
            g.go(member)
            begun.recv()
            raise Boom
    assert log == ["slept"]


@in_run
def test_what_was_handed_over_is_kept():
    """The exception comes at the next blocking point instead."""
    for _ in range(50):
        log, c = [], Chan()

        def member():
            log.append(c.recv())
            try:
                sleep(0)
            except GoroutineExit:
                log.append("ended")
                raise

        with pytest.raises(Boom):
            with Group() as g:
                g.go(member)
                parked(1)
                c.send("value")
                raise Boom
        assert log == ["value", "ended"]


@in_run
def test_what_was_not_handed_over_is_still_there():
    c = Chan()
    with pytest.raises(Boom):
        with Group() as g:
            g.go(lambda: c.send("lost?"))
            g.go(lambda: select(send(c, "lost?"), recv(Chan())))
            parked(1, "chan send")
            parked(1, "select")
            raise Boom
    assert take(c) is Nothing


@in_run
def test_it_comes_once_and_cleanup_may_wait():
    log = []

    def member(i):
        try:
            Chan().recv()
        finally:
            sleep(0.005 * i)
            log.append(Chan(int, 1).send(i))

    with pytest.raises(Boom):
        with Group() as g:
            for i in range(5):
                g.go(member, i)
            parked(5)
            raise Boom
    assert log == [None] * 5


@in_run
def test_members_clean_up_together():
    log = []

    def one(c):
        try:
            Chan().recv()
        finally:
            c.send("bye")

    def other(c):
        try:
            Chan().recv()
        finally:
            log.append(c.recv())

    with pytest.raises(Boom):
        with Group() as g:
            for c in [Chan(str) for _ in range(5)]:
                g.go(one, c)
                g.go(other, c)
            parked(10)
            raise Boom
    assert log == ["bye"] * 5


@in_run
def test_one_that_swallows_it_has_its_value():
    def member():
        try:
            Chan().recv()
        except GoroutineExit:
            return "stayed"

    with pytest.raises(Boom):
        with Group() as g:
            result = g.go(member)
            parked(1)
            raise Boom
    assert result.value() == "stayed"


# ---- deadlocks ----


def test_members_that_all_sleep():
    log = []

    def member():
        try:
            Chan().recv()
        finally:
            log.append("ended")

    def main():
        with Group() as g:
            g.go(member)
            g.go(member)

    with pytest.raises(DeadlockError) as caught:
        run(main)
    assert log == ["ended"] * 2
    # Who waits at the end of the block is shown there, not in the package.
    assert re.search(
        rf"\[chan receive\]: {re.escape(__file__)}:\d+ in main$", str(caught.value), re.M
    )


def test_members_whose_cleanup_sleeps_are_told_once_more():
    log = []

    def member():
        try:
            Chan().recv()
        finally:
            log.append("first")
            try:
                Chan().recv()
            finally:
                log.append("second")

    def main():
        with Group() as g:
            g.go(member)

    with pytest.raises(DeadlockError):
        run(main)
    assert log == ["first", "second"]


# ---- the end of run, Ctrl-C ----


def test_run_ends_while_a_block_waits():
    log, begun = [], Chan()

    def member():
        try:
            begun.send(None)
            Chan().recv()
        finally:
            sleep(0.01)
            log.append("member")

    def block():
        try:
            with Group() as g:
                g.go(member)
                g.go(member)
        except GoroutineExit:
            log.append("block")
            raise

    def main():
        go(block)
        begun.recv()
        begun.recv()

    with hooked() as seen:
        run(main)
    assert log == ["member", "member", "block"] and seen == []
    assert num_goroutine() == 0


def test_run_ends_while_members_sleep_for_good():
    """All get it again; nobody hears of several exits."""
    log, begun = [], Chan()

    def member():
        try:
            begun.send(None)
            Chan().recv()
        finally:
            try:
                Chan().recv()
            finally:
                log.append("ended")

    def block():
        with Group() as g:
            g.go(member)

    def main():
        go(block)
        begun.recv()

    with hooked() as seen:
        run(main)
    assert log == ["ended"] and seen == []


def test_run_ends_while_a_member_is_blocked_in_c():
    """run() leaves it behind, and so does the block."""
    prints(
        """
        import time
        from goroutines import *
        begun = Chan()

        def member():
            begun.send(None)
            time.sleep(3)
            raise ValueError("after the end")

        def block():
            with Group() as g:
                g.go(member)

        def main():
            go(block)
            begun.recv()

        start = time.monotonic()
        run(main)
        print(time.monotonic() - start < 2.5)
        seen = []
        import goroutines
        goroutines.excepthook = lambda args: seen.append(args.exc_type.__name__)
        time.sleep(3.5)
        print(seen)
        """,
        "True\n['ValueError']",
    )


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
@pytest.mark.parametrize("where", ["in the block", "while it waits"])
def test_ctrl_c(place, where):
    wait = "G.Chan().recv()" if where == "in the block" else "pass"
    done = interrupted(
        MAY_WAKE
        + f"""
def member():
    try:
        G.Chan().recv()
    finally:
        G.sleep(0.05)
        print("cleanup")

def main():
    try:
        with G.Group() as g:
            g.go(member)
            while not g._live or "chan receive" not in G.debug.stacks():
                G.sleep(0.01)
            ready()
            {wait}
    except KeyboardInterrupt:
        print("interrupted")

{place}
"""
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (
        0, ["cleanup", "interrupted"], "",
    )  # fmt: skip


def test_the_group_of_a_forked_child():
    """Its members do not exist there: they are not waited for."""
    prints(
        """
        import os
        from goroutines import *

        def main():
            with Group() as g:
                g.go(sleep, 0.3)
                sleep(0.05)
                pid = os.fork()
                if pid:
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            if not pid:
                os._exit(7)

        run(main)
        """,
        "7",
        options=["-W", "ignore"],
    )
