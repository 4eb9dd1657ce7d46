"""Channels as objects: construction, element types, what they are and are not."""

import collections.abc
import copy
import enum
import pickle
import re
import sys
import typing

import pytest
from goroutines import Chan, RecvChan, SendChan, recv, select, send

from .support import Nothing, closed, full, offer, take

# ------------------------------------------------------------------ construction


def test_a_plain_channel():
    c = Chan()
    assert c.elem is object
    assert (c.capacity, len(c), c.closed) == (0, 0, False)


def test_a_typed_channel_with_a_buffer():
    c = Chan(int, 10)
    assert (c.elem, c.capacity, len(c), c.closed) == (int, 10, 0, False)
    c = Chan(str, capacity=3, by_value=True)
    assert (c.elem, c.capacity) == (str, 3)
    c = Chan(elem=bytes)
    assert (c.elem, c.capacity) == (bytes, 0)


def test_by_value_is_a_keyword():
    with pytest.raises(TypeError):
        Chan(int, 1, True)


def test_an_unknown_keyword():
    with pytest.raises(TypeError):
        Chan(size=3)


@pytest.mark.parametrize("n", [-1, -7, -(2**70)])
def test_a_negative_capacity(n):
    with pytest.raises(ValueError, match="capacity"):
        Chan(int, n)
    with pytest.raises(ValueError, match="capacity"):
        Chan(capacity=n)


@pytest.mark.parametrize("n", ["3", 1.0, None, [1], int], ids=repr)
def test_a_capacity_that_is_no_int(n):
    with pytest.raises(TypeError):
        Chan(int, n)
    with pytest.raises(TypeError):
        Chan(capacity=n)


class Index:
    def __index__(self):
        return 2


def test_an_int_like_capacity():
    c = Chan(int, True)
    assert c.capacity == 1
    try:
        c = Chan(int, Index())
    except TypeError:
        return
    assert c.capacity == 2


def test_the_capacity_in_place_of_the_type():
    with pytest.raises(TypeError, match=re.escape("capacity=10")):
        Chan(10)
    with pytest.raises(TypeError, match=re.escape("capacity=0")):
        Chan(0)


@pytest.mark.parametrize("elem", ["int", 1.5, [int], (int, 3), None, {int}], ids=repr)
def test_what_is_no_element_type(elem):
    if elem is None:
        # None stands for its class in unions; alone it may be taken as such or refused.
        try:
            c = Chan(None, 1)
        except TypeError:
            return
        c.send(None)
        return
    with pytest.raises(TypeError):
        Chan(elem)


def test_a_large_capacity_costs_nothing_until_used():
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    before = resident()
    channels = [Chan(int, 2**40) for _ in range(20)]
    for c in channels:
        for i in range(100):
            c.send(i)
    assert resident() - before < 50 << 20
    assert [len(c) for c in channels] == [100] * 20
    assert [c.capacity for c in channels] == [2**40] * 20
    assert [c.recv() for c in channels] == [0] * 20


@pytest.mark.parametrize("n", [2**62, sys.maxsize, sys.maxsize + 1, 10**30])
def test_the_largest_capacities(n):
    c = Chan(int, n)
    assert c.capacity == min(n, sys.maxsize)
    c.send(1)
    assert c.recv() == 1


