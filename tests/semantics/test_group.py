"""Group: results, failures, the limit, contexts, nesting."""

import gc
import math
import time
import weakref

import pytest
from goroutines import (
    Chan,
    GoroutineExit,
    Group,
    Result,
    debug,
    go,
    goexit,
    gosched,
    num_goroutine,
    recv,
    run,
    select,
    sleep,
)
from goroutines.context import Canceled, DeadlineExceeded, background, with_cancel, with_timeout
from goroutines.context import with_value as with_value
from helpers import eventually, in_run, scaled

from .support import PLACES, Closed, Nothing, at, hooked, parked, spawn, take


class Boom(Exception):
    pass


def fails(error):
    raise error


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


def until_ended(log, name="ended"):
    """Waits for ever; notes how that ended."""
    try:
        Chan().recv()
    except BaseException as error:
        log.append((name, type(error)))
        raise


# ---- results ----


@pytest.mark.parametrize("place", PLACES)
def test_results(place):
    def body():
        with Group() as g:
            results = [g.go(lambda a, b=0: a * 10 + b, i, b=1) for i in range(10)]
        assert all(r.done for r in results)
        return [r.value() for r in results]

    assert at(place, body) == [i * 10 + 1 for i in range(10)]


@in_run
def test_a_result_while_the_block_runs():
    gate = Chan()
    with Group() as g:
        result = g.go(gate.recv)
        assert isinstance(result, Result)
        parked(1)
        assert result.done is False and "running" in repr(result)
        with pytest.raises(TimeoutError, match="not ended"):
            result.value(timeout=0.01)
        with pytest.raises(TimeoutError):
            result.value(0)
        gate.send("came")
        assert result.value(timeout=math.inf) == "came" and result.done
        assert result.value(0) == result.value() == "came" and "'came'" in repr(result)


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan])
def test_a_timeout_that_is_none(timeout):
    with Group() as g:
        result = g.go(int)
        with pytest.raises(ValueError):
            result.value(timeout)
    with pytest.raises(ValueError):
        result.value(timeout=timeout)


@in_run
def test_many_wait_for_one_result():
    gate = Chan()
    with Group() as g:
        first = g.go(gate.recv)
        others = [g.go(first.value) for _ in range(20)]
        parked(21)
        gate.send(7)
    assert [r.value() for r in others] == [7] * 20


def test_usable_as_a_decorator():
    with Group() as g:

        @g.go
        def result():
            return 42

    assert result.value() == 42


def test_a_member_has_no_identity_but_a_place():
    with Group() as g:
        r = g.go(debug.stacks)
    assert "test_group.py:" in r.value() and "created at" in r.value()
    assert "group.py" not in r.value().replace("test_group.py", "")


@in_run
def test_nothing_is_left():
    with Group() as g:
        for _ in range(20):
            g.go(gosched)
    assert eventually(lambda: num_goroutine() == 1)


# ---- failures ----


@pytest.mark.parametrize("place", PLACES)
def test_a_failure(place):
    log, error = [], Boom("boom")

    def body():
        begun = Chan()
        with Group() as g:
            g.go(lambda: (begun.send(None), until_ended(log)))
            begun.recv()
            result = g.go(fails, error)
        return result

    with pytest.raises(Boom) as caught:
        at(place, body)
    assert caught.value is error and log == [("ended", GoroutineExit)]
    assert "fails" in [entry.name for entry in caught.traceback]


@in_run
def test_value_raises_what_the_member_raised():
    error = Boom()
    with pytest.raises(Boom):
        with Group() as g:
            result = g.go(fails, error)

    def depth():
        with pytest.raises(Boom) as caught:
            result.value()
        assert caught.value is error and "fails" in [e.name for e in caught.traceback]
        return len(caught.traceback)

    assert depth() == depth() == depth()
    assert result.done and "Boom" in repr(result)


