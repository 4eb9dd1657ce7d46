"""Messages of errors: each says what is wrong and what to do about it."""

import math

import goroutines as G
import pytest
from goroutines import Chan, recv, select, send

from .support import attempt, closed, full


async def coroutine_function():
    pass


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
    "run in run": (inside(lambda: G.run(int)), RuntimeError, "goroutine"),
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