def test_a_buffer_that_grows_and_shrinks_keeps_the_order():
    c = Chan(int, 10_000)
    sent = got = 0
    for burst in (1, 3, 100, 7, 5000, 2, 4000):
        for _ in range(burst):
            c.send(sent)
            sent += 1
        for _ in range(burst // 2):
            assert c.recv() == got
            got += 1
        assert len(c) == sent - got
    while len(c):
        assert c.recv() == got
        got += 1
    assert got == sent


def test_members_are_read_only():
    c = Chan(int, 3)
    for name, value in [("elem", str), ("capacity", 5), ("closed", True), ("sender", None)]:
        with pytest.raises(AttributeError):
            setattr(c, name, value)
    with pytest.raises(AttributeError):
        c.another = 1


# ------------------------------------------------------------------ as objects


@pytest.mark.parametrize("make", [Chan, closed, lambda: full(1, 2)], ids=["open", "closed", "full"])
def test_a_channel_is_always_true(make):
    c = make()
    assert bool(c) and bool(c.sender) and bool(c.receiver)


def test_channels_are_equal_and_hash_by_identity():
    a, b = Chan(int), Chan(int)
    assert a == a and a != b
    assert len({a, b, a}) == 2
    assert {a: 1}[a] == 1


def test_channels_have_no_order():
    with pytest.raises(TypeError):
        _ = Chan() < Chan()


def test_generic_at_run_time():
    assert typing.get_origin(Chan[int]) is Chan
    assert typing.get_args(Chan[int]) == (int,)
    for generic in (SendChan, RecvChan):
        assert typing.get_args(generic[str]) == (str,)

    class Job:
        results: Chan[int]
        orders: SendChan[str]
        reports: RecvChan[list[int]]

    assert set(typing.get_type_hints(Job)) == {"results", "orders", "reports"}


def test_a_parametrised_class_makes_channels():
    c = Chan[int](int, 2)
    assert isinstance(c, Chan)
    assert c.capacity == 2


@pytest.mark.parametrize("thing", ["chan", "sender", "receiver"])
def test_channels_are_neither_copied_nor_pickled(thing):
    c = Chan(int, 1)
    x = {"chan": c, "sender": c.sender, "receiver": c.receiver}[thing]
    with pytest.raises(TypeError):
        copy.copy(x)
    with pytest.raises(TypeError):
        copy.deepcopy(x)
    with pytest.raises(TypeError):
        copy.deepcopy([x])
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(x, protocol)


def test_repr_tells_what_it_is():
    c = Chan(int, 3)
    assert repr(c).startswith("<") and repr(c).endswith(">")
    assert "Chan" in repr(c) and "int" in repr(c) and "3" in repr(c)
    empty = repr(c)
    c.send(1)
    assert repr(c) != empty, "it tells how much is in it"
    assert "closed" not in repr(c)
    c.close()
    assert "closed" in repr(c)
    assert "SendChan" in repr(c.sender) and "RecvChan" in repr(c.receiver)


def test_repr_of_a_channel_in_itself():
    c = Chan(object, 1)
    c.send(c)
    assert "Chan" in repr(c)
    assert "Chan" in repr([c])
    assert c.recv() is c


class Name(enum.Enum):
    ONE = 1


@pytest.mark.parametrize(
    "elem", [int, int | str, (int, str), list[int], typing.Optional[int], Name]
)
def test_repr_with_every_kind_of_element_type(elem):
    assert "Chan" in repr(Chan(elem))


# ------------------------------------------------------------------ element types


class Base:
    pass


class Derived(Base):
    pass


class Meta(type):
    def __instancecheck__(cls, instance):
        return instance == "magic"


class Magic(metaclass=Meta):
    pass


class Broken(type):
    def __instancecheck__(cls, instance):
        if instance is not None:
            raise LookupError("in __instancecheck__")
        return False


class BrokenCheck(metaclass=Broken):
    pass


@typing.runtime_checkable
class Closable(typing.Protocol):
    def close(self) -> None: ...


T = typing.TypeVar("T")


class OwnGeneric(typing.Generic[T]):
    pass


# type: values that are one, values that are none
TYPES = {
    "object": (object, [None, 1, object(), object, Chan], []),
    "int": (int, [0, -1, 2**90, True], [1.0, "1", None, int]),
    "bool": (bool, [True, False], [0, 1, None]),
    "str": (str, ["", "x"], [b"", 1, None]),
    "NoneType": (type(None), [None], [0, False]),
    "type": (type, [int, Base], [1, Base()]),
    "class": (Base, [Base(), Derived()], [Base, None, object()]),
    "derived class": (Derived, [Derived()], [Base()]),
    "union": (int | str, [1, "a"], [1.5, None]),
    "union with None": (int | None, [1, None], ["x"]),
    "typing.Optional": (typing.Optional[str], ["x", None], [1]),
    "typing.Union": (typing.Union[int, Base], [1, Derived()], ["x", None]),
    "tuple": ((int, str), [1, "a"], [1.5, None, (1, "a")]),
    "tuple of one": ((int,), [1], ["a"]),
    "nested tuple": (((int, str), bytes), [1, "a", b""], [1.5]),
    "list[int]": (list[int], [[], [1], ["unchecked"]], [(1,), None]),
    "dict[str, int]": (dict[str, int], [{}, {1: 2}], [[], "{}"]),
    "tuple[int, ...]": (tuple[int, ...], [(), (1, 2)], [[1]]),
    "typing.List": (typing.List[int], [[1]], [(1,)]),
    "bare typing.Dict": (typing.Dict, [{}], [[]]),
    "list[int] | None": (list[int] | None, [[1], None], [(1,), 0]),
    "Optional of a generic": (typing.Optional[dict[str, int]], [{}, None], [[]]),
    "tuple with a generic": ((list[int], str), [[1], "x"], [1, (1,)]),
    "abc": (collections.abc.Sized, [[], "", {}], [1, None]),
    "generic abc": (collections.abc.Sequence[int], [[1], (1,), "x"], [{1}, 1]),
    "callable": (collections.abc.Callable[[int], str], [len, lambda x: x], [1, "len"]),
    "protocol": (Closable, [Chan()], [1]),
    "own generic": (OwnGeneric[int], [OwnGeneric()], [1]),
    "own __instancecheck__": (Magic, ["magic"], ["plain", 1]),
    "enum": (Name, [Name.ONE], [1, "ONE"]),
    "channel": (Chan, [Chan(), Chan(int)], [None, Chan]),
    "channel of int": (Chan[int], [Chan(int)], [1]),
    "exception": (Exception, [ValueError()], [ValueError, BaseException()]),
    "Any": (typing.Any, [1, None, "x"], []),
}


@pytest.mark.parametrize("name", TYPES)
def test_values_of_the_type_go_through(name):
    elem, good, _ = TYPES[name]
    c = Chan(elem, len(good))
    for v in good:
        c.send(v)
    assert all(c.recv() is v for v in good)
    for v in good:
        assert select(send(c, v)).index == 0
        assert c.recv() is v


@pytest.mark.parametrize("name", [n for n in TYPES if TYPES[n][2]])
def test_other_values_are_refused(name):
    elem, _, bad = TYPES[name]
    c = Chan(elem, 1)
    for v in bad:
        with pytest.raises(TypeError) as caught:
            c.send(v)
        assert type(v).__name__ in str(caught.value), "the message names the type of the value"
        with pytest.raises(TypeError):
            c.sender.send(v, timeout=0)
        with pytest.raises(TypeError):
            select(send(c, v), default=True)
    assert len(c) == 0


def test_the_type_is_checked_first_of_all():
    done = Chan(int, 1)
    done.close()
    busy = Chan(int, 1)
    busy.send(1)
    for c in (Chan(int), done, busy):
        for timeout in (None, 0, 0.01, 600):
            with pytest.raises(TypeError):
                c.send("text", timeout=timeout)
    assert take(busy) == 1 and take(busy) is Nothing


def test_the_type_is_checked_before_the_timeouts_value():
    with pytest.raises(TypeError):
        Chan(int).send("text", timeout=-1)


def test_an_exception_in_instancecheck_comes_out_of_send():
    c = Chan(BrokenCheck, 1)
    with pytest.raises(LookupError, match="in __instancecheck__"):
        c.send(1)
    assert len(c) == 0


def test_an_instancecheck_may_park():
    gate = Chan(int, 1)

    class Parks(type):
        def __instancecheck__(cls, instance):
            return instance is not None and gate.recv() == 1

    class Checked(metaclass=Parks):
        pass

    c = Chan(Checked, 1)
    gate.send(1)
    c.send("accepted")
    gate.send(0)
    with pytest.raises(TypeError):
        c.send("refused")
    assert c.recv() == "accepted"


def test_receiving_checks_nothing():
    c = Chan(int, 1)
    assert offer(c, 5)
    assert select(recv(c)).value == 5
