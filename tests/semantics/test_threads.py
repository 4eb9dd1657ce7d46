"""Goroutines and OS threads: which thread runs what, and threads that are no goroutines."""

import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from goroutines import (
    Chan,
    debug,
    go,
    gomaxprocs,
    gosched,
    lock_os_thread,
    recv,
    run,
    select,
    send,
    set_max_threads,
    sleep,
    stack_size,
    unlock_os_thread,
)
from helpers import eventually, in_run, on_procs, prints, script, told

from .support import PLACES, at, parked, spawn

native_id = threading.get_native_id


# ------------------------------------------------------------------ between two library calls

BLOCKING = {
    "time.sleep": lambda: time.sleep(0.003),
    "file": lambda: open(os.devnull, "rb").read(),
    "pipe": lambda: through_a_pipe(),
    "lock with timeout": lambda: held().acquire(timeout=0.003),
    "subprocess": lambda: subprocess.run([sys.executable, "-S", "-c", ""], check=True),
    "computing": lambda: sum(range(300_000)),
}


def through_a_pipe():
    r, w = os.pipe()
    threading.Timer(0.002, os.write, [w, b"x"]).start()
    assert os.read(r, 1) == b"x"
    os.close(r)
    os.close(w)


def held():
    lock = threading.Lock()
    lock.acquire()
    return lock


@pytest.mark.parametrize("n_procs", [1, 2, 4])
@pytest.mark.parametrize("how", BLOCKING)
def test_the_thread_stays_the_same_between_two_library_calls(how, n_procs):
    rounds = 3 if how == "subprocess" else 15

    def main():
        out = Chan(object)

        def body():
            for _ in range(rounds):
                before = native_id()
                BLOCKING[how]()
                BLOCKING[how]()
                if native_id() != before:
                    out.send("the thread changed")
                    return
                gosched()
            out.send(None)

        for _ in range(10):
            go(body)
        return {out.recv(timeout=50) for _ in range(10)}

    assert on_procs(n_procs, main) == {None}


@pytest.mark.parametrize("n_procs", [1, 4])
def test_an_rlock_held_over_blocking_calls(n_procs):
    """As logging holds one over a write: its owner is the thread."""
    lock, inside = threading.RLock(), []

    def main():
        over = Chan(object)

        def body(i):
            try:
                for _ in range(10):
                    with lock:
                        with lock:
                            inside.append(i)
                            time.sleep(0.0005)
                            assert inside == [i], "two at once in the locked part"
                            inside.pop()
                    gosched()
            except BaseException as error:
                over.send(error)
            else:
                over.send(None)

        for i in range(10):
            go(body, i)
        return [over.recv(timeout=50) for _ in range(10)]

    assert on_procs(n_procs, main) == [None] * 10


def test_sqlite_between_library_calls():
    def main():
        out = Chan(object)

        def body(i):
            db = sqlite3.connect(":memory:")
            db.execute("create table t (x)")
            for k in range(50):
                db.execute("insert into t values (?)", (k,))
            time.sleep(0.002)
            total = db.execute("select sum(x) from t").fetchone()[0]
            db.close()
            out.send(total)

        for i in range(10):
            go(body, i)
        return {out.recv(timeout=50) for _ in range(10)}

    assert run(main) == {1225}


