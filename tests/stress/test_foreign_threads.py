"""Threads and goroutines, mixed on the same channels."""

import collections
import threading
import time

from goroutines import Chan, ChannelClosed, go, gosched, recv, run, select, send, sleep

from .load import amount, dice, execute, on_all_procs


def thread(fn, *args):
    t = threading.Thread(target=fn, args=args, daemon=True)
    t.start()
    return t


@on_all_procs
def test_mixed_producers_and_consumers(procs):
    rng = dice()
    n, capacity = amount(150), rng.choice([0, 1, 5])

    def main():
        c, out, left = Chan(tuple, capacity), Chan(list), Chan()
        threads = []

        def producer(i):
            for k in range(n):
                if k % 3:
                    c.send((i, k))
                else:
                    select(send(c, (i, k)), recv(None))
            left.send(None)

        def consumer(i):
            got = []
            while True:
                _, value, ok = select(recv(c)) if i % 2 else (0, *c.recv_ok())
                if not ok:
                    break
                got.append(value)
            out.send(got)

        for i in range(6):
            if i % 2:
                threads.append(thread(producer, i))
                threads.append(thread(consumer, i))
            else:
                go(producer, i)
                go(consumer, i)
        for _ in range(6):
            left.recv()
        c.close()
        got = [v for _ in range(6) for v in out.recv()]
        for t in threads:
            t.join(50)
        assert not any(t.is_alive() for t in threads)
        return got

    counted = collections.Counter(execute(procs, main))
    assert len(counted) == 6 * n and set(counted.values()) == {1}


@on_all_procs
def test_threads_start_goroutines(procs):
    n = amount(60)

    def main():
        out = Chan(int)

        def starts(k):
            for i in range(n):
                go(out.send, k * n + i)
                if i % 16 == 0:
                    time.sleep(0)

        threads = [thread(starts, k) for k in range(4)]
        got = sorted(out.recv() for _ in range(4 * n))
        for t in threads:
            t.join(50)
        return got

    assert execute(procs, main) == list(range(4 * n))


@on_all_procs
def test_threads_that_time_out_beside_goroutines(procs):
    n = amount(40)

    def main():
        c, out, left = Chan(int), Chan(object), Chan()

        def impatient(i):
            got, sent = [], []
            for k in range(n):
                try:
                    if (i + k) % 2:
                        got.append(c.recv(timeout=0.0003))
                    else:
                        c.send(i * n + k, timeout=0.0003)
                        sent.append(i * n + k)
                except TimeoutError:
                    pass
            out.send((sent, got))
            left.send(None)

        threads = [thread(impatient, i) for i in range(4)]
        for i in range(4, 8):
            go(impatient, i)
        results = [out.recv(timeout=100) for _ in range(8)]
        for _ in range(8):
            left.recv(timeout=50)
        for t in threads:
            t.join(50)
        return results

    results = execute(procs, main)
    sent = collections.Counter(v for s, _ in results for v in s)
    got = collections.Counter(v for _, g in results for v in g)
    assert sent == got and set(sent.values()) <= {1}


def test_many_threads_come_and_go():
    n = amount(150)

    def main():
        c = Chan(int)
        total = 0
        for i in range(n):
            thread(c.send, i)
            total += c.recv()
            if i % 10 == 0:
                gosched()
        return total

    assert execute(4, main) == n * (n - 1) // 2


def test_closing_under_threads():
    for _ in range(amount(20)):
        c, out = Chan(int), Chan(str, 20)

        def waits(c=c, out=out):
            try:
                c.recv()
            except ChannelClosed:
                out.send("closed")

        threads = [thread(waits) for _ in range(5)]
        for _ in range(5):
            go(waits)
        sleep(0.001)
        c.close()
        assert [out.recv(timeout=50) for _ in range(10)] == ["closed"] * 10
        for t in threads:
            t.join(50)


def test_runs_from_several_threads_one_after_the_other():
    lock, results = threading.Lock(), []

    def body(i):
        with lock:

            def main():
                c = Chan(int)
                go(c.send, i)
                return c.recv()

            results.append(run(main))

    threads = [thread(body, i) for i in range(amount(20))]
    for t in threads:
        t.join(50)
    assert sorted(results) == list(range(len(threads)))
