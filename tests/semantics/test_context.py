"""goroutines.context: the tree of contexts, causes, values, after_func."""

import re
import sys
import threading
import time
from functools import partial

import pytest
from goroutines import Chan, Group, RecvChan, go, num_goroutine, recv, run, select
from goroutines.context import (
    CancelContext,
    Canceled,
    Context,
    DeadlineExceeded,
    after_func,
    background,
    with_cancel,
    with_deadline,
    with_timeout,
    with_value,
    without_cancel,
)
from helpers import eventually, in_run, prints, scaled, slack

from .support import PLACES, Closed, Nothing, at, hooked, parked, spawn, take

WITH = {
    "with_cancel": with_cancel,
    "with_timeout": lambda parent: with_timeout(parent, 600),
    "with_deadline": lambda parent: with_deadline(parent, time.monotonic() + 600),
}
DERIVED = WITH | {
    "with_value": lambda parent: with_value(parent, "key", 1),
    "values": lambda parent: with_value(with_value(parent, "a", 1), "b", 2),
}


def is_done(ctx):
    return take(ctx.done()) is Closed


# ---- what there is ----


def test_background():
    ctx = background()
    assert isinstance(ctx, Context) and not isinstance(ctx, CancelContext)
    assert ctx is background()
    assert ctx.done() is None and ctx.err() is None and ctx.cause() is None
    assert ctx.deadline() is None and ctx.remaining() is None
    assert ctx.check() is None and ctx.value("key") is None
    assert take(ctx.done()) is Nothing


@pytest.mark.parametrize("make", WITH.values(), ids=WITH)
def test_what_can_be_cancelled(make):
    ctx = make(background())
    assert isinstance(ctx, CancelContext) and isinstance(ctx.done(), RecvChan)
    assert not is_done(ctx) and ctx.err() is None and ctx.cause() is None and ctx.check() is None
    assert ctx.cancel() is None
    assert is_done(ctx) and type(ctx.err()) is Canceled and ctx.cause() is ctx.err()
    with pytest.raises(Canceled, match="context canceled") as caught:
        ctx.check()
    assert caught.value is ctx.err()


def test_the_errors():
    assert not issubclass(Canceled, TimeoutError) and issubclass(DeadlineExceeded, TimeoutError)


@pytest.mark.parametrize("made_early", [True, False])
def test_done_is_one_channel(made_early):
    ctx = with_cancel(background())
    early = ctx.done() if made_early else None
    ctx.cancel()
    assert ctx.done() == ctx.done() and is_done(ctx)
    assert not made_early or early == ctx.done()


def test_nobody_else_can_close_done():
    ctx = with_cancel(background())
    with pytest.raises(AttributeError):
        ctx.done().close()


@pytest.mark.parametrize("error", [None, ValueError("boom")])
def test_a_block_ends_with_cancel(error):
    try:
        with with_cancel(background()) as ctx:
            assert isinstance(ctx, CancelContext) and not is_done(ctx)
            if error:
                raise error
    except ValueError as caught:
        assert caught is error
    assert is_done(ctx) and type(ctx.cause()) is Canceled


@pytest.mark.parametrize("place", PLACES)
def test_everywhere(place):
    def body():
        ctx = with_cancel(background())
        spawn(lambda: (time.sleep(0.02), ctx.cancel(KeyError("why"))))
        assert select(recv(ctx.done()), recv(Chan()), timeout=30) == (0, None, False)
        short = with_timeout(background(), 0.01)
        assert short.done().recv_ok(timeout=30) == (None, False)
        return repr(ctx.cause()), type(short.err())

    assert at(place, body) == ("KeyError('why')", DeadlineExceeded)


WAITS = {
    "receive": lambda ctx: select(recv(Chan()), recv(ctx.done())).index == 1,
    "done alone": lambda ctx: ctx.done().recv_ok() == (None, False),
    "iteration": lambda ctx: list(ctx.done()) == [],
    "of a child": lambda ctx: with_value(with_cancel(ctx), 1, 2).done().recv_ok()[1] is False,
}


@pytest.mark.parametrize("how", WAITS)
@in_run
def test_cancel_wakes_those_who_wait(how):
    ctx, over = with_cancel(background()), Chan(bool, 10)
    for _ in range(10):
        go(lambda: over.send(WAITS[how](ctx)))
    parked(10, "select" if how == "receive" else "chan receive")
    ctx.cancel()
    assert [over.recv(timeout=30) for _ in range(10)] == [True] * 10


