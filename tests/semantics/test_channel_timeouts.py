"""timeout=: what counts as one, how long it takes, and that nothing is lost when it elapses."""

import gc
import math
import time
import weakref

import pytest
from goroutines import Chan, ChannelClosed, go, recv, select, send, sleep
from helpers import in_run

from .support import PLACES, Nothing, at, attempt, closed, full, offer, parked, spawn, take

OPERATIONS = {
    "recv": lambda c, t: c.recv(timeout=t),
    "recv_ok": lambda c, t: c.recv_ok(timeout=t),
    "send": lambda c, t: c.send(1, timeout=t),
    "recv of a view": lambda c, t: c.receiver.recv(timeout=t),
    "recv_ok of a view": lambda c, t: c.receiver.recv_ok(timeout=t),
    "send of a view": lambda c, t: c.sender.send(1, timeout=t),
    "select recv": lambda c, t: select(recv(c), timeout=t),
    "select send": lambda c, t: select(send(c, 1), timeout=t),
    "select both": lambda c, t: select(send(c, 1), recv(c), timeout=t),
    "select none": lambda c, t: select(timeout=t),
    "select None": lambda c, t: select(recv(None), timeout=t),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("op", OPERATIONS)
def test_it_takes_at_least_its_time(op, place):
    def body():
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            OPERATIONS[op](Chan(), 0.05)
        return time.monotonic() - start

    assert 0.05 <= at(place, body) < 5


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("op", OPERATIONS)
def test_zero_polls(op, place):
    def body():
        start = time.monotonic()
        for timeout in (0, 0.0, -0.0, False):
            with pytest.raises(TimeoutError):
                OPERATIONS[op](Chan(), timeout)
        return time.monotonic() - start

    assert at(place, body) < 5


@pytest.mark.parametrize("state", ["empty", "ready", "closed"])
@pytest.mark.parametrize("timeout", [-1, -0.001, -math.inf, math.nan], ids=repr)
@pytest.mark.parametrize("op", OPERATIONS)
@in_run
def test_a_negative_timeout_or_nan(op, timeout, state):
    c = Chan(object, 2)
    if state == "ready":
        c.send(1)
    elif state == "closed":
        c.close()
    with pytest.raises(ValueError, match="timeout"):
        OPERATIONS[op](c, timeout)
    assert len(c) == (1 if state == "ready" else 0)


@pytest.mark.parametrize(
    "timeout", ["1", [], 1j, object()], ids=["str", "list", "complex", "object"]
)
@pytest.mark.parametrize("op", OPERATIONS)
@in_run
def test_a_timeout_that_is_no_number(op, timeout):
    c = full(1)
    with pytest.raises(TypeError):
        OPERATIONS[op](c, timeout)
    assert len(c) == 1


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 2**70, 10**10])
@pytest.mark.parametrize("place", PLACES)
def test_a_very_long_timeout_waits(place, timeout):
    def body():
        c = Chan(int)

        def sender():
            sleep(0.02)
            c.send(1)

        go(sender)
        return c.recv(timeout=timeout)

    assert at(place, body) == 1


@in_run
def test_what_is_ready_needs_no_time():
    assert full(1).recv(timeout=0) == 1
    assert full(1).recv_ok(timeout=0) == (1, True)
    assert Chan(int, 1).send(1, timeout=0) is None
    assert closed().recv_ok(timeout=0) == (None, False)
    with pytest.raises(ChannelClosed):
        closed().recv(timeout=0)
    assert select(recv(full(1)), timeout=0) == (0, 1, True)


@in_run
def test_polling_meets_one_that_waits():
    c, out = Chan(int), Chan(int, 1)
    go(c.send, 5)
    parked(1, "chan send")
    assert c.recv(timeout=0) == 5
    go(lambda: out.send(c.recv()))
    parked()
    c.send(6, timeout=0)
    assert out.recv() == 6


@in_run
def test_a_timeout_is_a_keyword():
    with pytest.raises(TypeError):
        Chan().recv(0)
    with pytest.raises(TypeError):
        Chan(int, 1).send(1, 0)


@in_run
def test_an_elapsed_timeout_leaves_the_channel_as_it_was():
    c = full(1)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            c.send(2, timeout=0.002)
    assert len(c) == 1
    assert c.recv() == 1
    assert take(c) is Nothing, "none of the values that timed out is in the channel"
    for _ in range(5):
        with pytest.raises(TimeoutError):
            c.recv(timeout=0.002)
    c.send(3)
    assert len(c) == 1, "no receiver that timed out takes it"
    u = Chan()
    with pytest.raises(TimeoutError):
        u.recv(timeout=0.002)
    assert not offer(u, 1)
    with pytest.raises(TimeoutError):
        u.send(1, timeout=0.002)
    assert take(u) is Nothing