@in_run
def test_several_failures():
    errors = [Boom(i) for i in range(5)]

    def second(error):
        try:
            Chan().recv()
        finally:
            raise error

    with pytest.raises(ExceptionGroup) as caught:
        with Group() as g:
            for error in errors[1:]:
                g.go(second, error)
            parked(4)
            g.go(fails, errors[0])
    assert caught.value.exceptions[0] is errors[0], "the first one first"
    assert {id(e) for e in caught.value.exceptions} == {id(e) for e in errors}
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@in_run
def test_what_is_no_exception(error):
    with pytest.raises(error):
        with Group() as g:
            g.go(fails, error())
    with pytest.raises(BaseExceptionGroup) as caught:
        with Group() as g:
            g.go(fails, error())
            select(recv(g.context.done()))
            raise Boom
    assert not isinstance(caught.value, ExceptionGroup)
    assert error in [type(e) for e in leaves(caught.value)]


@in_run
def test_one_object_counts_once():
    error = Boom()
    with pytest.raises(Boom) as caught:
        with Group() as g:
            first = g.go(fails, error)
            g.go(lambda: first.value())
            g.go(lambda: first.value())
            first.value()
    assert caught.value is error


@in_run
def test_a_failure_that_was_caught_is_still_reported():
    with pytest.raises(Boom):
        with Group() as g:
            try:
                g.go(fails, Boom()).value()
            except Boom:
                pass


def test_nothing_goes_to_the_hook():
    with hooked() as seen:
        with pytest.raises(ExceptionGroup):
            with Group() as g:
                g.go(fails, Boom())
                sleep(0.01)
                raise Boom
    assert seen == []


@in_run
def test_waiting_in_the_block_for_a_member_that_was_ended():
    """A frequent way to write it; only the failure counts."""
    with pytest.raises(Boom):
        with Group() as g:
            results = [g.go(Chan().recv) for _ in range(5)]
            parked(5)
            results.append(g.go(fails, Boom()))
            for result in results:
                result.value()
    with pytest.raises(GoroutineExit):
        results[0].value()


@in_run
def test_goexit_is_no_failure():
    log = []
    with Group() as g:
        ended = g.go(goexit)
        other = g.go(lambda: (sleep(0.02), log.append("went on")))
    assert ended.done and log == ["went on"] and other.value()
    with pytest.raises(GoroutineExit):
        ended.value()


@in_run
def test_a_group_of_exits_is_no_failure():
    with Group() as g:
        g.go(fails, BaseExceptionGroup("", [GoroutineExit(), GoroutineExit()]))
    with pytest.raises(BaseExceptionGroup):
        with Group() as g:
            g.go(fails, BaseExceptionGroup("", [GoroutineExit(), Boom()]))


# ---- failures of the block ----


@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt, GoroutineExit, SystemExit])
@pytest.mark.parametrize("place", PLACES[1:])
def test_a_failure_of_the_block(error, place):
    log, mine, begun = [], error(), Chan()

    def body():
        with Group() as g:
            g.go(lambda: (begun.send(None), until_ended(log)))
            begun.recv()
            raise mine

    def outer():
        try:
            body()
        except BaseException as caught:
            return caught

    assert at(place, outer) is mine and log == [("ended", GoroutineExit)]


@in_run
def test_block_and_member():
    mine, theirs = Boom("mine"), KeyError("theirs")

    def member():
        try:
            Chan().recv()
        finally:
            raise theirs

    with pytest.raises(ExceptionGroup) as caught:
        with Group() as g:
            g.go(member)
            parked(1)
            raise mine
    assert caught.value.exceptions == (mine, theirs)
    assert not caught.value.__context__ or caught.value.__suppress_context__


@in_run
def test_goexit_in_the_block():
    over = Chan(object, 2)

    def body():
        try:
            with Group() as g:
                g.go(until_ended, [])
                goexit()
        except BaseException as error:
            over.send(type(error))
            raise

    with hooked() as seen:
        go(body)
        assert over.recv(timeout=30) is GoroutineExit
        assert eventually(lambda: num_goroutine() == 1)
    assert seen == []


# ---- the context ----