def test_logging_from_many_goroutines():
    done = script(
        """
        import logging, sys
        import goroutines as G
        logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
        def main():
            over = G.Chan()
            def body(i):
                for k in range(20):
                    logging.info("goroutine %d line %d", i, k)
                    if k % 5 == 0:
                        G.gosched()
                over.send(None)
            for i in range(20):
                G.go(body, i)
            for _ in range(20):
                over.recv()
        G.run(main)
        """
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(set(lines)) == 400, told(done)
    assert all(line.startswith("goroutine ") for line in lines)


# ------------------------------------------------------------------ lock_os_thread


@pytest.mark.parametrize("n_procs", [1, 2, 4])
def test_a_locked_goroutine_stays_on_its_thread(n_procs):
    def main():
        out = Chan(set)

        def locked():
            lock_os_thread()
            seen = set()
            for i in range(30):
                seen.add(native_id())
                if i % 3 == 0:
                    sleep(0.0005)
                elif i % 3 == 1:
                    gosched()
                else:
                    time.sleep(0.0005)
            out.send(seen)
            seen.add(native_id())
            unlock_os_thread()

        def others():
            for _ in range(30):
                sleep(0.0003)

        for _ in range(5):
            go(locked)
            go(others)
        return [len(out.recv(timeout=50)) for _ in range(5)]

    assert on_procs(n_procs, main) == [1] * 5


@in_run
def test_nobody_else_runs_on_a_locked_thread():
    ready, gate, out = Chan(int), Chan(), Chan(set)

    def locked():
        lock_os_thread()
        ready.send(native_id())
        gate.recv()
        unlock_os_thread()

    for _ in range(3):
        go(locked)
    mine = {ready.recv() for _ in range(3)}
    assert len(mine) == 3

    def other():
        seen = set()
        for _ in range(5):
            seen.add(native_id())
            gosched()
        out.send(seen)

    for _ in range(100):
        go(other)
    others = set().union(*(out.recv() for _ in range(100)))
    for _ in range(3):
        gate.send(None)
    assert not mine & others


@in_run
def test_locks_nest():
    out = Chan(tuple)

    def body():
        lock_os_thread()
        lock_os_thread()
        unlock_os_thread()
        first = native_id()
        for _ in range(20):
            sleep(0.0005)
        out.send((first, native_id()))
        unlock_os_thread()

    def others():
        for _ in range(100):
            gosched()

    for _ in range(10):
        go(others)
    go(body)
    before, after = out.recv()
    assert before == after


@in_run
def test_an_unlock_too_many_is_harmless():
    unlock_os_thread()
    lock_os_thread()
    unlock_os_thread()
    unlock_os_thread()
    sleep(0.001)


@in_run
def test_a_goroutine_that_ends_locked_takes_its_thread_with_it():
    ids = Chan(int)

    def body():
        lock_os_thread()
        ids.send(native_id())

    go(body)
    tid = ids.recv()
    assert eventually(lambda: str(tid) not in os.listdir("/proc/self/task"))


def test_locked_goroutines_talk_to_each_other():
    def main():
        a, b = Chan(int), Chan(int)

        def pong():
            lock_os_thread()
            for v in a:
                b.send(v + 1)

        go(pong)
        lock_os_thread()
        for i in range(200):
            a.send(i)
            assert b.recv() == i + 1
        return "over"

    assert run(main) == "over"


@pytest.mark.parametrize("place", ["main thread", "foreign thread"])
def test_locking_outside_a_goroutine_changes_nothing(place):
    def body():
        lock_os_thread()
        tid = native_id()
        c = Chan(int)
        go(c.send, 1)
        c.recv()
        unlock_os_thread()
        return native_id() == tid

    assert at(place, body) is True


def test_sqlite_on_a_locked_thread_across_parks():
    def main():
        out = Chan(object)

        def body():
            lock_os_thread()
            db = sqlite3.connect(":memory:")
            db.execute("create table t (x)")
            for k in range(20):
                db.execute("insert into t values (?)", (k,))
                sleep(0.0005)
            out.send(db.execute("select count(*) from t").fetchone()[0])
            db.close()

        for _ in range(5):
            go(body)
        return {out.recv(timeout=50) for _ in range(5)}

    assert run(main) == {20}


# ------------------------------------------------------------------ foreign threads


def test_foreign_threads_never_run_goroutines():
    def main():
        seen, over = set(), Chan()
        mine = Chan(int, 10)

        def thread():
            mine.send(native_id())
            time.sleep(0.1)

        threads = [spawn(thread) for _ in range(3)]
        foreign = {mine.recv() for _ in range(3)}

        def body():
            for _ in range(5):
                seen.add(native_id())
                gosched()
            over.send(None)

        for _ in range(50):
            go(body)
        for _ in range(50):
            over.recv()
        for t in threads:
            t.join()
        return foreign & seen

    assert run(main) == set()


def test_the_main_thread_never_runs_goroutines():
    main_thread = native_id()

    def main():
        out = Chan(int)
        for _ in range(50):
            go(lambda: out.send(native_id()))
        return {out.recv() for _ in range(50)} | {native_id()}

    assert main_thread not in run(main)


@pytest.mark.parametrize("kind", ["unbuffered", "buffered"])
def test_threads_and_goroutines_share_channels(kind):
    n = 300

    def main():
        c, out = Chan(int, 5 if kind == "buffered" else 0), Chan(int)
        threads = [spawn(lambda k=k: [c.send(k * n + i) for i in range(n)]) for k in range(2)]
        for k in (2, 3):
            go(lambda k=k: [c.send(k * n + i) for i in range(n)])
        for _ in range(2):
            go(lambda: [out.send(v) for v in c])
            threads.append(spawn(lambda: [out.send(v) for v in c]))
        got = sorted(out.recv(timeout=50) for _ in range(4 * n))
        c.close()
        for t in threads:
            t.join(20)
        return got

    assert run(main) == list(range(4 * n))


def test_goroutines_live_on_when_the_thread_that_started_them_ends():
    out = Chan(str, 1)

    def thread():
        go(lambda: [sleep(0.05), out.send("done")])

    spawn(thread).join()
    assert out.recv(timeout=20) == "done"


def test_a_thread_started_by_a_goroutine():
    def main():
        out = Chan(int)
        t = threading.Thread(target=out.send, args=(5,))
        t.start()
        got = out.recv()
        t.join()
        return got, t.is_alive()

    assert run(main) == (5, False)


def test_a_thread_waits_in_select_for_goroutines():
    a, b, out = Chan(int), Chan(int), Chan(object, 2)
    thread = spawn(lambda: out.send(select(recv(a), send(b, 7))))
    go(lambda: out.send(b.recv()))
    got = [out.recv(timeout=20), out.recv(timeout=20)]
    assert (1, None, True) in got and 7 in got
    thread.join(20)


@pytest.mark.parametrize("place", PLACES)
def test_current_thread_may_be_asked_anywhere(place):
    def body():
        thread = threading.current_thread()
        return thread.name, thread.ident == threading.get_ident(), threading.get_ident() > 0

    name, same, positive = at(place, body)
    assert name and same and positive


@in_run
def test_dummy_threads_do_not_pile_up():
    """current_thread() in a goroutine makes a record; it goes with the goroutine."""

    def churn():
        over = Chan()
        for _ in range(200):
            go(lambda: [threading.current_thread(), over.send(None)])
        for _ in range(200):
            over.recv()

    churn()
    before = threading.active_count()
    for _ in range(5):
        churn()
    assert eventually(lambda: threading.active_count() <= before + 220)


# ------------------------------------------------------------------ the number of threads


def test_the_limit_of_threads():
    prints(
        """
        import goroutines as G
        print(G.set_max_threads(500), G.set_max_threads(10000))
        """,
        "10000 500",
    )


@pytest.mark.parametrize("n", [0, -1])
def test_a_limit_below_one(n):
    with pytest.raises(ValueError):
        set_max_threads(n)


def test_a_limit_that_is_no_int():
    with pytest.raises(TypeError):
        set_max_threads("many")


@pytest.mark.hang(90)
def test_when_threads_run_out_goroutines_wait_and_one_warning_is_given():
    done = script(
        """
        import os, sys, time, warnings
        import goroutines as G
        G.set_max_threads(4)
        warnings.simplefilter("always")
        most = 0
        def main():
            over = G.Chan()
            def body():
                time.sleep(0.02)
                over.send(None)
            for _ in range(50):
                G.go(body)
            for _ in range(50):
                over.recv()
            return "complete"
        print(G.run(main))
        print(G.debug.stats().threads <= 5)
        """,
        timeout=60,
    )
    assert done.stdout == "complete\nTrue\n", told(done)
    assert done.stderr.count("RuntimeWarning") == 1, told(done)
    assert done.returncode == 0


@pytest.mark.hang(90)
def test_when_the_system_gives_no_more_threads():
    done = script(
        """
        import resource, sys, time, warnings
        import goroutines as G
        warnings.simplefilter("always")
        def main():
            over = G.Chan()
            G.go(time.sleep, 0.05)
            G.sleep(0.1)
            # Address space runs out as threads are made, as do process limits.
            used = int(open("/proc/self/statm").read().split()[0]) * 4096
            resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
            def body():
                time.sleep(0.01)
                over.send(None)
            for _ in range(60):
                G.go(body)
            for _ in range(60):
                over.recv()
            return "complete"
        print(G.run(main))
        """,
        timeout=60,
    )
    # Either all could be served, or memory itself was refused with an exception; never a crash.
    assert done.returncode >= 0, told(done)
    assert "Deadlock" not in done.stderr, told(done)
    assert done.stdout == "complete\n" or "Error" in done.stderr, told(done)


def test_threads_that_are_idle_are_used_again():
    def main():
        over = Chan()
        for _ in range(10):
            for _ in range(20):
                go(lambda: [time.sleep(0.002), over.send(None)])
            for _ in range(20):
                over.recv()
        return debug.stats().threads

    before = debug.stats().threads
    assert run(main) < before + 60


# ------------------------------------------------------------------ stack_size


@in_run
def test_settings_by_keyword():
    stack_size(nbytes=stack_size(nbytes=1 << 20))
    set_max_threads(n=set_max_threads(n=100))
    gomaxprocs(n=gomaxprocs(n=2))
    sleep(seconds=0.001)
    for wrong in {"second": 1}, {}, {"seconds": 1, "more": 2}:
        with pytest.raises(TypeError, match="sleep"):
            sleep(**wrong)


@in_run
def test_stack_size_returns_the_previous_value():
    before = stack_size()
    assert isinstance(before, int) and before >= 0
    try:
        assert stack_size(4 << 20) == before
        assert stack_size() == 4 << 20
        out = Chan(int)
        go(out.send, 1)
        assert out.recv() == 1
    finally:
        stack_size(before)
    assert stack_size() == before


@pytest.mark.parametrize("n", [-1, -4096])
def test_a_negative_stack_size(n):
    with pytest.raises(ValueError):
        stack_size(n)


def test_a_stack_size_that_is_no_int():
    with pytest.raises(TypeError):
        stack_size("big")


def test_a_tiny_stack_size_is_refused_or_safe():
    done = script(
        """
        import goroutines as G
        try:
            G.stack_size(4096)
        except ValueError:
            print("ValueError")
        else:
            def depth(n):
                return 0 if n == 0 else 1 + depth(n - 1)
            out = G.Chan()
            G.go(lambda: out.send(depth(100)))
            out.recv(timeout=10)
            print("safe")
        """
    )
    assert done.stdout in ("ValueError\n", "safe\n"), told(done)
    assert done.returncode == 0, told(done)


@in_run
def test_parked_goroutines_hold_no_thread():
    before = len(os.listdir("/proc/self/task"))
    gate = Chan()
    for _ in range(2000):
        go(gate.recv_ok)
    parked(2000)
    assert len(os.listdir("/proc/self/task")) <= before + 5
    gate.close()
