"""A hundred thousand goroutines, parked, woken and finished."""

import gc
import sys
import time

import pytest
from goroutines import Chan, go, num_goroutine, recv, select, sleep
from helpers import eventually

from .load import amount, execute

N = amount(100_000)


@pytest.fixture(autouse=True)
def switch_interval():
    """One switch interval is enough for these: they are about numbers."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.mark.hang(300)
@pytest.mark.parametrize("procs", [1, 4])
def test_parked_and_woken_by_close(procs):
    def main():
        gate, over = Chan(), Chan(int, 1000)

        def body(i):
            gate.recv_ok()
            over.send(i)

        start = time.monotonic()
        for i in range(N):
            go(body, i)
        assert num_goroutine() == N + 1
        sleep(0.1)
        made = time.monotonic()
        gate.close()
        total = sum(over.recv() for _ in range(N))
        print(f"made in {made - start:.2f} s, woken in {time.monotonic() - made:.2f} s")
        assert eventually(lambda: num_goroutine() == 1, 50)
        return total

    assert execute(procs, main) == N * (N - 1) // 2


@pytest.mark.hang(300)
def test_parked_and_woken_one_by_one():
    n = N // 4

    def main():
        c, over = Chan(int), Chan(int, 100)
        for _ in range(n):
            go(lambda: over.send(c.recv()))
        go(lambda: [c.send(i) for i in range(n)])
        return sum(over.recv() for _ in range(n))

    assert execute(2, main) == n * (n - 1) // 2


@pytest.mark.hang(300)
def test_parked_in_many_ways_and_ended_by_run():
    n = N // 10
    ended = []

    def main():
        ways = [
            lambda: Chan().recv(),
            lambda: Chan().send(1),
            lambda: select(recv(Chan()), recv(Chan())),
            lambda: sleep(600),
            lambda: Chan().recv(timeout=600),
        ]
        begun = Chan(int, 1000)

        def body(i):
            try:
                begun.send(i)
                ways[i % 5]()
            finally:
                ended.append(i)

        for i in range(n):
            go(body, i)
        for _ in range(n):
            begun.recv()

    execute(2, main)
    assert sorted(ended) == list(range(n))
    assert num_goroutine() == 0


@pytest.mark.hang(300)
def test_the_collector_runs_beside_them():
    n = N // 5

    def main():
        gate, over = Chan(), Chan(int, 100)

        def body(i):
            mine = [i]
            mine.append(mine)
            gate.recv_ok()
            over.send(mine[0])

        for i in range(n):
            go(body, i)
            if i % (n // 4 or 1) == 0:
                gc.collect()
        gc.collect()
        gate.close()
        return sum(over.recv() for _ in range(n))

    assert execute(2, main) == n * (n - 1) // 2


@pytest.mark.hang(300)
def test_waves_use_the_same_memory():
    n = N // 10

    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    def wave():
        gate, over = Chan(), Chan(None.__class__, 100)
        for _ in range(n):
            go(lambda: [gate.recv_ok(), over.send(None)])
        gate.close()
        for _ in range(n):
            over.recv()

    def main():
        wave()
        assert eventually(lambda: num_goroutine() == 1, 50)
        before = resident()
        for _ in range(4):
            wave()
            assert eventually(lambda: num_goroutine() == 1, 50)
        return resident() - before

    # One wave is about n * 5 KB; four more must not each add as much again.
    assert execute(2, main) < max(n * 5000, 16 << 20)


@pytest.mark.hang(300)
def test_a_daisy_chain():
    n = N // 5

    def main():
        first = left = Chan(int)
        for _ in range(n):
            right = Chan(int)
            go(lambda left=left, right=right: left.send(right.recv() + 1))
            left = right
        left.send(0)
        return first.recv()

    assert execute(2, main) == n
