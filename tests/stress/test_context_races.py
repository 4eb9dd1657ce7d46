"""Contexts that are made, cancelled, timed out and dropped by everybody at once."""

import gc
import threading
import time

from goroutines import Chan, go, gosched, num_goroutine, recv, select, sleep
from goroutines.context import (
    Canceled,
    after_func,
    background,
    with_cancel,
    with_timeout,
    with_value,
)
from helpers import eventually

from .load import amount, crowd, dice, execute, on_all_procs


@on_all_procs
def test_children_join_while_their_parent_is_cancelled(procs):
    rng = dice()

    def main():
        for _ in range(amount(30)):
            root = with_cancel(background())

            def body(i, root=root):
                mine = rng.child(i)
                made = []
                for _ in range(mine.randrange(1, 20)):
                    parent = mine.choice([root, *made]) if made else root
                    made.append(with_cancel(with_value(parent, 1, 2)))
                    if mine.random() < 0.3:
                        made[-1].done()
                    if mine.random() < 0.2:
                        gosched()
                    if i == 7 and mine.random() < 0.2:
                        root.cancel()
                return made

            made = crowd(20, body)
            root.cancel()
            for group in made:
                for ctx in group:
                    assert ctx.err() is root.err() and ctx.done().closed
            assert not root._below and not root._kept

    execute(procs, main)


@on_all_procs
def test_cancel_against_the_deadline(procs):
    """One outcome, seen alike by all."""
    rng = dice()

    def main():
        for _ in range(amount(30)):
            root = with_timeout(background(), rng.choice([0.001, 0.002, 0.004]))
            leaves = [with_cancel(with_cancel(root)) for _ in range(10)]
            cause = ValueError()

            def body(i, root=root, leaves=leaves, cause=cause):
                mine = rng.child(i)
                if i % 4 == 0:
                    sleep(mine.random() * 0.004)
                    root.cancel(cause)
                else:
                    select(recv(leaves[i % 10].done()), recv(Chan()), timeout=60)
                return root.err(), leaves[i % 10].err(), root.cause()

            seen = set(map(tuple, (map(id, r) for r in crowd(20, body))))
            assert len(seen) == 1
            assert (root.cause() is cause) == isinstance(root.err(), Canceled)

    execute(procs, main)


@on_all_procs
def test_after_func_against_cancel_and_stop(procs):
    """Each function runs once, or was stopped."""
    rng = dice()

    def main():
        for _ in range(amount(30)):
            root = with_cancel(background())
            ran, stopped = [], []

            def body(i, root=root, ran=ran, stopped=stopped):
                mine = rng.child(i)
                ctx = with_cancel(root) if mine.random() < 0.5 else root
                stop = after_func(ctx, lambda: ran.append(i))
                for _ in range(mine.randrange(3)):
                    gosched()
                if mine.random() < 0.3:
                    root.cancel()
                elif mine.random() < 0.5 and stop():
                    stopped.append(i)

            crowd(30, body)
            root.cancel()
            assert eventually(lambda: len(ran) + len(stopped) >= 30, 20)
            sleep(0.001)
            assert sorted(ran + stopped) == list(range(30))

    execute(procs, main)


@on_all_procs
def test_threads_and_goroutines(procs):
    rng = dice()

    def main():
        root = with_cancel(background())
        over = threading.Event()
        failures = []

        def thread(i):
            mine = rng.child(1000 + i)
            try:
                while not over.is_set():
                    with with_timeout(root, mine.random() * 0.002) as ctx:
                        child = with_cancel(ctx)
                        select(recv(child.done()), timeout=60)
                        assert child.err() is ctx.err() is not None
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=thread, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()

        def body(i):
            mine = rng.child(i)
            for _ in range(amount(20)):
                with with_timeout(root, mine.random() * 0.002) as ctx:
                    select(recv(ctx.done()), recv(Chan()), timeout=60)

        crowd(10, body)
        over.set()
        while any(t.is_alive() for t in threads):
            sleep(0.001)
        assert not failures and not root._below

    execute(procs, main)
    assert eventually(lambda: num_goroutine() == 0)


@on_all_procs
def test_dropped_by_the_collector(procs):
    """Unfinished ones with timers, in cycles, while the others fire."""
    rng = dice()

    def main():
        root = with_cancel(background())

        def body(i):
            mine = rng.child(i)
            for _ in range(amount(50)):
                ctx = with_timeout(mine.choice([root, background()]), mine.random() * 0.003)
                child = with_timeout(ctx, 3600)
                done = child.done() if mine.random() < 0.5 else None
                del ctx, child
                if mine.random() < 0.02:
                    gc.collect()
                if done is not None and mine.random() < 0.3:
                    done.recv_ok(timeout=60)

        crowd(10, body)
        gc.collect()
        assert eventually(lambda: gc.collect() is not None and not root._below, 20)

    execute(procs, main)


@on_all_procs
def test_runs_end_while_deadlines_pass(procs):
    """A thread's contexts end though run() comes and goes."""
    rng = dice()
    stop = time.monotonic() + amount(1) * 0.3
    failures = []

    def thread(i):
        mine = rng.child(i)
        try:
            while time.monotonic() < stop:
                ctx = with_timeout(background(), mine.random() * 0.003)
                ctx.done().recv_ok(timeout=60)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()

    def main():
        for _ in range(5):
            go(select)
            with_timeout(background(), 3600)
        sleep(0.0005)

    while time.monotonic() < stop:
        execute(procs, main)
    for t in threads:
        t.join(60)
    assert not failures and not any(t.is_alive() for t in threads)
