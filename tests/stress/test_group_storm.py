"""Groups in which many fail at once, in random states, nested, with limits, from threads."""

import threading

from goroutines import (
    Chan,
    GoroutineExit,
    Group,
    after,
    go,
    gosched,
    num_goroutine,
    recv,
    run,
    select,
    send,
    sleep,
)
from helpers import eventually

from .load import amount, dice, execute, on_all_procs


class Boom(Exception):
    pass


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


def spins():
    while True:
        gosched()


WAYS = [
    lambda c: c.recv(),
    lambda c: c.send(1),
    lambda c: Chan().recv(),
    lambda c: Chan().recv(timeout=0.001),
    lambda c: [c.send(1) for _ in range(50)],
    lambda c: select(recv(c), send(c, 1)),
    lambda c: select(recv(c), recv(after(0.001)), timeout=1),
    lambda c: select(),
    lambda c: sleep(600),
    lambda c: sleep(0.0005),
    lambda c: spins(),
    lambda c: after(0.0005).recv(),
    lambda c: sorted([3, 1, 2], key=lambda x: c.recv()),
    lambda c: None,
]


def ends_it():
    """Many members wait for good."""
    sleep(0.003)
    raise KeyError


def caught(scene):
    """The failures that a scene ends with."""
    try:
        scene()
    except BaseException as error:
        return leaves(error)
    return []


@on_all_procs
def test_failures_at_any_moment(procs):
    """Each that was raised is reported, and once; all members are over; nothing is left."""
    rng = dice()

    def main():
        for _ in range(amount(15)):
            channels = [Chan(int, rng.choice([0, 1])) for _ in range(5)]
            begun, ended, raised = [], [], []

            def member(i, channels=channels, begun=begun, ended=ended, raised=raised):
                mine = rng.child(i)
                begun.append(i)
                try:
                    WAYS[i % len(WAYS)](channels[i % 5])
                except TimeoutError:
                    pass
                except GoroutineExit:
                    if mine.random() < 0.3:
                        raised.append(Boom(i))
                        raise raised[-1] from None
                    raise
                finally:
                    ended.append(i)
                if mine.random() < 0.3:
                    raised.append(Boom(i))
                    raise raised[-1]

            limit = rng.choice([None, None, 7])
            body_fails = rng.random() < 0.5
            results = []

            def scene(member=member, limit=limit, body_fails=body_fails, results=results):
                with Group(limit=limit) as g:
                    g.go(ends_it)
                    for i in range(rng.choice([1, 30, 100])):
                        results.append(g.go(member, i))
                    for _ in range(rng.choice([0, 1, 10, 50])):
                        gosched()
                    if body_fails:
                        raise IndexError

            got = caught(scene)
            assert sorted(begun) == sorted(ended)
            assert all(r.done for r in results)
            booms = [e for e in got if isinstance(e, Boom)]
            assert sorted(map(id, booms)) == sorted(map(id, raised))
            others = [type(e) for e in got if not isinstance(e, Boom)]
            assert set(others) <= {KeyError, IndexError} and len(set(others)) == len(others)

    execute(procs, main)
    assert eventually(lambda: num_goroutine() == 0)


@on_all_procs
def test_all_fail_at_once(procs):
    n = amount(500)

    def main():
        gate = Chan()

        def member(i):
            try:
                gate.recv_ok()
            finally:
                raise Boom(i)

        def scene():
            with Group() as g:
                for i in range(n):
                    g.go(member, i)
                while len(g._live) < n:
                    gosched()
                sleep(0.01)
                gate.close()

        return caught(scene)

    for error in (got := execute(procs, main)):
        assert isinstance(error, Boom)
    assert len({e.args for e in got}) == len(got) <= n and len(got) >= 1


@on_all_procs
def test_values_handed_over_are_never_lost(procs):
    """What members have received when their group fails, and what is left, is all that was sent."""
    rng = dice()

    def main():
        for _ in range(amount(20)):
            c, got, n = Chan(int), [], 200

            def member(c=c, got=got):
                while True:
                    value = c.recv()  # it has it, or it is still to be had
                    got.append(value)

            sent = []

            def sender(c=c, sent=sent, n=n):
                for i in range(n):
                    c.send(i)
                    sent.append(i)

            def scene(member=member, sender=sender):
                with Group() as g:
                    for _ in range(10):
                        g.go(member)
                    g.go(sender)
                    for _ in range(rng.randrange(100)):
                        gosched()
                    raise Boom

            caught(scene)
            # A send that has returned has been received.
            assert sorted(got)[: len(sent)] == sent and len(got) - len(sent) in (0, 1)

    execute(procs, main)


@on_all_procs
def test_nested(procs):
    rng = dice()

    def main():
        for _ in range(amount(15)):
            open_blocks = []

            def tree(depth, seed, open_blocks=open_blocks):
                mine = rng.child(seed)
                open_blocks.append(1)
                try:
                    with Group(limit=mine.choice([None, 3])) as g:
                        for i in range(3):
                            if depth:
                                g.go(tree, depth - 1, seed * 3 + i)
                            else:
                                g.go(WAYS[mine.randrange(len(WAYS))], Chan())
                        if mine.random() < 0.1:
                            raise Boom
                finally:
                    open_blocks.pop()

            def scene(tree=tree):
                with Group() as g:
                    g.go(tree, 3, 1)
                    sleep(rng.random() * 0.01)
                    raise KeyError

            got = caught(scene)
            assert sum(isinstance(e, KeyError) for e in got) == 1
            assert not open_blocks

    execute(procs, main)
    assert eventually(lambda: num_goroutine() == 0)


@on_all_procs
def test_run_ends_at_any_moment(procs):
    rng = dice()
    for _ in range(amount(15)):
        inside = []

        def main(inside=inside):
            def block(i):
                mine = rng.child(i)
                inside.append(1)
                try:
                    with Group(limit=mine.choice([None, 2])) as g:
                        for _ in range(5):
                            g.go(WAYS[mine.randrange(len(WAYS))], Chan(int, 1))
                except* (TimeoutError, GoroutineExit):
                    pass
                finally:
                    inside.pop()

            for i in range(10):
                go(block, i)
            for _ in range(rng.choice([0, 1, 10, 100])):
                gosched()

        execute(procs, main)
        assert not inside and num_goroutine() == 0


@on_all_procs
def test_from_threads(procs):
    """Threads have groups of their own while runs come and go: their members are ended, too."""
    rng = dice()
    failures = []

    def thread(i):
        mine = rng.child(i)
        try:
            for _ in range(amount(20)):
                with Group(limit=3) as g:
                    results = [g.go(lambda n: (sleep(0), n)[1], n) for n in range(10)]
                    if mine.random() < 0.3:
                        raise Boom
                assert all(r.done for r in results)
        except Boom:
            pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        run(gosched)
    assert not failures


@on_all_procs
def test_churn(procs):
    def main():
        with Group(limit=20) as g:
            results = [g.go(lambda i=i: (gosched(), i)[1]) for i in range(amount(3000))]
        assert [r.value() for r in results] == list(range(len(results)))

    execute(procs, main)
