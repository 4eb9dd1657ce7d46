"""send and recv: who waits, who is served, what comes through and in which order."""

import threading
import time

import pytest
from goroutines import Chan, ChannelClosed, go, gosched, num_goroutine, run, sleep
from helpers import eventually, in_run, on_procs

from .support import PLACES, Nothing, at, full, parked, spawn, take, waiting

CAPACITIES = (0, 1, 2, 3, 10, 100)


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("place", PLACES)
def test_first_in_first_out(place, capacity):
    def body():
        c = Chan(int, capacity)
        go(lambda: [c.send(i) for i in range(250)])
        return [c.recv() for _ in range(250)]

    assert at(place, body) == list(range(250))


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("place", PLACES)
def test_sends_from_every_place(place, capacity):
    def body():
        c, out = Chan(int, capacity), Chan(list, 1)
        go(lambda: out.send([c.recv() for _ in range(100)]))
        for i in range(100):
            c.send(i)
        return out.recv()

    assert at(place, body) == list(range(100))


@pytest.mark.parametrize(
    "value", [None, False, 0, "", (), [], Nothing, NotImplemented, ...], ids=repr
)
@pytest.mark.parametrize("capacity", [0, 1])
@in_run
def test_any_value_may_be_sent(capacity, value):
    c = Chan(object, capacity)
    go(c.send, value)
    assert c.recv() is value
    go(c.send, value)
    got, ok = c.recv_ok()
    assert got is value and ok is True


def test_send_returns_none():
    assert Chan(int, 1).send(1) is None


def test_recv_ok_gives_a_plain_pair():
    c = full(5)
    pair = c.recv_ok()
    assert pair == (5, True) and type(pair) is tuple
    c.close()
    assert c.recv_ok() == (None, False)


@in_run
def test_an_unbuffered_send_waits_for_its_receiver():
    c, log = Chan(str), []

    def sender():
        c.send("value")
        log.append("sent")

    go(sender)
    parked(1, "chan send")
    assert log == []
    assert len(c) == 0, "what a sender offers is not in the buffer"
    assert c.recv() == "value"
    assert eventually(lambda: log == ["sent"])


@in_run
def test_an_unbuffered_receive_waits_for_its_sender():
    c, log = Chan(str), []
    go(lambda: log.append(c.recv()))
    parked()
    assert log == []
    c.send("value")
    assert eventually(lambda: log == ["value"])


@pytest.mark.parametrize("capacity", [1, 2, 5])
@in_run
def test_a_buffered_send_waits_only_when_full(capacity):
    c, log = Chan(int, capacity), []

    def sender():
        for i in range(capacity + 2):
            c.send(i)
            log.append(i)

    go(sender)
    parked(1, "chan send")
    assert log == list(range(capacity))
    assert len(c) == capacity
    assert c.recv() == 0
    assert eventually(lambda: len(log) == capacity + 1)
    assert len(c) == capacity, "the waiting sender's value took the free place"
    assert [c.recv() for _ in range(capacity + 1)] == list(range(1, capacity + 2))


@pytest.mark.parametrize("capacity", [0, 1, 4])
@in_run
def test_waiting_senders_are_served_in_order(capacity):
    c = Chan(int, capacity)
    for i in range(capacity):
        c.send(i)
    for i in range(20):
        go(c.send, capacity + i)
        parked(i + 1, "chan send")
    assert [c.recv() for _ in range(capacity + 20)] == list(range(capacity + 20))


@pytest.mark.parametrize("capacity", [0, 1, 4])
@in_run
def test_waiting_receivers_are_served_in_order(capacity):
    c, served = Chan(int, capacity), Chan(tuple, 20)

    def receiver(me):
        served.send((me, c.recv()))

    for i in range(20):
        go(receiver, i)
        parked(i + 1)
    for i in range(20):
        c.send(i)
    assert sorted(served.recv() for _ in range(20)) == [(i, i) for i in range(20)]


@in_run
def test_a_value_goes_to_the_waiter_and_not_to_a_latecomer():
    """The receiver that waits has the value as soon as send returns."""
    for _ in range(100):
        c, got = Chan(int, 1), []
        go(lambda c=c, got=got: got.append(c.recv()))
        parked()
        c.send(1)
        assert take(c) is Nothing
        assert eventually(lambda got=got: got == [1])


@pytest.mark.parametrize("n_procs", [1, 2, 4, 8])
def test_the_sum_is_the_same_on_any_number_of_procs(n_procs):
    def main():
        work, out = Chan(int, 3), Chan(int)

        def worker():
            total = 0
            for n in work:
                total += n
            out.send(total)

        for _ in range(5):
            go(worker)
        for i in range(1000):
            work.send(i)
        work.close()
        return sum(out.recv() for _ in range(5))

    assert on_procs(n_procs, main) == 499500


@in_run
def test_memory_before_a_send_is_seen_after_its_receive():
    for i in range(300):
        c, state = Chan(), {}

        def sender(i=i, c=c, state=state):
            state["i"] = i
            c.send(None)

        go(sender)
        c.recv()
        assert state == {"i": i}