@in_run
def test_the_context():
    parent = with_value(with_cancel(background()), "key", 1)
    with Group(parent) as g:
        assert g.context.value("key") == 1 and g.context.err() is None
        assert take(g.context.done()) is Nothing
    assert take(g.context.done()) is Closed, "it ends with the block"
    assert type(g.context.err()) is Canceled and parent.err() is None
    assert not parent._nearest()._below


@in_run
def test_a_failure_cancels_it():
    error = Boom()
    with pytest.raises(Boom):
        with Group() as g:
            g.go(fails, error)
            g.context.done().recv_ok(timeout=30)
            assert g.context.cause() is error


@in_run
def test_members_that_compute_look_at_it():
    def computes():
        while True:
            g.context.check()

    begun = Chan()
    with pytest.raises(Boom):
        with Group() as g:
            r = g.go(lambda: (begun.send(None), computes()))
            begun.recv()
            g.go(fails, Boom())
    with pytest.raises(Canceled):
        r.value()


@in_run
def test_a_deadline_from_outside():
    """All that notice it say the same, once."""

    def member():
        select(recv(Chan()), recv(g.context.done()))
        g.context.check()

    with pytest.raises(DeadlineExceeded):
        with with_timeout(background(), 0.03) as ctx, Group(ctx) as g:
            for _ in range(5):
                g.go(member)


@in_run
def test_a_cancelled_parent_is_no_failure():
    parent = with_cancel(background())
    with Group(parent) as g:
        r = g.go(lambda: g.context.done().recv_ok())
        parked(1)
        parent.cancel()
        later = g.go(lambda: "runs")
    assert r.value() == (None, False) and later.value() == "runs"


# ---- the limit ----


@pytest.mark.parametrize("limit", [1, 3, 10])
@in_run
def test_a_limit(limit):
    now, most = [], []

    def member():
        now.append(1)
        most.append(len(now))
        gosched()
        now.pop()

    with Group(limit=limit) as g:
        for _ in range(50):
            g.go(member)
    assert len(most) == 50 and max(most) <= limit


@in_run
def test_go_waits_for_a_place():
    gate, started = Chan(), []
    with Group(limit=2) as g:

        @go
        def starter():
            for i in range(4):
                g.go(gate.recv)
                started.append(i)

        for expected in (2, 3, 4):
            assert eventually(lambda: len(started) == expected)
            parked(2)
            assert len(started) == expected
            gate.send(None)
        gate.send(None)


@in_run
def test_a_failure_ends_the_wait_for_a_place():
    with pytest.raises(Boom):
        with Group(limit=2) as g:
            g.go(lambda: [time.sleep(0.1) for _ in range(3)])  # keeps its place for a while
            g.go(lambda: (sleep(0.02), fails(Boom())))
            late = g.go(lambda: pytest.fail("it ran"))
            assert late.done
    with pytest.raises(GoroutineExit):
        late.value()


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError),
                                              ("1", TypeError)])  # fmt: skip
def test_a_limit_that_is_none(limit, error):
    with pytest.raises(error):
        Group(limit=limit)


# ---- members that start members, and nested groups ----


@in_run
def test_members_start_members():
    seen = []

    def walk(depth):
        seen.append(depth)
        if depth:
            g.go(walk, depth - 1)
            g.go(walk, depth - 1)

    with Group() as g:
        g.go(walk, 8)
    assert len(seen) == 2**9 - 1


@in_run
def test_a_failure_ends_nested_groups():
    log = []

    def inner():
        with Group() as g:
            g.go(until_ended, log, "deep")
            g.go(until_ended, log, "deep")

    with pytest.raises(Boom):
        with Group() as g:
            r = g.go(inner)
            parked(3)
            g.go(fails, Boom())
    assert log == [("deep", GoroutineExit)] * 2
    with pytest.raises(GoroutineExit):
        r.value()


