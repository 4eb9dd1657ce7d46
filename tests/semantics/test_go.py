"""go: what may be started, how it gets its arguments, from where it may be called."""

import asyncio
import functools
import gc
import weakref

import pytest
from goroutines import Chan, GoroutineExit, go, goexit, gosched, num_goroutine, run, sleep
from helpers import eventually, in_run, procs

from .support import PLACES, at, hooked, parked


def test_go_returns_none():
    assert run(lambda: go(int)) is None


@in_run
def test_the_call_gets_its_arguments():
    out = Chan(tuple)

    def body(*args, **kwargs):
        out.send((args, kwargs))

    go(body, 1, "two", three=3, fn=4, self=5)
    assert out.recv() == ((1, "two"), {"three": 3, "fn": 4, "self": 5})


@in_run
def test_arguments_are_evaluated_when_go_is_called():
    out = Chan(int)
    for i in range(10):
        go(out.send, i)
    assert {out.recv() for _ in range(10)} == set(range(10))


class Thing:
    def __init__(self, out, value="constructed"):
        out.send(value)

    def __call__(self, out):
        out.send("called")

    def method(self, out):
        out.send("method")

    @classmethod
    def of_class(cls, out):
        out.send(cls.__name__)

    @staticmethod
    def of_none(out):
        out.send("static")


def thing():
    return Thing.__new__(Thing)


CALLABLES = {
    "function": (lambda out: out.send("function"), "function"),
    "object": (thing(), "called"),
    "bound method": (thing().method, "method"),
    "class method": (Thing.of_class, "Thing"),
    "static method": (Thing.of_none, "static"),
    "class": (Thing, "constructed"),
    "partial": (functools.partial(Thing, value="partial"), "partial"),
    "unbound method of a built-in type": (
        lambda out: go(Chan.send, out, "descriptor"),
        "descriptor",
    ),
    "cached function": (functools.lru_cache(lambda out: out.send("cached")), "cached"),
}


@pytest.mark.parametrize("kind", CALLABLES)
@in_run
def test_whatever_is_callable_may_be_started(kind):
    fn, expected = CALLABLES[kind]
    out = Chan(str)
    go(fn, out)
    assert out.recv() == expected


@pytest.mark.parametrize("thing", [None, 3, "name", [len], object(), NotImplemented], ids=type)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_callable_is_refused_at_once(place, thing):
    def body():
        before = num_goroutine()
        with pytest.raises(TypeError, match="callable"):
            go(thing)
        return num_goroutine() - before

    assert at(place, body) == 0


async def a_coroutine_function():
    pass


class AsyncMethod:
    async def method(self):
        pass


async def an_async_generator():
    yield


@pytest.mark.parametrize(
    "fn",
    [
        a_coroutine_function,
        AsyncMethod().method,
        an_async_generator,
    ],
    ids=["function", "method", "generator"],
)
@in_run
def test_an_async_def_is_refused_with_advice(fn):
    with pytest.raises(TypeError) as caught:
        go(fn)
    assert "async" in str(caught.value)
    assert len(str(caught.value)) > 30, "the message says what to use instead"


@in_run
def test_a_function_that_returns_a_coroutine_is_ordinary():
    """Only a look at the function can tell, and this one is no async def."""
    ran = Chan(bool)

    def body():
        ran.send(True)
        coroutine = a_coroutine_function()
        coroutine.close()

    go(body)
    assert ran.recv() is True


@in_run
def test_a_goroutine_may_run_an_event_loop():
    out = Chan(int)

    async def compute():
        await asyncio.sleep(0)
        return 42

    go(lambda: out.send(asyncio.run(compute())))
    assert out.recv() == 42


@in_run
def test_go_needs_a_function():
    with pytest.raises(TypeError):
        go()


@in_run
def test_the_function_is_positional_only():
    with pytest.raises(TypeError):
        go(fn=int)


