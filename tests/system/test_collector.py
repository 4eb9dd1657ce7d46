"""The collector: cycles through goroutines, timers and channels, and who is never garbage."""

import gc
import weakref

import goroutines as G
import pytest
from helpers import eventually, prints


class Node:
    def __init__(self, *others: object) -> None:
        self.others = [*others]


def collected(make) -> bool:
    """Whether what make() leaves behind goes with the next collections."""
    ref = make()
    return eventually(lambda: [gc.collect(), ref() is None][1])


def cycle_through_a_timer():
    timer = G.Timer(3600)
    node = Node(timer)
    buffer = G.Chan(capacity=2)
    buffer.send(node)
    buffer.send(timer.chan)
    node.others.append(buffer)
    return weakref.ref(node)


def cycle_through_a_ticker():
    node = Node(G.Ticker(0.001))
    node.others.append(node)
    return weakref.ref(node)


def cycle_through_a_stopped_after_func():
    node = Node()
    node.others.append(G.after_func(3600, int, node))
    node.others[0].stop()
    return weakref.ref(node)


def cycle_through_an_ended_goroutine():
    node = Node()

    def body(node):
        node.others.append(body)
        over.send(None)

    over = G.Chan()
    node.others.append(over)
    G.go(body, node)
    over.recv()
    return weakref.ref(node)


def cycle_through_an_exception_out_of_a_goroutine():
    node, kept, before = Node(), [], G.excepthook

    def body(node):
        node.others.append(kept)
        raise ValueError(node)

    G.excepthook = lambda args: [kept.append(args), over.close()]
    over = G.Chan()
    G.go(body, node)
    over.recv_ok()
    G.excepthook = before
    return weakref.ref(node)


@pytest.mark.parametrize(
    "make",
    [
        cycle_through_a_timer,
        cycle_through_a_ticker,
        cycle_through_a_stopped_after_func,
        cycle_through_an_ended_goroutine,
        cycle_through_an_exception_out_of_a_goroutine,
    ],
)
def test_a_cycle_is_collected(make):
    assert collected(make)
    assert G.run(collected, make)


@pytest.mark.hang(120)
def test_collections_by_the_thousand_while_goroutines_switch():
    """On each of several Ps, from goroutines and a thread: all values arrive."""
    prints(
        """
        import gc, threading
        import goroutines as G

        gc.freeze()  # what is collected is ours, and little
        stop, out = [], G.Chan()

        def collects():
            while not stop:
                gc.collect()
                G.gosched()

        def pings(n):
            a, b = G.Chan(), G.Chan()
            G.go(lambda: [b.send([v, a]) for v in a])
            total = 0
            for i in range(n):
                a.send(i)
                total += b.recv()[0]
            a.close()
            out.send(total)

        def main():
            before = gc.get_stats()[2]["collections"]
            G.go(collects)
            threading.Thread(target=collects).start()
            rounds = 0
            while rounds < 20 or gc.get_stats()[2]["collections"] - before < 2000:
                for _ in range(5):
                    G.go(pings, 50)
                assert [out.recv(timeout=60) for _ in range(5)] == [1225] * 5
                rounds += 1
            stop.append(1)
            return True

        G.gomaxprocs(4)
        print(G.run(main))
        """,
        "True",
        timeout=90,
    )


def test_a_goroutine_that_nobody_can_wake():
    """As in Go it is no garbage: it stays parked, is listed, and holds what it holds. At the
    end of run() it gets GoroutineExit."""
    prints(
        """
        import gc, weakref
        import goroutines as G

        class Node:
            pass

        def parked(held):
            try:
                G.Chan().recv()
            finally:
                print("ended, and still has", type(held).__name__)

        def main():
            node = Node()
            ref = weakref.ref(node)
            G.go(parked, node)
            del node
            G.sleep(0.02)
            for _ in range(3):
                gc.collect()
            print(ref() is not None, "[chan receive" in G.debug.stacks())
            return ref

        print(G.run(main)())
        """,
        "True True\nended, and still has Node\nNone",
    )


def test_a_goroutine_that_nobody_can_wake_is_no_deadlock_while_others_run():
    prints(
        """
        import gc
        import goroutines as G
        def main():
            G.go(lambda: G.Chan().recv())
            for _ in range(10):
                G.sleep(0.01)
                gc.collect()
            return G.num_goroutine()
        print(G.run(main), G.num_goroutine())
        """,
        "2 0",
    )