@in_run
def test_a_failure_of_an_inner_group_is_one_of_the_outer():
    log = []

    def inner():
        with Group() as g:
            g.go(until_ended, log, "inner")
            parked(3)  # with main and the outer one
            g.go(fails, Boom())

    with pytest.raises(Boom):
        with Group() as g:
            g.go(until_ended, log, "outer")
            g.go(inner)
    assert log == [("inner", GoroutineExit), ("outer", GoroutineExit)]


@in_run
def test_cleanup_of_a_nested_group_that_fails():
    def member():
        try:
            Chan().recv()
        finally:
            raise KeyError

    def inner():
        with Group() as g:
            g.go(member)

    with pytest.raises(ExceptionGroup) as caught:
        with Group() as g:
            g.go(inner)
            parked(2)
            raise Boom
    assert [type(e) for e in leaves(caught.value)] == [Boom, KeyError]  # no GoroutineExit


# ---- where it may be used ----


def test_go_outside_of_the_block():
    g = Group()
    with pytest.raises(RuntimeError, match="not entered"):
        g.go(int)
    with g as same:
        assert same is g
    with pytest.raises(RuntimeError, match="over"):
        g.go(int)
    with pytest.raises(RuntimeError, match="one with block"):
        with g:
            pass


async def coroutine():
    pass


@pytest.mark.parametrize("fn", [None, 3, coroutine])
def test_go_takes_functions(fn):
    with Group(limit=1) as g:
        with pytest.raises(TypeError, match=r"Group.go\(\) takes"):
            g.go(fn)
        assert g.go(int).value() == 0, "no place was lost"


@pytest.mark.parametrize("ctx", [3, "ctx", background])
def test_a_ctx_is_a_context(ctx):
    with pytest.raises(TypeError, match="Context"):
        Group(ctx)


def test_repr():
    g = Group(limit=3)
    assert "not entered" in repr(g) and "limit 3" in repr(g)
    with g:
        assert "open, 0 running" in repr(g)
    assert "over" in repr(g)


def test_a_thread_and_goroutines_of_run():
    c, got = Chan(int), []

    def body():
        with Group() as g:
            results = [g.go(c.recv) for _ in range(5)]
        got.extend(sorted(r.value() for r in results))

    thread = spawn(body)

    def main():
        for i in range(5):
            c.send(i)
        assert eventually(lambda: not thread.is_alive())

    run(main)
    assert got == list(range(5))


def test_threads_share_a_group():
    with Group() as g:
        results = []
        threads = [spawn(lambda: results.extend(g.go(abs, -i) for i in range(20)))
                   for _ in range(4)]  # fmt: skip
        for t in threads:
            t.join(60)
    assert sorted(r.value() for r in results) == sorted(list(range(20)) * 4)


# ---- memory ----


class Payload:
    pass


def gone(ref):
    def look():
        gc.collect()
        return ref() is None

    return eventually(look)


@in_run
def test_a_finished_member_is_let_go_while_the_block_runs():
    with Group() as g:
        payload = Payload()
        ref = weakref.ref(payload)
        result = weakref.ref(g.go(lambda p: p, payload))
        del payload
        assert gone(ref) and gone(result)
        g.go(goexit)
        assert eventually(lambda: not g._live)
        gc.collect()
        assert not list(g._exits)


@pytest.mark.parametrize("failing", [False, True])
@in_run
def test_a_group_is_let_go(failing):
    def scene():
        payload = Payload()
        try:
            with Group(limit=3) as g:
                results = [g.go(lambda p: p, payload) for _ in range(5)]
                if failing:
                    g.go(fails, Boom())
                    select(recv(g.context.done()))
                    raise KeyError
        except ExceptionGroup:
            assert failing
        return [weakref.ref(x) for x in (payload, g, g.context, *results)]

    assert all(gone(ref) for ref in scene())


@in_run
def test_many_members():
    n = scaled(10_000)
    with Group(limit=100) as g:
        total = sum(g.go(abs, -1).value() for _ in range(100))
        results = [g.go(abs, -1) for _ in range(n)]
    assert total + sum(r.value() for r in results) == 100 + n