# ---- cause ----


def test_the_first_cancel_counts():
    ctx, first = with_cancel(background()), ValueError("first")
    ctx.cancel(first)
    err = ctx.err()
    ctx.cancel(KeyError("second"))
    ctx.cancel()
    assert ctx.cause() is first and ctx.err() is err and type(err) is Canceled
    assert err.__cause__ is first, "a traceback of check() shows it"


@pytest.mark.parametrize("cause", ["text", ValueError, 3])
def test_a_cause_is_an_exception(cause):
    ctx = with_cancel(background())
    with pytest.raises(TypeError, match="a cause is an exception, not"):
        ctx.cancel(cause)
    assert not is_done(ctx)


def test_a_cause_need_not_be_true():
    class Falsy(Exception):
        def __bool__(self):
            return False

    ctx, cause = with_cancel(background()), Falsy()
    ctx.cancel(cause)
    assert ctx.cause() is cause


def test_check_does_not_pile_up_tracebacks():
    ctx = with_cancel(background())
    ctx.cancel()

    def depth():
        with pytest.raises(Canceled) as caught:
            ctx.check()
        return len(caught.traceback)

    assert depth() == depth() == depth()


# ---- the tree ----


@pytest.mark.parametrize("make", DERIVED.values(), ids=DERIVED)
def test_a_child_is_cancelled_with_its_parent(make):
    parent, why = with_cancel(background()), ValueError()
    early = make(parent)
    assert not is_done(early)
    parent.cancel(why)
    for child in (early, make(parent), make(early)):
        assert is_done(child) and child.err() is parent.err() and child.cause() is why


def test_a_parent_is_not_cancelled_with_its_child():
    parent = with_cancel(background())
    child, sibling = with_cancel(parent), with_cancel(parent)
    child.cancel()
    assert is_done(child) and not is_done(parent) and not is_done(sibling)
    assert parent.err() is None and sibling.err() is None


def test_a_childs_own_cause_stays():
    parent = with_cancel(background())
    child = with_cancel(parent)
    grandchild = with_cancel(child)
    child.cancel(KeyError())
    parent.cancel(ValueError())
    assert [type(c.cause()) for c in (parent, child, grandchild)] == [
        ValueError, KeyError, KeyError,
    ]  # fmt: skip


@in_run
def test_who_is_woken_finds_the_whole_tree_done():
    for _ in range(scaled(50)):
        root = with_cancel(background())
        leaves = [with_cancel(with_cancel(root)) for _ in range(20)]
        seen = Chan(object, 1)

        def waiter(root=root, leaves=leaves, seen=seen):
            root.done().recv_ok()
            seen.send([leaf.err() for leaf in leaves])

        go(waiter)
        parked(1)
        root.cancel()
        assert all(type(err) is Canceled for err in seen.recv(timeout=30))


