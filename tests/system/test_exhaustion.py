"""The system has no more: memory, address space, mappings, threads, descriptors.

Rule: `go` raises MemoryError, or waits (for threads: with one RuntimeWarning). What already runs
goes on. Nobody calls it a deadlock, nothing crashes, and when there is more again work goes on.
"""

import importlib.util
import os
import resource
import textwrap
from pathlib import Path

import pytest
from helpers import scaled, script, told

# ------------------------------------------------------------------ memory

NO_MEMORY = """
import _testcapi, sys, warnings
import goroutines as G
from goroutines import debug
import goroutines._elem, goroutines._copy

warnings.simplefilter("ignore")
G.excepthook = lambda args: None

def start():
    c = G.Chan(capacity=1)
    G.go(c.send, 1)
    return c.recv(timeout=1)

def buffers():
    c = G.Chan(list[int], 100)
    for i in range(30):
        c.send([i])
    return repr(c)

def by_value():
    c = G.Chan(capacity=1, by_value=True)
    c.send([1, {2: 3}])
    return c.recv_ok()

def selects():
    a, b = G.Chan(capacity=1), G.Chan()
    G.select(G.recv(b), G.send(a, 1), G.recv(None), G.recv(b), G.recv(b), timeout=1)
    G.select(G.recv(a), default=True)

def timers():
    t = G.Timer(0.0005)
    t.chan.recv(timeout=1)
    t.reset(10)
    t.stop()
    with G.Ticker(0.001) as k:
        k.chan.recv(timeout=1)

def functions():
    c = G.Chan(capacity=1)
    G.after_func(0.0005, c.send, 1)
    c.recv(timeout=1)
    f = G.after_func(10, print)
    f.reset(5)
    f.stop()

def looks():
    debug.stats()
    debug.stacks()

def closes():
    c = G.Chan()
    c.close()
    for use in (c.recv, c.recv_ok, c.close):
        try:
            use()
        except G.ChannelClosed:
            pass

def parks():
    G.go(G.select)
    G.gosched()

def inner_run():
    G.run(parks)

# No function is made here: with no memory for one, CPython 3.13 drops its code once too often.

def with_failures(op, first, n):
    _testcapi.set_nomemory(first, first + n)
    try:
        op()
        return 0
    except (MemoryError, TimeoutError):
        return 1
    finally:
        _testcapi.remove_mem_hooks()

def main(*ops):
    for op in ops:
        op()
        failed = sum(with_failures(op, first, n) for first in range(50) for n in (1, 5))
        assert failed, op
        op()  # all is well again
"""


