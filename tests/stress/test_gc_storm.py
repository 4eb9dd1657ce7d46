"""The collector, again and again, while goroutines switch and cycles come and go."""

import gc
import weakref

import pytest
from goroutines import Chan, go, gosched, recv, select, send, sleep
from helpers import eventually

from .load import amount, crowd, execute, on_all_procs


class Node:
    __slots__ = ("__weakref__", "chan", "others")

    def __init__(self, chan):
        self.chan, self.others = chan, [self]


@on_all_procs
def test_collections_in_loops(procs):
    def main():
        stop = []

        def collects():
            while not stop:
                gc.collect()
                gosched()

        go(collects)

        def body(i):
            total = 0
            for k in range(amount(20)):
                c = Chan(object, 2)
                c.send(Node(c))
                go(lambda c=c, k=k: c.send(k))
                c.recv()
                total += c.recv()
            return total

        results = crowd(20, body)
        stop.append(1)
        return set(results)

    n = amount(20)
    assert execute(procs, main) == {n * (n - 1) // 2}


@on_all_procs
def test_a_low_threshold(procs):
    before = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:

        def main():
            def body(i):
                c, got = Chan(list), []
                go(lambda: [c.send([k, [c]]) for k in range(amount(20))])
                for _ in range(amount(20)):
                    value = c.recv()
                    value.append(value)
                    got.append(value[0])
                return got == list(range(amount(20)))

            return crowd(20, body)

        assert all(execute(procs, main))
    finally:
        gc.set_threshold(*before)


@on_all_procs
def test_cycles_through_channels_and_frames_do_not_pile_up(procs):
    refs = []

    def main():
        def body(i):
            c = Chan(object, 3)
            node = Node(c)
            refs.append(weakref.ref(node))
            c.send(node)
            c.send(c)
            c.send([lambda: c])
            select(recv(c), send(Chan(), node))
            sleep(0)
            return 1

        return sum(crowd(amount(200), body))

    assert execute(procs, main) == amount(200)
    assert eventually(lambda: [gc.collect(), all(r() is None for r in refs)][1])


@on_all_procs
def test_finalizers_that_use_channels(procs):
    n = amount(100)

    def main():
        log = Chan(int, 2 * n + 1)

        class Sends:
            def __init__(self, i, cyclic):
                self.i = i
                self.me = self if cyclic else None

            def __del__(self):
                log.send(self.i)

        def body(i):
            Sends(i, True)
            gosched()
            Sends(n + i, False)
            if i % 10 == 0:
                gc.collect()
            return i

        crowd(n, body)
        gc.collect()
        return sorted(log.recv(timeout=50) for _ in range(2 * n))

    assert execute(procs, main) == list(range(2 * n))


@pytest.mark.parametrize("procs", [1, 4])
def test_finalizers_that_park(procs):
    n = amount(40)

    def main():
        gate, log = Chan(int), []

        class Parks:
            def __init__(self, cyclic):
                self.me = self if cyclic else None

            def __del__(self):
                log.append(gate.recv())

        def body(i):
            Parks(bool(i % 2))
            gc.collect()
            return i

        go(lambda: [gate.send(i) for i in range(n)])
        crowd(n, body)
        gc.collect()
        assert eventually(lambda: len(log) == n)
        return sorted(log)

    assert execute(procs, main) == list(range(n))


@on_all_procs
def test_weak_references_to_channels(procs):
    def main():
        cache = weakref.WeakValueDictionary()

        def body(i):
            for k in range(amount(20)):
                c = cache.setdefault(k % 5, Chan(int, 100))
                c.send(1)
                gosched()
                c.recv()
            return 1

        total = sum(crowd(20, body))
        gc.collect()
        return total, len(cache)

    assert execute(procs, main) == (20, 0)
