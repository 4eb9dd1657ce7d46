"""Messages of errors: each says what is wrong and what to do about it."""

import math
import warnings

import goroutines as G
import pytest
from goroutines import Chan, context, recv, select, send
from goroutines.sync import Cond, Once, WaitGroup, once_func, once_value

from .support import attempt, closed, full


async def coroutine_function():
    pass


COROUTINE = coroutine_function()
COROUTINE.close()


def generator_function():
    yield


def in_group(fn):
    def call():
        with G.Group() as g:
            g.go(fn)

    return call


def inside(fn):
    """Call fn in a goroutine: main."""
    return lambda: G.run(fn)


def elapsed(op):
    return lambda: op(Chan())


# name: (call, type of the exception, what its message must match)
ERRORS = {
    # go and run
    "go(None)": (lambda: G.go(None), TypeError, "None.*callable"),
    "go('f')": (lambda: G.go("f"), TypeError, "'f'.*callable"),
    "go()": (lambda: G.go(), TypeError, "go"),
    "go(async def)": (
        lambda: G.go(coroutine_function),
        TypeError,
        r"async.*asyncio\.run|asyncio\.run.*async",
    ),
    "go(called())": (lambda: G.go(print()), TypeError, "callable"),
    "run(None)": (lambda: G.run(None), TypeError, "callable"),
    "run(async def)": (lambda: G.run(coroutine_function), TypeError, "async"),
    "go(f(x))": (lambda: G.go(print(end="")), TypeError, r"go\(f, x\) rather than go\(f\(x\)\)"),
    "WaitGroup().go(f(x))": (lambda: WaitGroup().go(None), TypeError, r"rather than go\(f\(x\)\)"),
    "Group.go(f(x))": (in_group(None), TypeError, r"Group\.go\(f, x\) rather than"),
    "go(async def())": (lambda: G.go(COROUTINE), TypeError, r"is async: .*asyncio\.run"),
    "Group(10)": (lambda: G.Group(10), TypeError, "limit=10"),
    "run in run": (inside(lambda: G.run(int)), RuntimeError, "goroutine"),
    # locks and such
    "done() too often": (lambda: WaitGroup().done(), ValueError, r"done\(\).*more often.*add\(\)"),
    "Cond().wait()": (lambda: Cond().wait(), RuntimeError, "wait.*not held.*with cond"),
    "Cond().notify()": (lambda: Cond().notify(), RuntimeError, "notify.*not held.*with cond"),
    "Once().do(f())": (lambda: Once().do(None), TypeError, r"Once\.do\(\).*None.*callable"),
    "once_func(f())": (lambda: once_func(None), TypeError, r"once_func\(\).*None.*callable"),
    "once_value(f())": (lambda: once_value(5), TypeError, r"once_value\(\).*5.*callable"),
    # the runtime's knobs
    "gomaxprocs(0)": (lambda: G.gomaxprocs(0), ValueError, "1"),
    "gomaxprocs(-3)": (lambda: G.gomaxprocs(-3), ValueError, "1"),
    "gomaxprocs('2')": (lambda: G.gomaxprocs("2"), TypeError, "int|str"),
    "stack_size(-1)": (lambda: G.stack_size(-1), ValueError, "size"),
    "set_max_threads(0)": (lambda: G.set_max_threads(0), ValueError, "1|positive"),
    "sleep('1')": (lambda: G.sleep("1"), TypeError, "number|float|str"),
    "sleep(nan)": (lambda: G.sleep(math.nan), ValueError, "(?i)nan"),
    # making channels
    "Chan(10)": (lambda: Chan(10), TypeError, "capacity=10"),
    "Chan(0)": (lambda: Chan(0), TypeError, "capacity=0"),
    "Chan('int')": (lambda: Chan("int"), TypeError, "type|class"),
    "Chan(int, -1)": (
        lambda: Chan(int, -1),
        ValueError,
        "capacity.*-1|-1.*capacity|capacity.*negative",
    ),
    "Chan(int, '3')": (lambda: Chan(int, "3"), TypeError, "int|str"),
    "Chan(int, 1.0)": (lambda: Chan(int, 1.0), TypeError, "int|float"),
    "SendChan()": (lambda: G.SendChan(), TypeError, "SendChan"),
    "RecvChan()": (lambda: G.RecvChan(), TypeError, "RecvChan"),
    # using them
    "a value of another type": (lambda: Chan(int).send("x"), TypeError, "int.*str|str.*int"),
    "a value of none of a union": (
        lambda: Chan(int | str).send(1.5),
        TypeError,
        r"int \| str.*float|float.*int \| str",
    ),
    "a value that is no list": (lambda: Chan(list[int]).send(1), TypeError, "list.*int"),
    "a type in place of a value": (lambda: Chan(int).send(int), TypeError, "int.*type|type.*int"),
    "send to a closed one": (
        lambda: closed().send(1),
        G.ChannelClosed,
        "send.*closed|closed.*send",
    ),
    "recv of a closed one": (lambda: closed().recv(), G.ChannelClosed, "closed"),
    "the end with recv": (lambda: closed().recv(), G.ChannelClosed, r"recv_ok\(\)"),
    "close of a closed one": (lambda: closed().close(), G.ChannelClosed, "clos"),
    "send(timeout=-1)": (lambda: Chan().send(1, timeout=-1), ValueError, "timeout"),
    "recv(timeout=-1)": (lambda: Chan().recv(timeout=-1), ValueError, "timeout"),
    "recv(timeout=nan)": (lambda: Chan().recv(timeout=math.nan), ValueError, "timeout|(?i:nan)"),
    "recv(timeout='1')": (lambda: Chan().recv(timeout="1"), TypeError, "timeout|number|float|str"),
    "recv(1)": (lambda: Chan().recv(1), TypeError, "argument"),
    "send()": (lambda: Chan().send(), TypeError, "argument"),
    "recv elapsed": (elapsed(lambda c: c.recv(timeout=0)), TimeoutError, "."),
    "recv_ok elapsed": (elapsed(lambda c: c.recv_ok(timeout=0)), TimeoutError, "."),
    "send elapsed": (elapsed(lambda c: c.send(1, timeout=0)), TimeoutError, "."),
    "select elapsed": (elapsed(lambda c: select(recv(c), timeout=0)), TimeoutError, "."),
    "copying": (lambda: __import__("copy").copy(Chan()), TypeError, "Chan"),
    "pickling": (lambda: __import__("pickle").dumps(Chan()), TypeError, "Chan"),
    "a copy that fails": (
        lambda: Chan(object, 1, by_value=True).send([x for x in [iter(int, 1), (y for y in ())]]),
        TypeError,
        "generator",
    ),
    "iter of a sender": (lambda: iter(Chan().sender), TypeError, "SendChan.*iter|iter.*SendChan"),
    # select
    "select(chan)": (lambda: select(Chan()), TypeError, r"recv\("),
    "select(5)": (lambda: select(5), TypeError, r"recv\(|send\("),
    "select(case, True)": (lambda: select(recv(full(1)), True), TypeError, r"default|recv\("),
    "select(timeout=-1)": (lambda: select(timeout=-1), ValueError, "timeout"),
    "recv(5)": (lambda: select(recv(5)), TypeError, "channel|Chan"),
    "recv(sender)": (lambda: select(recv(Chan().sender)), TypeError, "SendChan|receiv"),
    "send(receiver)": (lambda: select(send(Chan().receiver, 1)), TypeError, "RecvChan|send"),
    "send(chan)": (lambda: send(Chan()), TypeError, "argument"),
    "recv()": (lambda: recv(), TypeError, "argument"),
    "select of another type": (
        lambda: select(send(Chan(int), "x")),
        TypeError,
        "int.*str|str.*int",
    ),
    "select send to a closed one": (lambda: select(send(closed(), 1)), G.ChannelClosed, "closed"),
    # time
    "Ticker(0)": (lambda: G.Ticker(0), ValueError, "(?i)positive|> 0|greater"),
    "Ticker(-1)": (lambda: G.Ticker(-1), ValueError, "(?i)positive|> 0|greater"),
    "Timer('1')": (lambda: G.Timer("1"), TypeError, "number|float|str"),
    "after(None)": (lambda: G.after(None), TypeError, "number|float|NoneType"),
    "after(nan)": (lambda: G.after(math.nan), ValueError, "(?i)nan"),
    "after_func(1, None)": (lambda: G.after_func(1, None), TypeError, "callable"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_the_message(what):
    call, kind, pattern = ERRORS[what]
    with pytest.raises(kind, match=pattern) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text and text == text.strip() and not text.endswith("."), "as Python's own messages"


@pytest.mark.parametrize("what", ERRORS)
def test_the_same_in_a_goroutine(what):
    call, kind, pattern = ERRORS[what]
    if what == "run in run":
        return
    error = attempt(G.run, lambda: attempt(call)).unwrap().error
    if what.startswith("run("):
        assert isinstance(error, (kind, RuntimeError))
    else:
        assert type(error) is kind, error


@pytest.mark.parametrize(
    "call",
    [
        lambda: G.go(generator_function),
        lambda: WaitGroup().go(generator_function),
        lambda: G.after_func(60, generator_function).stop(),
        lambda: context.after_func(context.background(), generator_function),
    ],
)
def test_a_generator_function_whose_generator_nobody_gets(call):
    with pytest.warns(RuntimeWarning, match="generator function .*generator_function") as caught:
        call()
    assert [w.filename for w in caught] == [__file__]


def test_a_generator_function_whose_generator_somebody_gets():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(G.run(generator_function)) == [None]
        with G.Group() as g:
            result = g.go(generator_function)
        assert list(result.value()) == [None]


def test_the_exceptions_of_the_package():
    assert issubclass(G.ChannelClosed, Exception)
    assert issubclass(G.DeadlockError, RuntimeError)
    assert issubclass(G.GoroutineExit, BaseException)
    for cls in (G.ChannelClosed, G.DeadlockError, G.GoroutineExit):
        assert cls.__module__ == "goroutines"
        assert cls.__doc__
        assert cls("text").args == ("text",)
        instance = __import__("pickle").loads(__import__("pickle").dumps(cls("text")))
        assert type(instance) is cls and instance.args == ("text",)


PUBLIC = [
    "Chan",
    "ChannelClosed",
    "DeadlockError",
    "GoroutineExit",
    "RecvChan",
    "Selected",
    "SendChan",
    "Ticker",
    "Timer",
    "after",
    "after_func",
    "excepthook",
    "go",
    "goexit",
    "gomaxprocs",
    "gosched",
    "lock_os_thread",
    "num_goroutine",
    "recv",
    "run",
    "select",
    "send",
    "set_max_threads",
    "sleep",
    "stack_size",
    "unlock_os_thread",
]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_there_and_documented(name):
    thing = getattr(G, name)
    assert name in G.__all__ or name == "excepthook"
    assert name in dir(G)
    if name not in ("excepthook", "Selected"):
        assert thing.__doc__ and thing.__doc__.strip()


@pytest.mark.parametrize("cls", [Chan, G.SendChan, G.RecvChan, G.Timer, G.Ticker])
def test_every_method_is_documented(cls):
    for name in dir(cls):
        if not name.startswith("_") and callable(getattr(cls, name)):
            assert getattr(cls, name).__doc__, f"{cls.__name__}.{name}"