@in_run
def test_a_receive_from_an_unbuffered_channel_happens_before_its_send_returns():
    for i in range(300):
        c, state = Chan(), {}

        def receiver(i=i, c=c, state=state):
            state["i"] = i
            c.recv()

        go(receiver)
        c.send(None)
        assert state == {"i": i}


@in_run
def test_the_kth_receive_happens_before_the_send_k_plus_capacity_returns():
    limit = 3
    tokens, over = Chan(None.__class__, limit), Chan()
    inside, most = [], []

    def worker(i):
        tokens.send(None)
        inside.append(i)
        most.append(len(inside))
        gosched()
        inside.remove(i)
        tokens.recv()
        over.send(None)

    for i in range(60):
        go(worker, i)
    for _ in range(60):
        over.recv()
    assert 1 <= max(most) <= limit


@in_run
def test_the_sieve():
    def generate(out):
        i = 2
        while True:
            out.send(i)
            i += 1

    def sieve(prime, source, out):
        for i in source:
            if i % prime:
                out.send(i)

    source = Chan(int)
    go(generate, source)
    primes = []
    for _ in range(30):
        prime = source.recv()
        primes.append(prime)
        out = Chan(int)
        go(sieve, prime, source, out)
        source = out
    assert primes[:10] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert primes[-1] == 113


@in_run
def test_a_long_daisy_chain():
    n = 2000
    left = first = Chan(int)
    for _ in range(n):
        right = Chan(int)
        go(lambda left=left, right=right: left.send(1 + right.recv()))
        left = right
    go(left.send, 1)
    assert first.recv() == n + 1


@in_run
def test_a_channel_travels_through_channels():
    requests = Chan(Chan)

    def server():
        for reply in requests:
            reply.send("served")

    go(server)
    for _ in range(10):
        reply = Chan(str)
        requests.send(reply)
        assert reply.recv() == "served"
    requests.close()


@in_run
def test_a_channel_may_be_sent_over_itself():
    c = Chan(Chan, 2)
    c.send(c)
    c.recv().send(c)
    assert c.recv() is c


@in_run
def test_a_goroutine_cannot_meet_itself():
    c = Chan(int)
    with pytest.raises(TimeoutError):
        c.send(1, timeout=0.01)
    with pytest.raises(TimeoutError):
        c.recv(timeout=0.01)


def test_the_main_thread_and_a_foreign_thread():
    c, back = Chan(int), Chan(int)

    def double():
        for v in c:
            back.send(2 * v)
        back.close()

    thread = spawn(double)
    for i in range(200):
        c.send(i)
        assert back.recv() == 2 * i
    c.close()
    with pytest.raises(ChannelClosed):
        back.recv()
    thread.join(10)
    assert not thread.is_alive()


def test_a_thread_that_waits_releases_the_interpreter():
    c = Chan()
    thread = spawn(c.recv_ok)
    end, n = time.monotonic() + 0.1, 0
    while time.monotonic() < end:
        n += 1
    c.close()
    thread.join(10)
    assert not thread.is_alive() and n > 1000


def test_threads_in_line_are_served_in_order():
    c, got = Chan(int), Chan(tuple, 10)
    about = threading.Semaphore(0)

    def body(i):
        about.release()
        got.send((i, c.recv()))

    for i in range(5):
        spawn(body, i)
        about.acquire()
        time.sleep(0.05)  # a native thread's wait cannot be seen from outside
    for i in range(5):
        c.send(i)
    served = sorted(got.recv() for _ in range(5))
    assert sorted(v for _, v in served) == list(range(5))


@in_run
def test_len_is_what_is_in_the_buffer():
    c = Chan(int, 5)
    for i in range(5):
        assert len(c) == i
        c.send(i)
    go(c.send, 5)
    parked(1, "chan send")
    assert len(c) == 5
    c.recv()
    assert len(c) == 5
    for _ in range(5):
        c.recv()
    assert len(c) == 0


@in_run
def test_ping_pong_leaves_nothing_behind():
    ping, pong = Chan(int), Chan(int)
    go(lambda: [pong.send(v + 1) for v in ping])
    for i in range(2000):
        ping.send(i)
        assert pong.recv() == i + 1
    ping.close()
    assert eventually(lambda: num_goroutine() == 1)
    assert waiting("chan receive") == 0


def test_a_channel_outlives_the_run_it_was_made_in():
    c = run(lambda: Chan(int, 5))
    run(lambda: c.send(1))
    c.send(2)
    assert run(lambda: [c.recv(), c.recv()]) == [1, 2]


@in_run
def test_main_may_sleep_while_others_talk():
    c, n = Chan(int), []

    def consumer():
        for v in c:
            n.append(v)

    def producer():
        for i in range(100):
            c.send(i)
        c.close()

    go(consumer)
    go(producer)
    while len(n) < 100:
        sleep(0.001)
    assert n == list(range(100))
