"""close: what it wakes, what is left to receive, what is an error afterwards."""

import pytest
from goroutines import Chan, ChannelClosed, go, recv, run, select, send
from helpers import in_run

from .support import PLACES, Closed, at, attempt, closed, full, parked, spawn, take


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("capacity", [0, 1, 10])
def test_sending_to_a_closed_channel(place, capacity):
    def body():
        c = Chan(int, capacity)
        c.close()
        for timeout in (None, 0, 5):
            with pytest.raises(ChannelClosed):
                c.send(1, timeout=timeout)
        with pytest.raises(ChannelClosed):
            c.sender.send(1)
        return len(c)

    assert at(place, body) == 0


@pytest.mark.parametrize("place", PLACES)
def test_receiving_from_a_closed_channel(place):
    def body():
        c = closed("a", "b")
        assert c.closed and len(c) == 2
        assert c.recv() == "a"
        assert c.recv_ok() == ("b", True)
        for _ in range(3):
            assert c.recv_ok() == (None, False)
            assert c.recv_ok(timeout=0) == (None, False)
            with pytest.raises(ChannelClosed):
                c.recv()
            with pytest.raises(ChannelClosed):
                c.recv(timeout=0)
        assert list(c) == []
        return True

    assert at(place, body)


@pytest.mark.parametrize("place", PLACES)
def test_closing_twice(place):
    def body():
        c = Chan()
        assert c.close() is None
        for _ in range(2):
            with pytest.raises(ChannelClosed):
                c.close()
        with pytest.raises(ChannelClosed):
            c.sender.close()
        return c.closed

    assert at(place, body)


def test_closing_through_a_view():
    c = Chan()
    c.sender.close()
    assert c.closed
    with pytest.raises(ChannelClosed):
        c.close()


def test_channel_closed_is_an_exception_of_its_own():
    assert issubclass(ChannelClosed, Exception)
    assert not issubclass(ChannelClosed, (RuntimeError, OSError, TimeoutError, StopIteration))
    with pytest.raises(ChannelClosed) as caught:
        closed().recv()
    assert "closed" in str(caught.value)


@in_run
def test_close_wakes_every_receiver():
    c, out = Chan(), Chan(object, 100)

    def raises():
        outcome = attempt(c.recv)
        out.send(type(outcome.error))

    for _ in range(10):
        go(raises)
        go(lambda: out.send(c.recv_ok()))
        go(lambda: out.send(list(c)))
    parked(30)
    c.close()
    got = [out.recv() for _ in range(30)]
    assert got.count(ChannelClosed) == 10
    assert got.count((None, False)) == 10
    assert got.count([]) == 10


@pytest.mark.parametrize("capacity", [0, 2])
@in_run
def test_close_wakes_every_sender(capacity):
    c, out = Chan(object, capacity), Chan(object, 100)
    for i in range(capacity):
        c.send(i)

    def sender():
        out.send(attempt(c.send, "lost").error)

    for _ in range(20):
        go(sender)
    parked(20, "chan send")
    c.close()
    assert {type(out.recv()) for _ in range(20)} == {ChannelClosed}
    assert list(c) == list(range(capacity)), "what was in the buffer is still there, and no more"


@in_run
def test_close_wakes_selects():
    read, written, out = Chan(), Chan(), Chan(object, 100)
    for _ in range(5):
        go(lambda: out.send(select(recv(Chan()), recv(read))))
        go(lambda: out.send(type(attempt(lambda: select(send(written, 1), recv(Chan()))).error)))
    parked(10, "select")
    assert len(out) == 0
    read.close()
    assert [out.recv() for _ in range(5)] == [(1, None, False)] * 5
    assert len(out) == 0
    written.close()
    assert [out.recv() for _ in range(5)] == [ChannelClosed] * 5


@in_run
def test_a_thread_that_waits_is_woken_by_close():
    c, out = Chan(), Chan(object, 1)
    thread = spawn(lambda: out.send(c.recv_ok()))
    c.close()
    assert out.recv(timeout=20) == (None, False)
    thread.join(20)


@in_run
def test_receivers_that_wait_get_values_sent_before_the_close():
    for _ in range(100):
        c, out = Chan(int), Chan(object, 1)
        go(lambda c=c, out=out: out.send(c.recv_ok()))
        parked()
        c.send(1)
        c.close()
        assert out.recv() == (1, True)


@in_run
def test_close_races_with_a_receive():
    for _ in range(200):
        c, out = Chan(int, 1), Chan(object, 1)
        c.send(1)
        go(lambda c=c, out=out: out.send(c.recv_ok()))
        c.close()
        assert sorted([c.recv_ok()[1], out.recv()[1]]) == [False, True]


@in_run
def test_several_that_close_one_wins():
    for _ in range(50):
        c, out = Chan(), Chan(bool)
        for _ in range(4):
            go(lambda c=c, out=out: out.send(attempt(c.close).error is None))
        assert [out.recv() for _ in range(4)].count(True) == 1


@in_run
def test_close_as_a_broadcast():
    quit_, over = Chan(), Chan()

    def worker():
        quit_.recv_ok()
        over.send(None)

    for _ in range(500):
        go(worker)
    parked(500)
    quit_.close()
    for _ in range(500):
        over.recv()


def test_closed_is_true_while_values_are_left():
    c = full(1, 2)
    assert not c.closed
    c.close()
    assert c.closed
    assert c.recv() == 1
    assert c.closed


def test_a_receiver_view_cannot_close():
    r = Chan().receiver
    assert not hasattr(r, "close")
    assert not hasattr(r, "send")


@in_run
def test_take_of_a_closed_channel():
    c = closed(5)
    assert take(c) == 5
    assert take(c) is Closed


def test_a_channel_that_nobody_closes_needs_no_close():
    def main():
        c = Chan(int, 1)
        c.send(1)

    run(main)


@in_run
def test_the_exception_of_a_woken_sender_points_to_its_send():
    c, out = Chan(), Chan(object, 1)

    def the_sender():
        c.send(1)

    go(lambda: out.send(attempt(the_sender).error))
    parked(1, "chan send")
    c.close()
    error = out.recv()
    tb = error.__traceback__
    while tb.tb_next:
        tb = tb.tb_next
    assert tb.tb_frame.f_code.co_name == "the_sender"
