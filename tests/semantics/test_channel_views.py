""".sender and .receiver: one direction of a channel."""

import gc
import weakref

import pytest
from goroutines import Chan, ChannelClosed, RecvChan, SendChan, go, recv, run, select, send
from helpers import in_run

from .support import PLACES, at, closed, full


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_classes():
    c = Chan(int, 1)
    assert type(c.sender) is SendChan and type(c.receiver) is RecvChan
    assert not isinstance(c.sender, RecvChan) and not isinstance(c.receiver, SendChan)


def test_each_view_has_the_methods_of_its_direction_only():
    c = Chan()
    assert {"send", "close"} <= public(c.sender)
    assert not {"recv", "recv_ok"} & public(c.sender)
    assert {"recv", "recv_ok"} <= public(c.receiver)
    assert not {"send", "close"} & public(c.receiver)
    assert not hasattr(c.sender, "__iter__") and not hasattr(c.sender, "__next__")
    assert hasattr(c.receiver, "__iter__")


def test_views_can_be_referred_to_weakly():
    c, called = Chan(), []
    for name in "sender", "receiver":
        view = getattr(c, name)
        ref = weakref.ref(view, called.append)
        assert ref() is view
        del view
        gc.collect()
        assert ref() is None
    assert len(called) == 2


def test_views_of_one_channel_are_equal():
    a, b = Chan(), Chan()
    assert a.sender == a.sender and a.receiver == a.receiver
    assert hash(a.sender) == hash(a.sender)
    assert hash(a.receiver) == hash(a.receiver)
    assert a.sender != b.sender and a.receiver != b.receiver
    assert a.sender != a.receiver
    assert len({a.sender, a.sender, b.sender}) == 2
    assert {a.receiver: "found"}[a.receiver] == "found"
    assert a.sender != "something else"


@pytest.mark.parametrize("place", PLACES)
def test_views_do_what_the_channel_does(place):
    def body():
        c = Chan(int, 3)
        s, r = c.sender, c.receiver
        s.send(1)
        s.send(2, timeout=1)
        assert len(c) == 2
        assert r.recv() == 1
        assert r.recv_ok() == (2, True)
        with pytest.raises(TimeoutError):
            r.recv(timeout=0)
        s.send(3)
        s.close()
        assert list(r) == [3]
        with pytest.raises(ChannelClosed):
            s.send(4)
        with pytest.raises(ChannelClosed):
            s.close()
        with pytest.raises(ChannelClosed):
            r.recv()
        return r.recv_ok()

    assert at(place, body) == (None, False)


def test_views_check_types():
    with pytest.raises(TypeError):
        Chan(int, 1).sender.send("text")


def test_views_in_select():
    c = Chan(int, 1)
    assert select(send(c.sender, 5)) == (0, None, True)
    assert select(recv(c.receiver)) == (0, 5, True)


def test_the_wrong_direction_is_a_type_error():
    c = full(1)
    with pytest.raises(TypeError):
        select(recv(c.sender), default=True)
    with pytest.raises(TypeError):
        select(send(c.receiver, 1), default=True)
    assert len(c) == 1


@in_run
def test_views_in_a_program():
    def producer(out):
        for i in range(10):
            out.send(i)
        out.close()

    def consumer(source, out):
        out.send(sum(source))

    c, result = Chan(int), Chan(int)
    go(producer, c.sender)
    go(consumer, c.receiver, result.sender)
    assert result.receiver.recv() == 45


def test_a_view_keeps_its_channel_alive():
    c = Chan(int, 1)
    ref = weakref.ref(c)
    view = c.receiver
    c.send(7)
    del c
    gc.collect()
    assert ref() is not None
    assert view.recv() == 7
    del view
    gc.collect()
    assert ref() is None


def test_a_channel_does_not_leak_through_its_views():
    class Thing:
        pass

    c = Chan(object, 2)
    thing = Thing()
    ref = weakref.ref(thing)
    c.send([c.sender, c.receiver, thing])
    del c, thing
    gc.collect()
    assert ref() is None, "a cycle through a view is collected"


@pytest.mark.parametrize("cls", [SendChan, RecvChan])
def test_views_are_made_by_channels_only(cls):
    with pytest.raises(TypeError):
        cls()


def test_views_tell_about_the_channel():
    c = Chan(int, 3)
    c.send(1)
    for view in (c.sender, c.receiver):
        assert (len(view), view.capacity, view.elem, view.closed) == (1, 3, int, False)
    c.close()
    assert c.receiver.closed


def test_views_are_sent_over_typed_channels():
    requests = Chan(SendChan, 1)
    reply = Chan(str, 1)
    requests.send(reply.sender)
    requests.recv().send("through a view")
    assert reply.recv() == "through a view"
    with pytest.raises(TypeError):
        requests.send(reply.receiver)
    with pytest.raises(TypeError):
        requests.send(reply)


def test_a_drained_receiver():
    r = closed(1).receiver
    assert [r.recv_ok(), r.recv_ok()] == [(1, True), (None, False)]
    assert run(lambda: list(r)) == []
