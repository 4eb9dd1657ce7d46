"""RWMutex: many readers or one writer, in the order of coming."""

import gc
import itertools
import time

import goroutines as G
import pytest
from goroutines.sync import RWMutex
from helpers import in_run, slack

from .support import PLACES, at, parked, spawn


@pytest.mark.parametrize("place", PLACES)
def test_readers_share_and_writers_do_not(place):
    def body():
        m = RWMutex()
        m.acquire_read()
        m.acquire_read()
        with pytest.raises(TimeoutError):
            m.acquire_write(timeout=0.01)
        with pytest.raises(TimeoutError):
            m.acquire_write(0)
        m.release_read()
        m.release_read()
        assert m.acquire_write() is None
        for acquire in m.acquire_read, m.acquire_write:
            for timeout in 0, 0.01:
                with pytest.raises(TimeoutError):
                    acquire(timeout)
        assert m.release_write() is None
        with m.write():
            pass
        with m.read(), m.read():
            pass
        m.acquire_write(timeout=0)

    at(place, body)


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan"), float("-inf")])
@pytest.mark.parametrize("method", ["acquire_read", "acquire_write"])
def test_a_negative_timeout_is_a_value_error(method, timeout):
    m = RWMutex()
    with pytest.raises(ValueError):
        getattr(m, method)(timeout)
    m.acquire_write()
    with pytest.raises(ValueError):
        getattr(m, method)(timeout=timeout)
    with pytest.raises(TypeError):
        getattr(m, method)("1")
    with pytest.raises(TypeError):
        getattr(m, method)(n=1)


STATES = {
    "unlocked": lambda m: None,
    "read": lambda m: m.acquire_read(),
    "written": lambda m: m.acquire_write(),
    "read, released": lambda m: (m.acquire_read(), m.release_read()),
    "written, released": lambda m: (m.acquire_write(), m.release_write()),
}


@pytest.mark.parametrize("state", STATES)
def test_releasing_what_is_not_held(state):
    m = RWMutex()
    STATES[state](m)
    if state != "read":
        with pytest.raises(RuntimeError, match="readers"):
            m.release_read()
    if state != "written":
        with pytest.raises(RuntimeError, match="writer"):
            m.release_write()
    if state == "read":
        m.release_read()
    if state == "written":
        m.release_write()
    with m.write():
        pass


@in_run
def test_a_waiting_writer_keeps_new_readers_out():
    m, order = RWMutex(), G.Chan(capacity=9)
    m.acquire_read()
    G.go(lambda: (m.acquire_write(), order.send("writer")))
    parked(1, "rwmutex")
    with pytest.raises(TimeoutError):
        m.acquire_read(timeout=0.02)
    G.go(lambda: (m.acquire_read(), order.send("reader")))
    parked(2, "rwmutex")
    m.release_read()
    assert order.recv(timeout=10) == "writer"
    m.release_write()
    assert order.recv(timeout=10) == "reader"


@in_run
def test_the_order_of_coming():
    """Readers in a row go together, before the writer that came after them."""
    m, events = RWMutex(), []
    line = ["r1", "r2", "w1", "w2", "r3", "w3", "r4", "r5"]
    done = G.Chan()

    def user(name):
        with m.read() if name[0] == "r" else m.write():
            events.append(name)
            G.sleep(0.005)
            events.append(name)
        done.send(None)

    m.acquire_write()
    for i, name in enumerate(line):
        G.go(user, name)
        parked(i + 1, "rwmutex")
    m.release_write()
    for _ in line:
        done.recv(timeout=10)
    groups = [{"r1", "r2"}, {"w1"}, {"w2"}, {"r3"}, {"w3"}, {"r4", "r5"}]
    rest = iter(events)
    for group in groups:
        inside = list(itertools.islice(rest, 2 * len(group)))
        assert set(inside[: len(group)]) == set(inside[len(group) :]) == group, events


@in_run
def test_a_writer_that_gives_up_lets_the_readers_pass():
    m, out = RWMutex(), G.Chan(capacity=5)
    m.acquire_read()

    def writer():
        with pytest.raises(TimeoutError):
            m.acquire_write(timeout=0.1)
        out.send("gave up")

    def reader():
        with m.read():
            out.send("read")

    G.go(writer)
    parked(1, "rwmutex")
    for _ in range(3):
        G.go(reader)
    parked(4, "rwmutex")
    assert sorted(out.recv(timeout=10) for _ in range(4)) == ["gave up", "read", "read", "read"]
    m.release_read()
    m.acquire_write(timeout=0)


@in_run
def test_neither_side_starves():
    m, stop, over = RWMutex(), [], G.Chan()

    def reads():
        while not stop:
            with m.read():
                G.gosched()
        over.send(None)

    def writes():
        while not stop:
            with m.write():
                G.gosched()
        over.send(None)

    for f in [reads, writes] * 5:
        G.go(f)
    for _ in range(20):
        m.acquire_write(timeout=slack(20))
        m.release_write()
        m.acquire_read(timeout=slack(20))
        m.release_read()
    stop.append(1)
    for _ in range(10):
        over.recv(timeout=10)


def test_threads_read_while_goroutines_wait_to_write():
    m = RWMutex()

    def main():
        out = G.Chan(capacity=2)
        held, go_on = G.Chan(), G.Chan()

        def thread():
            with m.read():
                held.send(None)
                go_on.recv()

        t = spawn(thread)
        held.recv()
        G.go(lambda: (m.acquire_write(), out.send("written")))
        parked(1, "rwmutex")
        go_on.send(None)
        assert out.recv(timeout=10) == "written"
        t.join(10)

    G.run(main)


def test_its_sides_are_locks():
    m = RWMutex()
    side = m.write()
    side.acquire()
    assert "write-locked" in repr(m) and "write()" in repr(side)
    side.release()
    with pytest.raises(RuntimeError):
        side.release()
    read = m.read()
    with read, read:
        assert "read-locked by 2" in repr(m)
    assert "unlocked" in repr(m)
    with pytest.raises(TypeError):
        type(side)()


def test_a_side_keeps_its_mutex_alive():
    side = RWMutex().read()
    gc.collect()
    with side:
        assert "read-locked by 1" in repr(side)


def test_takes_no_arguments():
    with pytest.raises(TypeError):
        RWMutex(1)


@in_run
def test_a_timeout_is_kept():
    m = RWMutex()
    m.acquire_write()
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="acquire_read"):
        m.acquire_read(timeout=0.05)
    assert 0.05 <= time.monotonic() - start < slack(5)