@in_run
def test_go_as_a_decorator():
    out = Chan(str)

    @go
    def body():
        out.send("decorated")

    assert out.recv() == "decorated"
    assert body is None


@pytest.mark.parametrize("place", PLACES)
def test_go_from_every_place(place):
    def body():
        out = Chan(int)
        for i in range(20):
            go(out.send, i)
        return sorted(out.recv(timeout=20) for _ in range(20))

    assert at(place, body) == list(range(20))


@in_run
def test_a_wrong_number_of_arguments_fails_in_the_goroutine():
    with hooked() as seen:
        go(lambda: None, 1, 2)
        assert eventually(lambda: seen)
    assert seen[0].exc_type is TypeError


@in_run
def test_the_result_is_dropped():
    class Result:
        pass

    refs = Chan(object, 1)

    def body():
        result = Result()
        refs.send(weakref.ref(result))
        return result

    go(body)
    ref = refs.recv()
    assert eventually(lambda: ref() is None)


@in_run
def test_function_and_arguments_are_released_at_the_end():
    class Argument:
        pass

    argument = Argument()
    ref = weakref.ref(argument)
    done = Chan()

    def body(_, *, again):
        del _, again
        done.send(None)

    go(body, argument, again=argument)
    done.recv()
    del argument
    assert eventually(lambda: [gc.collect(), ref() is None][1])


@in_run
def test_the_starter_goes_on_before_the_started_one_on_one_p():
    with procs(1):
        log = []
        go(log.append, "started")
        log.append("starter")
        while len(log) < 2:
            gosched()
    assert sorted(log) == ["started", "starter"]


@in_run
def test_a_goroutine_outlives_the_one_that_started_it():
    gate, out = Chan(), Chan(str)

    def child():
        gate.recv()
        out.send("child")

    def parent():
        go(child)
        out.send("parent ends")

    go(parent)
    assert out.recv() == "parent ends"
    assert eventually(lambda: num_goroutine() == 2)
    gate.send(None)
    assert out.recv() == "child"


@in_run
def test_a_tree_of_goroutines():
    out = Chan(int)

    def node(depth):
        if depth == 0:
            out.send(1)
            return
        go(node, depth - 1)
        go(node, depth - 1)

    go(node, 8)
    assert sum(out.recv() for _ in range(256)) == 256


# ------------------------------------------------------------------ goexit


@in_run
def test_goexit_runs_every_finally_and_ends_silently():
    log = Chan(str, 10)

    def inner():
        try:
            goexit()
        finally:
            log.send("inner")

    def outer():
        try:
            inner()
            log.send("never")
        except Exception:
            log.send("GoroutineExit is no Exception")
        finally:
            log.send("outer")
            log.close()

    with hooked() as seen:
        go(outer)
        assert list(log) == ["inner", "outer"]
        assert eventually(lambda: num_goroutine() == 1)
    assert seen == []


@in_run
def test_goexit_that_is_caught_lets_the_goroutine_go_on():
    out = Chan(str)

    def body():
        try:
            goexit()
        except GoroutineExit:
            out.send("still here")
        sleep(0)
        out.send("and here")

    go(body)
    assert [out.recv(), out.recv()] == ["still here", "and here"]


def test_goroutine_exit_is_a_base_exception():
    assert issubclass(GoroutineExit, BaseException)
    assert not issubclass(GoroutineExit, Exception)


# ------------------------------------------------------------------ num_goroutine


@in_run
def test_num_goroutine_counts_what_lives():
    before = num_goroutine()
    gate = Chan()
    for _ in range(37):
        go(gate.recv_ok)
    assert num_goroutine() == before + 37
    parked(37)
    assert num_goroutine() == before + 37
    gate.close()
    assert eventually(lambda: num_goroutine() == before)


def test_num_goroutine_outside_a_run():
    assert num_goroutine() == 0
    assert run(num_goroutine) == 1
    assert num_goroutine() == 0
