"""Pool."""

import gc
import weakref

import goroutines as G
import pytest
from goroutines.sync import AtomicInt, Pool, WaitGroup
from helpers import in_run, procs, scaled

from .support import PLACES, at, spawn


class Item:
    def __init__(self):
        self.users = AtomicInt()


@pytest.mark.parametrize("place", PLACES)
def test_what_was_put_back_is_used_again(place):
    def body():
        p = Pool(Item)
        a, b = p.get(), p.get()
        assert type(a) is Item and a is not b
        assert p.put(a) is None
        p.put(b)
        assert "2 free" in repr(p)
        assert {p.get(), p.get()} == {a, b}
        assert p.get() not in (a, b)

    at(place, body)


def test_anything_may_be_put():
    p = Pool(lambda: "new")
    for x in None, False, 0, []:
        p.put(x)
        assert p.get() is x
    assert p.get() == "new"


@pytest.mark.parametrize("new", [None, 3, "x"])
def test_new_is_a_function(new):
    with pytest.raises(TypeError):
        Pool(new)


def test_what_new_raises_comes_out_of_get():
    p = Pool(lambda: [].pop())
    with pytest.raises(IndexError) as caught:
        p.get()
    assert caught.value.__context__ is None


@in_run
def test_nothing_has_two_users():
    p, w, bad = Pool(Item), WaitGroup(), []

    def user():
        for i in range(scaled(100, 20)):
            item = p.get()
            if item.users.add(1) != 1:
                bad.append(item)
            if i % 7 == 0:
                G.gosched()
            item.users.add(-1)
            p.put(item)

    with procs(4):
        for _ in range(8):
            w.go(user)
        threads = [spawn(user) for _ in range(2)]
        w.wait()
        for t in threads:
            t.join(20)
    assert not bad


def test_it_is_collected_with_what_is_in_it():
    def scene():
        p = Pool(Item)
        item = Item()
        item.pool = p
        p.put(item)
        return weakref.ref(p), weakref.ref(item)

    refs = scene()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
