"""Time limits that elapse just as the partner comes: nothing lost, nothing doubled."""

import collections

import pytest
from goroutines import Chan, Timer, after_func, go, gosched, recv, select, send, sleep

from .load import amount, crowd, dice, execute, on_all_procs

SHORT = [0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3]


@pytest.mark.parametrize("capacity", [0, 1])
@on_all_procs
def test_sent_is_received(procs, capacity):
    rng = dice()
    n, members = amount(60), 12

    def main():
        c = Chan(tuple, capacity)

        def body(i):
            mine = rng.child(i)
            done = []
            for k in range(n):
                timeout = mine.choice(SHORT)
                try:
                    if i % 2:
                        if mine.random() < 0.5:
                            c.send((i, k), timeout=timeout)
                        else:
                            select(send(c, (i, k)), recv(None), timeout=timeout)
                        done.append((i, k))
                    elif mine.random() < 0.5:
                        done.append(c.recv(timeout=timeout))
                    else:
                        done.append(select(recv(c), timeout=timeout).value)
                except TimeoutError:
                    if mine.random() < 0.1:
                        gosched()
            return done

        results = crowd(members, body)
        sent = collections.Counter(v for i in range(1, members, 2) for v in results[i])
        got = collections.Counter(v for i in range(0, members, 2) for v in results[i])
        c.close()
        got.update(c)
        return sent, got

    sent, got = execute(procs, main)
    assert sent == got
    assert set(sent.values()) <= {1}


@on_all_procs
def test_exactly_one_of_two_limits(procs):
    """Sender and receiver have the same limit; both succeed or both (or one and nobody) fail."""

    def main():
        met = 0
        for i in range(amount(60)):
            c, out = Chan(int), Chan(object, 2)
            limit = 0.0002 * (i % 8)

            def sender(c=c, out=out, limit=limit):
                try:
                    c.send(1, timeout=limit)
                    out.send("sent")
                except TimeoutError:
                    out.send("send elapsed")

            def receiver(c=c, out=out, limit=limit):
                try:
                    c.recv(timeout=limit)
                    out.send("received")
                except TimeoutError:
                    out.send("receive elapsed")

            go(sender)
            go(receiver)
            got = {out.recv(), out.recv()}
            assert got in ({"sent", "received"}, {"send elapsed", "receive elapsed"})
            met += "sent" in got
        return met

    assert execute(procs, main) >= 0


@on_all_procs
def test_timers_are_stopped_and_reset_by_many(procs):
    rng = dice()

    def main():
        def body(i):
            mine = rng.child(i)
            t = Timer(0.0005)
            fired = 0
            for _ in range(amount(40)):
                x = mine.random()
                if x < 0.3:
                    t.stop()
                    assert select(recv(t.chan), default=True).index == -1
                elif x < 0.6:
                    t.reset(mine.choice([0, 1e-5, 5e-4]))
                elif x < 0.8:
                    fired += select(recv(t.chan), default=True).ok
                else:
                    sleep(2e-4)
            t.reset(0)
            t.chan.recv(timeout=50)
            return fired

        return len(crowd(30, body))

    assert execute(procs, main) == 30


@on_all_procs
def test_after_func_is_called_or_stopped(procs):
    """stop() says whether it prevented the call; each call is made exactly when it says so."""

    def main():
        n = amount(300)
        called = Chan(int, n)
        expected = []
        for i in range(n):
            t = after_func(1e-5 * (i % 60), called.send, i)
            if i % 3 == 0:
                gosched()
            if not t.stop():
                expected.append(i)
        got = sorted(called.recv(timeout=50) for _ in expected)
        sleep(0.002)
        return got == expected and len(called) == 0

    assert execute(procs, main)


@on_all_procs
def test_many_sleepers_with_random_times(procs):
    rng = dice()
    times = [rng.choice([0, 1e-6, 1e-4, 1e-3, 5e-3, 2e-2]) for _ in range(amount(1000))]

    def main():
        def body(i):
            for _ in range(3):
                sleep(times[i])
            return i

        return sum(crowd(len(times), body))

    assert execute(procs, main) == sum(range(len(times)))
