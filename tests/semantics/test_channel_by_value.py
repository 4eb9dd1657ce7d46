"""by_value=True: the receiver gets a copy made when send is called."""

import collections
import copy
import dataclasses
import gc
import math
import pickle
import sys
import threading
import types
import weakref

import pytest
from goroutines import Chan, ChannelClosed, go, recv, run, select, send
from helpers import in_run

from .support import closed, parked


@dataclasses.dataclass
class Point:
    x: int
    tags: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    items: list


class Slotted:
    __slots__ = ("items",)

    def __init__(self, items):
        self.items = items


class Listlike(list):
    pass


def sent(value):
    c = Chan(object, 1, by_value=True)
    c.send(value)
    return c.recv()


# A value, and a change deep inside it that the receiver must not see.
MUTABLE = {
    "list": (lambda: [1], lambda v: v.append(2)),
    "dict": (lambda: {1: 2}, lambda v: v.clear()),
    "set": (lambda: {1}, lambda v: v.add(2)),
    "bytearray": (lambda: bytearray(b"a"), lambda v: v.append(98)),
    "deque": (lambda: collections.deque([1]), lambda v: v.append(2)),
    "Counter": (lambda: collections.Counter("a"), lambda v: v.update("b")),
    "list in list": (lambda: [[1]], lambda v: v[0].append(2)),
    "list in tuple": (lambda: (1, [2]), lambda v: v[1].append(3)),
    "list in dict": (lambda: {"a": [1]}, lambda v: v["a"].append(2)),
    "dataclass": (lambda: Point(1), lambda v: setattr(v, "x", 2)),
    "list in dataclass": (lambda: Point(1, ["t"]), lambda v: v.tags.append("u")),
    "list in frozen": (lambda: Frozen([1]), lambda v: v.items.append(2)),
    "slots": (lambda: Slotted([1]), lambda v: v.items.append(2)),
    "subclass of list": (lambda: Listlike([1]), lambda v: v.append(2)),
    "namespace": (lambda: types.SimpleNamespace(a=[1]), lambda v: v.a.append(2)),
}


def shape(value):
    """Something comparable with == that shows the value's state in depth."""
    if isinstance(value, Slotted):
        return ("Slotted", list(value.items))
    return copy.deepcopy(value)


@pytest.mark.parametrize("when", ["buffered", "waiting receiver", "waiting sender", "select"])
@pytest.mark.parametrize("kind", MUTABLE)
def test_nothing_mutable_is_shared(kind, when):
    make, change = MUTABLE[kind]

    def main():
        value = make()
        before = shape(value)
        c, out = Chan(object, 1 if when == "buffered" else 0, by_value=True), Chan(object, 1)
        if when == "buffered":
            c.send(value)
            change(value)
            got = c.recv()
        elif when == "waiting receiver":
            go(lambda: out.send(c.recv()))
            parked()
            c.send(value)
            change(value)
            got = out.recv()
        elif when == "waiting sender":
            go(c.send, value)
            parked(1, "chan send")
            change(value)
            got = c.recv()
        else:
            go(lambda: select(send(c, value), recv(Chan())))
            parked(1, "select")
            change(value)
            got = select(recv(c)).value
        assert got is not value and type(got) is type(value)
        assert shape(got) == before
        change(got)

    run(main)


IMMUTABLE = [
    None,
    True,
    7,
    2**80,
    1.5,
    math.inf,
    1j,
    "text",
    b"bytes",
    (1, ("a", b"b")),
    ...,
    NotImplemented,
    int,
    Point,
    len,
    sys,
]


@pytest.mark.parametrize("value", IMMUTABLE, ids=repr)
def test_immutable_values_are_passed_as_they_are(value):
    assert sent(value) is value


def a_function(x, _cache=[]):  # noqa: B006 - mutable on purpose
    return x


AS_THEY_ARE = {
    "channel": lambda: Chan(int, 1),
    "sender": lambda: Chan(int).sender,
    "receiver": lambda: Chan(int).receiver,
    "function": lambda: a_function,
    "closure": lambda: lambda: a_function,
    "built-in function": lambda: print,
    "class": lambda: Point,
    "built-in class": lambda: dict,
    "module": lambda: dataclasses,
    "own module": lambda: types.ModuleType("own"),
}

NESTED = {
    "alone": (lambda x: x, lambda v: v),
    "in a list": (lambda x: [[], x], lambda v: v[1]),
    "in a tuple": (lambda x: ([], x), lambda v: v[1]),
    "in a dict": (lambda x: {"k": x}, lambda v: v["k"]),
    "as a key": (lambda x: {x: []}, lambda v: next(iter(v))),
    "in an object": (lambda x: Point(x), lambda v: v.x),
    "deep": (lambda x: {"a": [(Point(1, [x]), [])]}, lambda v: v["a"][0][0].tags[0]),
}


@pytest.mark.parametrize("where", NESTED)
@pytest.mark.parametrize("kind", AS_THEY_ARE)
def test_what_is_passed_as_it_is_inside_a_value(kind, where):
    wrap, find = NESTED[where]
    thing = AS_THEY_ARE[kind]()
    value = wrap(thing)
    got = sent(value)
    assert find(got) is thing
    assert (got is value) == (where == "alone")


class Refuses:
    def __deepcopy__(self, memo):
        raise TypeError("not me")


class Unrelated:
    def __deepcopy__(self, memo):
        raise LookupError("an error of its own")