def shapes(n):
    root = with_cancel(background())
    yield root, [with_cancel(root) for _ in range(n)]
    chain = [with_cancel(background())]
    for _ in range(n):
        chain.append(with_cancel(chain[-1]))
    yield chain[0], chain[1:]
    tree = [with_cancel(background())]
    for i in range(1, n):
        tree.append(with_cancel(tree[(i - 1) // 3]))
    yield tree[0], tree[1:]


@pytest.mark.hang(180)
def test_a_hundred_thousand_contexts():
    n, times = 100_000, []
    for root, others in shapes(n):
        assert not is_done(others[-1])
        start = time.process_time()  # other processes do not count
        root.cancel()
        times.append(time.process_time() - start)
        assert all(type(c.err()) is Canceled for c in others) and is_done(others[-1])
    assert max(times) < slack(1.5), times


@pytest.mark.hang(180)
def test_a_deep_tree_is_collected():
    """In a loop: recursion over 100,000 levels would overflow the C stack."""
    ctx = background()
    for i in range(100_000):
        ctx = with_value(with_cancel(ctx), i, i)
    assert ctx.value(0) == 0 and ctx.value(-1) is None
    assert not is_done(ctx)
    del ctx


def test_no_goroutine_is_needed():
    before = num_goroutine()
    made = [with_cancel(background())]
    for _ in range(100):
        made.append(with_timeout(with_value(made[-1], 1, 2), 600))
        made[-1].done()
    assert num_goroutine() == before
    made[0].cancel()
    assert all(is_done(ctx) for ctx in made)


# ---- values ----


def test_values():
    one = with_value(background(), "key", 1)
    two = with_value(with_cancel(one), "key", 2)
    other = with_value(two, "other", None)
    assert (one.value("key"), two.value("key"), other.value("key")) == (1, 2, 2)
    assert one.value("other") is None and one.value("other", 7) == 7
    assert other.value("other", 7) is None


def test_keys_compare_by_equality():
    class Key:
        def __eq__(self, other):
            return isinstance(other, Key)

        __hash__ = None

    nan = float("nan")
    ctx = with_value(with_value(background(), Key(), "same"), nan, "itself")
    assert ctx.value(Key()) == "same" and ctx.value(nan) == "itself" and ctx.value([]) is None


def test_values_of_a_done_context_stay():
    parent = with_value(with_cancel(background()), "key", 1)
    with with_cancel(parent) as ctx:
        pass
    assert ctx.value("key") == 1


# ---- without_cancel ----


@pytest.mark.parametrize("cancelled_before", [True, False])
def test_without_cancel(cancelled_before):
    parent = with_timeout(with_value(background(), "key", 1), 600)
    if cancelled_before:
        parent.cancel()
    ctx = without_cancel(parent)
    parent.cancel()
    assert isinstance(ctx, Context) and not isinstance(ctx, CancelContext)
    assert ctx.value("key") == 1
    assert (ctx.done(), ctx.err(), ctx.cause(), ctx.deadline(), ctx.remaining()) == (None,) * 5
    child = with_cancel(with_value(ctx, "other", 2))
    assert not is_done(child) and child.value("key") == 1
    child.cancel()
    assert is_done(child)


# ---- after_func ----


@pytest.mark.parametrize("make", DERIVED.values(), ids=DERIVED)
@in_run
def test_after_func(make):
    parent, ran = with_cancel(background()), Chan(str, 4)
    ctx = make(parent)
    stop = after_func(ctx, lambda: ran.send("ran"))
    assert take(ran) is Nothing
    parent.cancel()
    assert ran.recv(timeout=30) == "ran"
    assert stop() is False
    assert take(ran) is Nothing


@in_run
def test_after_func_of_what_is_done():
    ctx, ran = with_cancel(background()), Chan(str, 1)
    ctx.cancel()
    stop = after_func(ctx, lambda: ran.send("ran"))
    assert ran.recv(timeout=30) == "ran" and stop() is False


@in_run
def test_stopped_in_time():
    ctx, ran = with_cancel(background()), Chan(str, 2)
    stops = [after_func(ctx, lambda i=i: ran.send(i)) for i in ("first", "second")]
    assert [stops[0](), stops[0]()] == [True, False]
    ctx.cancel()
    assert ran.recv(timeout=30) == "second"
    assert take(ran) is Nothing and stops[1]() is False


@pytest.mark.parametrize("make", [background, lambda: without_cancel(with_cancel(background()))])
def test_after_func_of_what_is_never_done(make):
    stop = after_func(make(), lambda: pytest.fail("it ran"))
    assert [stop(), stop()] == [True, False]


@in_run
def test_after_func_runs_in_a_goroutine_of_its_own():
    ctx, ran = with_cancel(background()), Chan()
    for _ in range(3):
        after_func(ctx, ran.recv)  # would wait in cancel()
    ctx.cancel()
    for _ in range(3):
        ran.send(None, timeout=30)


def test_what_escapes_it_goes_to_the_hook():
    with hooked() as seen:
        ctx = with_cancel(background())
        after_func(ctx, lambda: 1 / 0)
        ctx.cancel()
        assert eventually(lambda: seen)
    assert seen[0].exc_type is ZeroDivisionError


@pytest.mark.parametrize("done", [False, True], ids=["later", "at once"])
def test_the_place_where_it_was_created_is_the_call_of_after_func(done):
    def elsewhere():
        ctx.cancel()

    with hooked() as seen:
        ctx = with_cancel(background())
        if done:
            elsewhere()
        after_func(ctx, lambda: 1 / 0)
        here = sys._getframe().f_lineno - 1
        elsewhere()
        assert eventually(lambda: seen)
    code = sys._getframe().f_code
    assert seen[0].created_at == f"{code.co_filename}:{here} in {code.co_qualname}"


@in_run
def test_after_func_that_nobody_called():
    """No frame of Python is above it."""
    ctx, ran = with_cancel(background()), Chan()
    go(after_func, ctx, partial(ran.send, 1))
    ctx.cancel()
    assert ran.recv(timeout=30) == 1


async def coroutine():
    pass


@pytest.mark.parametrize("fn", [None, 3, coroutine])
def test_after_func_takes_functions(fn):
    with pytest.raises(TypeError, match=r"after_func\(\)"):
        after_func(with_cancel(background()), fn)


@in_run
def test_a_context_with_a_function_stays_though_nobody_keeps_it():
    """It hangs on a parent and on a timer."""
    ran = Chan(str, 2)
    parent = with_cancel(background())
    after_func(with_cancel(with_cancel(parent)), lambda: ran.send("parent"))
    after_func(with_cancel(with_timeout(background(), 0.05)), lambda: ran.send("deadline"))
    assert ran.recv(timeout=30) == "deadline"
    parent.cancel()
    assert ran.recv(timeout=30) == "parent"


# ---- what is refused, and the rest ----


@pytest.mark.parametrize("make", [*DERIVED.values(), without_cancel], ids=[*DERIVED, "without"])
@pytest.mark.parametrize("parent", [None, 3, Context])
def test_a_parent_is_a_context(make, parent):
    with pytest.raises(TypeError, match="the parent must be a Context"):
        make(parent)


def test_repr():
    ctx = with_cancel(background())
    assert "never" in repr(background()) and "not done" in repr(ctx)
    assert re.search(r"done in (600\.0|59\d\.\d)", repr(with_timeout(ctx, 600)))
    ctx.cancel()
    assert "context canceled" in repr(with_value(ctx, 1, 2))


def test_from_many_threads_at_once():
    for _ in range(scaled(20)):
        root = with_cancel(background())
        gate = threading.Barrier(8)
        causes = [ValueError(i) for i in range(8)]

        def body(i, root=root, gate=gate, causes=causes):
            mine = with_cancel(root)
            gate.wait()
            root.cancel(causes[i])
            assert is_done(mine) and is_done(root)
            kept.append((root.cause(), mine.cause()))

        kept = []
        threads = [spawn(body, i) for i in range(8)]
        for t in threads:
            t.join(60)
        assert len(kept) == 8 and len({id(c) for pair in kept for c in pair}) == 1


def test_cancel_finishes_before_an_exception_from_outside_is_raised():
    """Ctrl-C in the middle of a large cancel(): nobody below is forgotten."""
    prints(
        """
        import signal, threading, time, os
        from goroutines.context import *
        bad = 0
        for pause in range(30):
            root = with_cancel(background())
            below = [with_cancel(root) for _ in range(3000)]
            channels = [c.done() for c in below]
            t = threading.Timer(pause / 10000, lambda: os.kill(os.getpid(), signal.SIGINT))
            try:
                t.start()
                root.cancel()
                t.join()
                time.sleep(0.1)
            except KeyboardInterrupt:
                pass
            t.join()
            if root.err():
                bad += sum(not c.closed for c in channels)
        print("bad", bad)
        """,
        "bad 0",
        timeout=60,
    )


@in_run
def test_a_goroutine_that_is_being_ended_can_cancel():
    """`cancel` starts functions: an exception that is pending for the caller does not stop it."""
    ran = Chan(int, 100)
    ctx = with_cancel(background())
    for i in range(5):
        after_func(with_cancel(ctx), lambda i=i: ran.send(i))
    begun = Chan()

    def computes():
        begun.send(None)
        while not g.context.err():
            pass
        ctx.cancel()  # GoroutineExit is pending here

    with pytest.raises(KeyError):
        with Group() as g:
            g.go(computes)
            begun.recv()
            raise KeyError
    assert sorted(ran.recv(timeout=30) for _ in range(5)) == list(range(5))


def test_outside_of_run_and_over_its_end():
    """A run() that ends takes no deadline with it."""
    ctx = with_timeout(background(), 0.05)
    run(lambda: None)
    assert ctx.done().recv_ok(timeout=30) == (None, False)
    assert type(ctx.err()) is DeadlineExceeded
