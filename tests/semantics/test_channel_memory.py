"""Channels and the garbage collector: references are neither lost nor kept."""

import gc
import sys
import weakref

import pytest
from goroutines import Chan, ChannelClosed, go, num_goroutine, recv, run, select, send
from helpers import eventually, in_run

from .support import closed, full, parked, take


class Thing:
    pass


def collected(ref):
    return eventually(lambda: [gc.collect(), ref() is None][1])


def test_channels_are_weakly_referenceable():
    c = Chan()
    called = []
    ref = weakref.ref(c, called.append)
    assert ref() is c
    del c
    assert ref() is None and called == [ref]


def test_what_is_in_the_buffer_goes_with_the_channel():
    c = Chan(object, 3)
    refs = []
    for _ in range(3):
        thing = Thing()
        refs.append(weakref.ref(thing))
        c.send(thing)
    del thing
    assert all(r() is not None for r in refs)
    del c
    assert [r() for r in refs] == [None] * 3


def test_a_received_value_is_no_longer_held():
    c = Chan(object, 2)
    for _ in range(5):
        c.send(Thing())
        ref = weakref.ref(c.recv())
        assert ref() is None


def test_the_buffer_is_visible_to_the_collector():
    c = Chan(object, 2)
    thing = Thing()
    c.send(thing)
    assert gc.is_tracked(c)
    assert any(thing is r or thing in gc.get_referents(r) for r in gc.get_referents(c))


@pytest.mark.parametrize("kind", ["itself", "object", "views", "two channels"])
def test_cycles_through_channels_are_collected(kind):
    c = Chan(object, 3)
    ref = weakref.ref(c)
    if kind == "itself":
        c.send(c)
    elif kind == "object":
        thing = Thing()
        thing.chan = c
        c.send(thing)
        del thing
    elif kind == "views":
        c.send([c.sender, c.receiver])
    else:
        other = Chan(object, 1)
        other.send(c)
        c.send(other)
        del other
    del c
    gc.collect()
    assert ref() is None


def test_a_cycle_through_a_select_case_is_collected():
    c = Chan(object, 1)
    ref = weakref.ref(c)
    case = send(c, [c])
    select(case, default=True)
    c.send(case) if len(c) == 0 else None
    del c, case
    gc.collect()
    assert ref() is None


@in_run
def test_reference_counts_are_what_they_were():
    value, c = Thing(), Chan(object, 4)
    before = sys.getrefcount(value)
    for _ in range(100):
        c.send(value)
        c.recv()
        c.send(value)
        c.recv_ok()
        select(send(c, value))
        select(recv(c))
        select(send(full(1), value), default=True)
        with pytest.raises(TimeoutError):
            full(1).send(value, timeout=0)
        with pytest.raises(ChannelClosed):
            closed().send(value)
    go(c.send, value)
    c.recv()
    assert eventually(lambda: num_goroutine() == 1)
    gc.collect()
    assert sys.getrefcount(value) == before


@in_run
def test_the_value_of_a_waiting_sender_is_held_once_and_then_released():
    c, thing = Chan(object), Thing()
    ref = weakref.ref(thing)
    go(c.send, thing)
    parked(1, "chan send")
    del thing
    gc.collect()
    assert ref() is not None
    assert isinstance(take(c), Thing)
    assert collected(ref)


@in_run
def test_the_value_of_a_sender_that_close_woke_is_released():
    c, thing = Chan(object), Thing()
    ref = weakref.ref(thing)

    def sender(box):
        try:
            c.send(box.pop())
        except Exception:
            pass

    go(sender, [thing])
    parked(1, "chan send")
    del thing
    c.close()
    assert collected(ref)


def test_values_are_released_when_run_ends():
    refs = []

    def main():
        c = Chan(object)

        def sender():
            thing = Thing()
            refs.append(weakref.ref(thing))
            c.send(thing)

        for _ in range(10):
            go(sender)
        parked(10, "chan send")

    run(main)
    assert len(refs) == 10
    for ref in refs:
        assert collected(ref)


def test_the_frames_of_a_goroutine_are_released_when_it_ends():
    refs = []

    def main():
        over = Chan()

        def body():
            thing = Thing()
            refs.append(weakref.ref(thing))
            try:
                raise ValueError
            except ValueError as error:
                kept = error
            over.send(None)
            del kept

        for _ in range(20):
            go(body)
        for _ in range(20):
            over.recv()

    run(main)
    assert all(collected(r) for r in refs)


def test_a_finalizer_may_use_the_channel_it_was_in():
    log = Chan(str, 10)

    class Sends:
        def __del__(self):
            log.send("finalized")

    c = Chan(object, 1)
    c.send(Sends())
    del c
    gc.collect()
    assert take(log) == "finalized"


@in_run
def test_a_finalizer_may_park():
    gate, log = Chan(int), []

    class Parks:
        def __del__(self):
            log.append(gate.recv())

    def body():
        thing = Parks()
        del thing
        log.append("after del")

    go(body)
    parked()
    assert log == []
    gate.send(7)
    assert eventually(lambda: log == [7, "after del"])


def test_channel_memory_is_given_back():
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    def churn():
        for _ in range(200):
            c = Chan(object, 1000)
            for i in range(1000):
                c.send(i)

    churn()
    before = resident()
    churn()
    assert resident() - before < 16 << 20


def test_goroutine_memory_is_reused():
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    def churn():
        over = Chan()
        for _ in range(500):
            go(over.send, None)
        for _ in range(500):
            over.recv()

    def main():
        churn()
        before = resident()
        for _ in range(20):
            churn()
        return resident() - before

    assert run(main) < 16 << 20