UNCOPYABLE = {
    "lock": threading.Lock,
    "generator": lambda: (x for x in ()),
    "refuses": Refuses,
    "thread": threading.Thread,
}


@pytest.mark.parametrize("where", NESTED)
@pytest.mark.parametrize("kind", UNCOPYABLE)
@in_run
def test_what_cannot_be_copied_fails_at_the_send(kind, where):
    value = NESTED[where][0](UNCOPYABLE[kind]())
    for capacity in (0, 2):
        c = Chan(object, capacity, by_value=True)
        for op in (
            lambda c=c: c.send(value),
            lambda c=c: c.send(value, timeout=0),
            lambda c=c: c.sender.send(value),
            lambda c=c: select(send(c, value), default=True),
            lambda c=c: select(send(c, value), recv(Chan())),
        ):
            with pytest.raises(TypeError):
                op()
        assert len(c) == 0
        out = Chan(object, 1)
        go(lambda c=c, out=out: out.send(c.recv()))
        parked()
        with pytest.raises(TypeError):
            c.send(value)
        c.send("fine")
        assert out.recv() == "fine", "the receiver that waited was not disturbed"


def test_a_failing_copy_leaves_the_channel_usable():
    c = Chan(object, 1, by_value=True)
    with pytest.raises((LookupError, TypeError)):
        c.send([Unrelated()])
    assert len(c) == 0
    c.send(1)
    assert c.recv() == 1


class Fails:
    def __init__(self, exc, method):
        self.exc = exc
        setattr(type(self), method, lambda self, arg: self.fail())

    def fail(self):
        raise self.exc


def fails(exc, method="__deepcopy__"):
    return type("Fails", (Fails,), {})(exc, method)


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


COPY_FAILS = {
    "a generator": (
        lambda: (x for x in ()),
        TypeError,
        "cannot send a generator by value: cannot pickle",
    ),
    "copy.Error": (lambda: fails(copy.Error("no")), TypeError, "cannot send a Fails by value: no"),
    "PicklingError": (
        lambda: fails(pickle.PicklingError("no"), "__reduce_ex__"),
        TypeError,
        "cannot send a Fails by value: no",
    ),
    # Failures of their own come as they are, like those of copy.deepcopy().
    "in __deepcopy__": (lambda: fails(LookupError("own")), LookupError, "own"),
    "in __reduce__": (lambda: fails(OSError("own"), "__reduce_ex__"), OSError, "own"),
    "too deep": (deep, RecursionError, "recursion"),
}


@pytest.mark.parametrize("what", COPY_FAILS)
@in_run
def test_the_sender_gets_what_the_copy_failed_with(what):
    make, kind, says = COPY_FAILS[what]
    value = make()
    c = Chan(object, 1, by_value=True)
    for op in (c.send, c.sender.send, lambda v: select(send(c, v), send(None, 1))):
        with pytest.raises(kind, match=says):
            op(value)
        assert len(c) == 0
    c.send(1)
    assert c.recv() == 1


def test_sharing_inside_one_value_is_kept():
    inner = [1]
    got = sent([inner, inner, {"again": inner}])
    assert got[0] is got[1] is got[2]["again"]
    assert got[0] is not inner


def test_cycles_are_copied():
    value = [1]
    value.append(value)
    got = sent(value)
    assert got[1] is got and got is not value


def test_own_deepcopy_is_used():
    class Own:
        def __init__(self, generation=0):
            self.generation = generation

        def __deepcopy__(self, memo):
            return Own(self.generation + 1)

    assert sent(Own()).generation == 1
    assert sent([Own(5)])[0].generation == 6


def test_own_deepcopy_may_park():
    gate = Chan(int)

    class Slow:
        def __init__(self, n=0):
            self.n = n

        def __deepcopy__(self, memo):
            return Slow(gate.recv())

    def main():
        go(gate.send, 42)
        return sent(Slow()).n

    assert run(main) == 42


def test_the_copy_is_made_when_send_is_called_though_the_receiver_comes_later():
    def main():
        c, value = Chan(list, by_value=True), [1]
        go(c.send, value)
        parked(1, "chan send")
        value.append(2)
        return c.recv()

    assert run(main) == [1]


def test_types_are_checked_first():
    c = Chan(int, 1, by_value=True)
    with pytest.raises(TypeError):
        c.send([1])
    assert len(c) == 0


def test_a_closed_by_value_channel():
    c = Chan(list, 1, by_value=True)
    c.close()
    with pytest.raises(ChannelClosed):
        c.send([1])


def test_the_sender_keeps_nothing_of_the_copy():
    class Thing:
        pass

    c = Chan(object, 1, by_value=True)
    thing = Thing()
    ref = weakref.ref(thing)
    c.send(thing)
    del thing
    gc.collect()
    assert ref() is None, "the channel holds the copy, not the original"
    got = weakref.ref(c.recv())
    gc.collect()
    assert got() is None


def test_by_default_the_reference_is_passed():
    for c in (Chan(object, 1), Chan(object, 1, by_value=False)):
        value = [1]
        c.send(value)
        assert c.recv() is value


def test_by_value_through_views_and_iteration():
    c = Chan(list, 2, by_value=True)
    value = [1]
    c.sender.send(value)
    c.send(value)
    c.close()
    got = list(c.receiver)
    assert got == [[1], [1]]
    assert got[0] is not value and got[0] is not got[1]
    assert list(closed(value))[0] is value
