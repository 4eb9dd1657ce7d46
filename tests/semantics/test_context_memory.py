"""A finished child, and a context that nobody refers to, leave nothing behind."""

import gc
import time
import weakref

import pytest
from goroutines import Chan, go, recv, select
from goroutines.context import (
    after_func,
    background,
    with_cancel,
    with_deadline,
    with_timeout,
    with_value,
)
from helpers import eventually, in_run, scaled

from .support import parked

WITH = {
    "with_cancel": with_cancel,
    "with_timeout": lambda parent: with_timeout(parent, 3600),
    "with_deadline": lambda parent: with_deadline(parent, time.monotonic() + 3600),
}
PARENTS = {"background": background, "cancelable": lambda: with_cancel(background())}


class Payload:
    pass


def gone(ref):
    def look():
        gc.collect()
        return ref() is None

    return eventually(look)


def timers():
    """The armed timers that would end contexts: their functions are known to the collector."""
    from goroutines import _core

    gc.collect()
    return sum(type(o) is _core._FuncTimer for o in gc.get_objects())


@pytest.mark.parametrize("make", WITH.values(), ids=WITH)
@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
@pytest.mark.parametrize("asked", [False, True], ids=["", "done() was called"])
@pytest.mark.parametrize("finished", [False, True], ids=["dropped", "cancelled"])
def test_a_child_leaves_nothing_in_its_parent(make, parent, asked, finished):
    before = timers()
    above = parent()
    payload = Payload()
    child = make(with_value(above, "payload", payload))
    refs = [weakref.ref(child), weakref.ref(payload)]
    if asked:
        child.done()
    if finished:
        child.cancel()
    del child, payload
    assert all(gone(ref) for ref in refs)
    assert timers() == before
    assert not getattr(above, "_below", {}) and not getattr(above, "_kept", {})


@pytest.mark.parametrize("make", WITH.values(), ids=WITH)
def test_without_the_collector(make):
    """A context whose done() was never asked for, or that is finished, is in no cycle."""
    gc.disable()
    try:
        above = with_cancel(background())
        for finish in (False, True):
            child = make(above)
            if finish:
                child.done()
                child.cancel()
            ref = weakref.ref(child)
            del child
            assert ref() is None
    finally:
        gc.enable()


def test_children_that_their_parent_has_cancelled():
    parent = with_cancel(background())
    children = [make(with_cancel(parent)) for make in WITH.values()]
    refs = [weakref.ref(child) for child in children]
    parent.cancel()
    children.clear()
    assert all(gone(ref) for ref in refs)


def test_a_done_channel_keeps_its_context():
    """Otherwise nobody would ever close it."""
    done = with_timeout(background(), 0.05).done()
    gc.collect()
    assert done.recv_ok(timeout=30) == (None, False)
    parent = with_cancel(background())
    done = with_cancel(with_cancel(parent)).done()
    gc.collect()
    parent.cancel()
    assert done.closed


@in_run
def test_waiting_for_a_context_that_nobody_else_has():
    parent, out = with_cancel(background()), Chan(int, 1)
    go(lambda: out.send(select(recv(Chan()), recv(with_cancel(parent).done())).index))
    parked(1, "select")
    gc.collect()
    parent.cancel()
    assert out.recv(timeout=30) == 1


@pytest.mark.parametrize("end", ["cancel", "stop", "drop"])
@in_run
def test_a_function_of_after_func_is_let_go(end):
    class Fn:
        def __call__(self):
            pass

    fn, parent = Fn(), with_cancel(background())
    ctx = with_timeout(with_cancel(parent), 3600)
    ref, context = weakref.ref(fn), weakref.ref(ctx)
    stop = after_func(ctx, fn)
    del fn
    gc.collect()
    assert ref() is not None
    if end == "cancel":
        ctx.cancel()
    elif end == "stop":
        assert stop()
    else:
        parent.cancel()
    del stop
    assert gone(ref)
    ctx.cancel()
    del ctx
    assert gone(context)


def test_an_unreachable_tree_with_functions_is_collected():
    ctx = with_cancel(background())
    after_func(with_cancel(ctx), Payload)
    ref = weakref.ref(ctx)
    del ctx
    assert gone(ref)


def test_the_cause_is_let_go_with_the_context():
    class Cause(Exception):
        pass

    ctx, cause = with_cancel(background()), Cause()
    ref = weakref.ref(cause)
    with_cancel(ctx).done()
    ctx.cancel(cause)
    del ctx, cause
    assert gone(ref)


def test_many_finished_children():
    parent = with_cancel(background())
    for _ in range(scaled(2000)):
        with with_timeout(parent, 3600) as child, with_cancel(child) as grandchild:
            grandchild.done()
    assert not parent._below and not parent._kept
    parent.cancel()


def test_a_context_in_a_cycle_of_its_user():
    class Server:
        pass

    before = timers()
    server = Server()
    server.ctx = with_timeout(background(), 3600)
    server.ctx.done()
    server.self = server
    ref = weakref.ref(server)
    del server
    assert gone(ref) and timers() == before
