"""Random producers and consumers: what goes in comes out, once."""

import collections
import time

import pytest
from goroutines import Chan, go, gosched, sleep

from .load import amount, dice, execute, on_all_procs


def pause(rng):
    """Now and then something that makes the goroutine change its place."""
    x = rng.random()
    if x < 0.05:
        gosched()
    elif x < 0.06:
        sleep(0)
    elif x < 0.063:
        time.sleep(0.0002)


@on_all_procs
def test_the_multiset_is_the_same(procs):
    rng = dice()
    shape = {
        "capacity": rng.choice([0, 0, 1, 2, 5, 50, 1000]),
        "producers": rng.randint(1, 20),
        "consumers": rng.randint(1, 20),
    }
    n = amount(6000)
    print(shape)

    def main():
        c, out = Chan(tuple, shape["capacity"]), Chan(list)
        left = Chan()

        def producer(i, mine):
            for k in range(n // shape["producers"]):
                c.send((i, k))
                pause(mine)
            left.send(None)

        def consumer(mine):
            got = []
            for v in c:
                got.append(v)
                pause(mine)
            out.send(got)

        for i in range(shape["producers"]):
            go(producer, i, rng.child(i))
        for i in range(shape["consumers"]):
            go(consumer, rng.child(-1 - i))
        for _ in range(shape["producers"]):
            left.recv()
        c.close()
        return [out.recv() for _ in range(shape["consumers"])]

    parts = execute(procs, main)
    counted = collections.Counter(v for part in parts for v in part)
    assert set(counted.values()) == {1}
    assert len(counted) == shape["producers"] * (n // shape["producers"])
    for part in parts:
        # Each consumer sees the values of one producer in their order.
        last = {}
        for producer, k in part:
            assert k > last.get(producer, -1)
            last[producer] = k


@on_all_procs
def test_a_random_pipeline(procs):
    rng = dice()
    stages = rng.randint(2, 30)
    capacities = [rng.choice([0, 0, 1, 3]) for _ in range(stages)]
    n = amount(300)

    def main():
        def stage(source, capacity, mine):
            out = Chan(int, capacity)

            def body():
                for v in source:
                    pause(mine)
                    out.send(v + 1)
                out.close()

            go(body)
            return out

        first = c = Chan(int)
        for i, capacity in enumerate(capacities):
            c = stage(c, capacity, rng.child(i))

        def feeder():
            for i in range(n):
                first.send(i)
            first.close()

        go(feeder)
        return list(c)

    assert execute(procs, main) == [i + stages for i in range(n)]


@on_all_procs
def test_a_ring_of_goroutines(procs):
    """One token goes round; each hop is a hand-over to a goroutine that waits."""
    size, rounds = amount(50), 40

    def main():
        chans = [Chan(int) for _ in range(size)]

        def node(i):
            for token in chans[i]:
                if token == 0:
                    chans[(i + 1) % size].close()
                    return
                chans[(i + 1) % size].send(token - 1)

        last = Chan()

        def end(i):
            node(i)
            last.send(None)

        for i in range(size):
            go(end, i)
        chans[0].send(size * rounds)
        # The node that sees 0 closes its successor, which ends without closing anything.
        last.recv()
        last.recv()
        return True

    assert execute(procs, main)


@pytest.mark.parametrize("capacity", [0, 1, 16])
@on_all_procs
def test_everybody_sends_and_receives(procs, capacity):
    """Each goroutine is producer and consumer of one shared channel, and none waits for ever."""
    n, members = amount(150), 16

    def main():
        c, over = Chan(int, capacity), Chan(int)

        def producer(i):
            for k in range(n):
                c.send(i * n + k)

        def consumer():
            total = 0
            for _ in range(n):
                total += c.recv()
            over.send(total)

        for i in range(members):
            go(producer, i)
            go(consumer)
        return sum(over.recv() for _ in range(members))

    total = n * members
    assert execute(procs, main) == total * (total - 1) // 2


@on_all_procs
def test_request_and_reply(procs):
    rng = dice()
    clients, servers, n = 20, rng.randint(1, 8), amount(40)

    def main():
        requests, over = Chan(tuple, rng.choice([0, 4])), Chan(bool)

        def server():
            for value, reply in requests:
                reply.send(value * value)

        def client(i):
            reply = Chan(int, i % 2)
            ok = True
            for k in range(n):
                requests.send((i * n + k, reply))
                ok = ok and reply.recv() == (i * n + k) ** 2
            over.send(ok)

        for _ in range(servers):
            go(server)
        for i in range(clients):
            go(client, i)
        return all([over.recv() for _ in range(clients)])

    assert execute(procs, main)