@pytest.mark.skipif(not importlib.util.find_spec("_testcapi"), reason="no _testcapi")
@pytest.mark.parametrize("place", ["main", "G.run(main, "], ids=["main thread", "run"])
def test_each_allocation_fails_once(place: str):
    """None of them crashes, hangs, or leaves with anything but a MemoryError."""
    ops = "start, buffers, by_value, selects, timers, functions, looks, closes"
    call = f"main({ops}, inner_run)" if place == "main" else f"G.run(main, {ops})"
    done = script(
        NO_MEMORY
        + "for _ in range(5):\n    G.go(G.select)\n"
        + f'{call}\nprint("over", file=sys.stdout)\n',
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (0, "over\n"), told(done)
    assert "SystemError" not in done.stderr, told(done)


@pytest.mark.skipif(not importlib.util.find_spec("_testcapi"), reason="no _testcapi")
def test_a_thread_that_gets_no_memory_to_begin():
    """It ended the process; now its work waits for another one."""
    done = script(
        """
        import _testcapi, time
        import goroutines as G

        out = G.Chan(capacity=10)
        for _ in range(5):
            G.after_func(0.05, out.send, 1)
        # With the M blocked in C, the timers' goroutines need a new one.
        G.go(time.sleep, 0.5)
        time.sleep(0.02)
        sleep, duration = time.sleep, 0.2
        _testcapi.set_nomemory(0, 3)
        sleep(duration)
        _testcapi.remove_mem_hooks()
        print(sum(out.recv(timeout=10) for _ in range(5)))
        """
    )
    assert (done.returncode, done.stdout) == (0, "5\n"), told(done)


@pytest.mark.parametrize("guard", ["madvise", "mprotect"])
@pytest.mark.hang(120)
def test_address_space_is_limited(guard: str):
    """`go` raises MemoryError; those that run go on, and can be followed by others."""
    done = script(
        """
        import resource
        import goroutines as G

        def vm():
            with open("/proc/self/statm") as f:
                return int(f.read().split()[0]) * resource.getpagesize()

        gate, out = G.Chan(), G.Chan()

        def body(i):
            gate.recv_ok()
            out.send(i)

        def main():
            limit = vm() + (1 << 30)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            started = 0
            try:
                while True:
                    G.go(body, started)
                    started += 1
            except MemoryError as e:
                failed = e
            del failed
            gate.close()
            assert sum(out.recv() for _ in range(started)) == started * (started - 1) // 2
            while G.num_goroutine() > 1:  # what they have is free when they have ended
                G.sleep(0.001)
            for i in range(200):
                G.go(body, i)
                out.recv()
            return started

        started = G.run(main)
        print(started > 100, G.run(lambda: "again"))
        """,
        env={"GOROUTINES_STACK_GUARD": guard} if guard == "mprotect" else None,
        timeout=90,
    )
    assert (done.returncode, done.stdout) == (0, "True again\n"), told(done)
    assert "Deadlock" not in done.stderr


@pytest.mark.hang(200)
def test_more_stacks_than_mappings():
    """Guards of the mprotect kind take two mappings each, and stop before all are used: the
    process can still map memory and start threads."""
    done = script(
        f"""
        import mmap, threading
        import goroutines as G

        n = {scaled(40_000)}
        gate, out = G.Chan(), G.Chan(int, n)

        def main():
            for i in range(n):
                G.go(lambda i=i: [gate.recv_ok(), out.send(i)])
            kept = [mmap.mmap(-1, 4096) for _ in range(100)]
            t = threading.Thread(target=print, args=["a thread"])
            t.start()
            t.join()
            gate.close()
            return sum(out.recv() for _ in range(n)) == n * (n - 1) // 2

        print(G.run(main))
        """,
        env={"GOROUTINES_STACK_GUARD": "mprotect"},
        timeout=150,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a thread\nTrue\n", ""), told(done)


# ------------------------------------------------------------------ threads

# As a user of its own, whose processes and threads nobody else adds to.  What is imported later
# must be readable for that user, so it is imported before.
OTHER_USER = """
import os, random, resource, signal, sys, threading, time, traceback, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import linecache, goroutines._forked, goroutines._hook, goroutines._inherit, goroutines._copy
import goroutines as G

def other_user(threads):
    os.setgroups([])
    user = 100_000 + random.SystemRandom().randrange(1_000_000_000)
    os.setresuid(user, user, user)
    limit_threads(threads)

def limit_threads(n):
    resource.setrlimit(resource.RLIMIT_NPROC, (n, 500))
"""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")


def warned_once(done) -> bool:
    return done.stderr.count("RuntimeWarning: goroutines: no more OS threads") == 1


@root_only
def test_threads_run_out():
    """Twenty goroutines block in C and eight threads are allowed: the others wait."""
    done = script(
        OTHER_USER
        + textwrap.dedent(
            """
            def main():
                out = G.Chan(int, 100)
                for i in range(20):
                    G.go(lambda i=i: [time.sleep(0.1), out.send(i)])
                G.go(G.sleep, 0.001)
                got = sum(out.recv() for _ in range(20))
                G.go(int)
                return got
            other_user(8)
            print(G.run(main))
            """
        )
    )
    assert (done.returncode, done.stdout) == (0, "190\n"), told(done)
    assert warned_once(done), told(done)


@root_only
@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
def test_no_thread_at_all(place: str):
    """Not even the first one, nor the runtime's own (it has none yet in a forked child): goroutines
    wait, without DeadlockError, until there can be one."""
    done = script(
        OTHER_USER
        + textwrap.dedent(
            f"""
            def more(*args):
                limit_threads(50)
            def main():
                return out.recv()
            other_user(500)
            pid = os.fork()
            if pid:
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            limit_threads(1)
            signal.signal(signal.SIGALRM, more)
            signal.setitimer(signal.ITIMER_REAL, 1)
            out = G.Chan()
            if "run" in {place!r}:
                main = lambda: [G.go(out.send, "at last"), out.recv()][1]
            else:
                G.go(out.send, "at last")
            start = time.monotonic()
            print({place}, time.monotonic() - start > 0.9)
            """
        )
    )
    assert (done.returncode, done.stdout) == (0, "at last True\n"), told(done)
    assert done.stderr.count("RuntimeWarning") <= 1, told(done)


@root_only
def test_a_goroutine_may_start_no_thread_of_its_own():
    """`threading` says so as always, and the goroutines go on."""
    done = script(
        OTHER_USER
        + textwrap.dedent(
            """
            def main():
                out = G.Chan()
                try:
                    threading.Thread(target=int).start()
                except RuntimeError as e:
                    G.go(out.send, str(e))
                    return out.recv()
            G.run(lambda: G.sleep(0.01))
            other_user(1)
            print(G.run(main))
            """
        )
    )
    assert (done.returncode, done.stdout) == (0, "can't start new thread\n"), told(done)


def pids_cgroup(n: int) -> Path:
    """A group of processes that may have n threads; skips the test where none can be made."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base = Path("/sys/fs/cgroup" + path)
        elif "pids" in controllers.split(","):
            base = Path("/sys/fs/cgroup/pids" + path)
        else:
            continue
        group = base / f"goroutines-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / "pids.max").write_text(f"{n}\n")
            return group
        except OSError:
            if group.exists():
                group.rmdir()
    pytest.skip("no cgroup with a limit on threads can be made here")


def test_threads_run_out_in_a_cgroup():
    """pids.max holds for root, too."""
    group = pids_cgroup(6)
    try:
        done = script(
            f"""
            import os, time
            import goroutines as G
            with open({str(group / "cgroup.procs")!r}, "w") as f:
                f.write(str(os.getpid()))
            def main():
                out = G.Chan(int, 100)
                for i in range(20):
                    G.go(lambda i=i: [time.sleep(0.1), out.send(i)])
                got = sum(out.recv() for _ in range(20))
                G.go(int)
                return got
            print(G.run(main))
            """
        )
    finally:
        group.rmdir()
    assert (done.returncode, done.stdout) == (0, "190\n"), told(done)
    assert warned_once(done), told(done)


# ------------------------------------------------------------------ descriptors


def test_descriptors_run_out():
    """Nothing in here needs one: goroutines start, block, hand off, time out and end without."""
    done = script(
        """
        import os, resource, time
        import goroutines as G

        def main():
            out = G.Chan(int, 10)
            for i in range(10):
                G.go(lambda i=i: [time.sleep(0.05), out.send(i)])
            G.after(0.01).recv()
            for _ in range(3):
                G.go(time.sleep, 600)  # blocked in C as run() ends
            G.go(G.select)
            got = sum(out.recv() for _ in range(10))
            try:
                os.pipe()
            except OSError as e:
                return got, e.strerror

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        kept = []
        try:
            while True:
                kept.append(os.dup(0))
        except OSError:
            pass
        print(G.run(main))
        """
    )
    assert done.stdout == "(45, 'Too many open files')\n", told(done)
    assert (done.returncode, done.stderr) == (0, ""), told(done)


def test_this_process_is_not_limited():
    """The limits above were those of the programs."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