@in_run
def test_a_waiter_in_the_middle_of_the_line_times_out():
    c, out = Chan(int), Chan(object, 10)

    def patient(me):
        out.send((me, c.recv()))

    def impatient():
        out.send(type(attempt(lambda: c.recv(timeout=0.05)).error))

    go(patient, "first")
    parked(1)
    go(impatient)
    parked(2)
    go(patient, "last")
    parked(3)
    assert out.recv() is TimeoutError
    c.send(1)
    assert out.recv() == ("first", 1)
    c.send(2)
    assert out.recv() == ("last", 2)


@in_run
def test_a_sender_in_the_middle_of_the_line_times_out():
    c, out = Chan(int), Chan(object, 10)
    go(c.send, 1)
    parked(1, "chan send")
    go(lambda: out.send(type(attempt(lambda: c.send(2, timeout=0.05)).error)))
    parked(2, "chan send")
    go(c.send, 3)
    parked(3, "chan send")
    assert out.recv() is TimeoutError
    assert [c.recv(), c.recv()] == [1, 3]


@in_run
def test_a_value_that_timed_out_is_released():
    class Thing:
        pass

    refs = []
    for op in (
        lambda c, v: c.send(v, timeout=0.002),
        lambda c, v: select(send(c, v), timeout=0.002),
        lambda c, v: c.send(v, timeout=0),
    ):
        thing = Thing()
        refs.append(weakref.ref(thing))
        c = Chan(Thing)
        assert type(attempt(op, c, thing).error) is TimeoutError
        del thing
    gc.collect()
    assert [r() for r in refs] == [None] * 3


@in_run
def test_many_timeouts_at_once():
    out = Chan(float)

    def body(i):
        start = time.monotonic()
        try:
            Chan().recv(timeout=0.01 + i % 50 / 1000)
        except TimeoutError:
            out.send(time.monotonic() - start - (0.01 + i % 50 / 1000))

    for i in range(2000):
        go(body, i)
    late = [out.recv(timeout=30) for _ in range(2000)]
    assert min(late) >= 0
    assert max(late) < 10


@in_run
def test_timeouts_elapse_in_the_order_of_their_time():
    out = Chan(int, 10)

    def body(i, seconds):
        try:
            Chan().recv(timeout=seconds)
        except TimeoutError:
            out.send(i)

    for i, seconds in [(2, 0.3), (0, 0.05), (3, 0.45), (1, 0.15)]:
        go(body, i, seconds)
    assert [out.recv() for _ in range(4)] == [0, 1, 2, 3]


def test_a_foreign_thread_that_times_out_leaves_no_trace():
    c, out = Chan(int), Chan(object, 1)
    thread = spawn(lambda: out.send(type(attempt(lambda: c.recv(timeout=0.02)).error)))
    assert out.recv() is TimeoutError
    thread.join(10)
    assert not offer(c, 1)


@in_run
def test_timeout_error_is_the_builtin_one():
    error = attempt(lambda: Chan().recv(timeout=0)).error
    assert type(error) is TimeoutError
    assert str(error)


@in_run
def test_a_timeout_costs_nothing_when_the_value_comes_first():
    """A thousand long timeouts do not keep anything alive or anybody waiting."""
    c = Chan(int, 1)
    start = time.monotonic()
    for i in range(1000):
        c.send(i, timeout=600)
        assert c.recv(timeout=600) == i
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("side", ["receiver", "sender"])
@in_run
def test_a_timeout_races_with_its_partner(side):
    met = missed = 0
    for i in range(300):
        c, out = Chan(int), Chan(object, 1)

        def body(i=i, c=c, out=out):
            try:
                if side == "receiver":
                    out.send(c.recv(timeout=0.001))
                else:
                    c.send(i, timeout=0.001)
                    out.send("sent")
            except TimeoutError:
                out.send("timeout")

        go(body)
        sleep(0.0002 * (i % 9))
        if side == "receiver":
            went = offer(c, i)
            assert out.recv() == (i if went else "timeout")
        else:
            got = take(c)
            went = got is not Nothing
            assert out.recv() == ("sent" if went else "timeout")
            assert not went or got == i
        met, missed = met + went, missed + (not went)
        assert take(c) is Nothing and not offer(c, 0)
    assert met + missed == 300
