"""AtomicInt."""

import sys
import weakref

import pytest
from goroutines.sync import AtomicInt, WaitGroup
from helpers import in_run, procs, scaled

from .support import PLACES, at, spawn


@pytest.mark.parametrize("place", PLACES)
def test_each_operation(place):
    def body():
        a = AtomicInt()
        assert a.load() == 0
        assert a.store(5) is None and a.load() == 5
        assert a.add(3) == 8 and a.add(-10) == -2 and a.add() == -1 and a.add(n=2) == 1
        assert a.swap(7) == 1 and a.load() == 7
        assert a.compare_and_swap(7, 9) is True
        assert a.compare_and_swap(7, 11) is False
        assert a.compare_and_swap(old=9, new=10) is True
        assert a.load() == 10
        assert repr(a) == "AtomicInt(10)"
        assert AtomicInt(3).load() == AtomicInt(value=3).load() == 3

    at(place, body)


def test_it_does_not_overflow():
    a = AtomicInt(2**63 - 1)
    assert a.add(1) == 2**63
    assert a.add(10**40) == 2**63 + 10**40
    assert a.compare_and_swap(2**63 + 10**40, -(10**40))
    assert a.load() == -(10**40)


class Weird(int):
    def __add__(self, other):
        raise ZeroDivisionError

    __radd__ = __eq__ = __index__ = __int__ = __add__
    __hash__ = int.__hash__


class Indexed:
    def __index__(self):
        return 4


def test_its_value_is_always_a_plain_int():
    a = AtomicInt(True)
    assert a.load() == 1 and type(a.load()) is int
    a.store(Weird(2))
    assert type(a.load()) is int and a.add(Weird(3)) == 5
    assert a.compare_and_swap(Weird(5), Weird(6)) and type(a.load()) is int
    assert type(a.swap(Indexed())) is int and a.load() == 4
    assert a.add(Indexed()) == 8


@pytest.mark.parametrize("wrong", [1.0, "1", None])
def test_ints_only(wrong):
    a = AtomicInt(1)
    calls = [AtomicInt, a.store, a.add, a.swap]
    calls += [lambda x: a.compare_and_swap(x, 1), lambda x: a.compare_and_swap(1, x)]
    for call in calls:
        with pytest.raises(TypeError):
            call(wrong)
    with pytest.raises(TypeError):
        a.compare_and_swap(1)
    assert a.load() == 1


@in_run
def test_nothing_is_lost_among_many():
    a, w, n = AtomicInt(), WaitGroup(), scaled(2000, 200)

    def adds():
        for _ in range(n):
            a.add(1)

    def swaps():
        for _ in range(n):
            while not a.compare_and_swap(old := a.load(), old + 1):
                pass

    with procs(4):
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [spawn(adds), spawn(swaps)]
            for f in [adds, swaps] * 3:
                w.go(f)
            w.wait()
            for t in threads:
                t.join(30)
        finally:
            sys.setswitchinterval(before)
    assert a.load() == 8 * n


def test_an_object_like_others():
    a = AtomicInt(1)
    assert a != AtomicInt(1) and {a: 1}[a] == 1
    assert weakref.ref(a)() is a
    big = 10**20
    count = sys.getrefcount(big)
    a.store(big)
    for _ in range(10):
        a.swap(big)
        a.compare_and_swap(big, big)
        a.add(0)
        a.store(big)
    a.store(0)
    assert sys.getrefcount(big) == count
