"""wait_readable and wait_writable: readiness, limits, many waiters, descriptors that go away."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import goroutines as G
import pytest
from goroutines import (
    Chan,
    GoroutineExit,
    go,
    lock_os_thread,
    run,
    sleep,
    wait_readable,
    wait_writable,
)
from helpers import in_run, on_procs, prints, scaled, script, slack, told

from .support import PLACES, at, attempt, parked, spawn, waiting

WAITS = [wait_readable, wait_writable]
LONG = 30


@contextlib.contextmanager
def a_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        yield a, b


@contextlib.contextmanager
def a_pipe() -> Iterator[tuple[int, int]]:
    r, w = os.pipe()
    os.set_blocking(w, False)
    try:
        yield r, w
    finally:
        for fd in (r, w):
            with contextlib.suppress(OSError):
                os.close(fd)


def fill(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


def drain(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # empty, or closed as the test has ended meanwhile
        while sock.recv(65536):
            pass


def later(fn: Callable[..., Any], *args: Any) -> None:
    """fn(*args) in a plain thread, after a moment in which others begin to wait."""
    threading.Timer(0.03, fn, args).start()


def told_by(fn: Callable[..., Any], *args: Any) -> Chan[Any]:
    """What becomes of fn(*args) in a goroutine: its result, errno or the exception's type."""
    out = Chan(object, 1)

    def body() -> None:
        try:
            out.send(fn(*args))
        except OSError as error:
            out.send(error.errno or type(error))

    go(body)
    return out


# ---- one wait ----


@pytest.mark.parametrize("place", PLACES)
def test_ready_at_once(place):
    with a_pair() as (a, b):
        b.send(b"x")
        for _ in range(3):
            assert at(place, wait_readable, a) is None
            assert at(place, wait_writable, a.fileno()) is None
            assert at(place, wait_readable, a, 0) is None
        assert a.recv(10) == b"x"


@pytest.mark.parametrize("place", PLACES)
def test_ready_later(place):
    with a_pair() as (a, b):
        later(b.send, b"x")
        assert at(place, wait_readable, a, LONG) is None
        assert a.recv(10) == b"x"
        fill(a)
        later(drain, b)
        assert at(place, lambda: wait_writable(fd=a, timeout=None)) is None
        assert a.send(b"y") == 1


@pytest.mark.parametrize("place", PLACES)
def test_the_other_end_closes(place):
    with a_pipe() as (r, w):
        later(os.close, w)
        assert at(place, wait_readable, r, LONG) is None
        assert os.read(r, 1) == b""
    with a_pair() as (a, b):
        fill(a)
        later(b.close)
        assert at(place, wait_writable, a, LONG) is None
        with pytest.raises(BrokenPipeError):
            a.send(b"x")


@pytest.mark.parametrize("seconds", [0, 0.0005, 0.05])
@pytest.mark.parametrize("place", PLACES)
def test_timeouts(place, seconds):
    with a_pair() as (a, b):
        fill(a)
        for wait in WAITS:
            start = time.monotonic()
            with pytest.raises(TimeoutError, match=wait.__name__):
                at(place, wait, a, seconds)
            assert seconds <= time.monotonic() - start < seconds + slack(3)
        b.send(b"x")
        assert at(place, wait_readable, a, float("inf")) is None


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_refused(place, wait):
    with a_pipe() as (r, _):
        for fd in (-1, -(2**31), -(2**80)):
            with pytest.raises(ValueError, match="negative"):
                at(place, wait, fd)
        for fd in ("1", 1.0, None, object()):
            with pytest.raises(TypeError):
                at(place, wait, fd)
        for timeout in (-1, float("nan")):
            with pytest.raises(ValueError):
                at(place, wait, r, timeout)
        with pytest.raises(TypeError):
            at(place, wait, r, "1")
        with pytest.raises(TypeError):
            at(place, wait)
        with pytest.raises(OverflowError):
            at(place, wait, 2**80)
        gone = os.dup(r)
        os.close(gone)
        for timeout in (0, 1, None):
            with pytest.raises(OSError) as caught:
                at(place, wait, gone, timeout)
            assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("place", PLACES)
def test_an_object_with_fileno(place):
    class Wrapped:
        def __init__(self, fd: object) -> None:
            self.fd = fd

        def fileno(self) -> Any:
            if self.fd is None:
                raise KeyError("no fd")
            return self.fd

    with a_pair() as (a, _):
        assert at(place, wait_writable, Wrapped(a.fileno())) is None
    for fd, error in ((None, KeyError), ("1", TypeError), (-1, ValueError)):
        with pytest.raises(error):
            at(place, wait_writable, Wrapped(fd))
    with pytest.raises(ValueError):
        at(place, wait_readable, a)  # a closed socket has fileno() -1


# ---- kinds of descriptors ----


@pytest.mark.parametrize("place", PLACES)
def test_what_is_always_ready(place, tmp_path):
    with open(tmp_path / "file", "w+b") as file, open(os.devnull, "r+b", 0) as null:
        for f in (file, null):
            for wait in WAITS:
                assert at(place, wait, f) is None
                assert at(place, wait, f, 0) is None


@pytest.mark.parametrize("place", PLACES)
def test_eventfd(place):
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        with pytest.raises(TimeoutError):
            at(place, wait_readable, fd, 0.01)
        later(os.eventfd_write, fd, 1)
        at(place, wait_readable, fd, LONG)
        assert os.eventfd_read(fd) == 1
    finally:
        os.close(fd)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="no os.timerfd_create")
@pytest.mark.parametrize("place", PLACES)
def test_timerfd(place):
    fd = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK)
    try:
        os.timerfd_settime(fd, initial=0.02)
        at(place, wait_readable, fd, LONG)
        assert int.from_bytes(os.read(fd, 8), sys.byteorder) == 1
    finally:
        os.close(fd)


@pytest.mark.parametrize("place", PLACES)
def test_pty(place):
    ours, theirs = pty.openpty()
    try:
        later(os.write, theirs, b"x\n")
        at(place, wait_readable, ours, LONG)
        assert os.read(ours, 10).startswith(b"x")
    finally:
        os.close(ours)
        os.close(theirs)


@in_run
def test_output_of_a_process():
    with subprocess.Popen(["sh", "-c", "sleep 0.05; echo x"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        wait_readable(process.stdout, LONG)
        assert process.stdout.read() == b"x\n"


@in_run
def test_a_server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def serve(client: socket.socket) -> None:
            with client:
                client.setblocking(False)
                while True:
                    wait_readable(client, LONG)
                    data = client.recv(100)
                    if not data:
                        return
                    client.send(data.upper())

        def accept() -> None:
            while True:
                wait_readable(server)
                go(serve, server.accept()[0])

        go(accept)
        n = scaled(50, 5)
        out = Chan(bytes, n)

        def client(i: int) -> None:
            with socket.socket() as s:
                s.setblocking(False)
                s.connect_ex(server.getsockname())
                wait_writable(s, LONG)
                for word in (b"one", b"two", b"three"):
                    s.send(word)
                    wait_readable(s, LONG)
                    assert s.recv(100) == word.upper()
                out.send(b"%d" % i)

        for i in range(n):
            go(client, i)
        got = {out.recv(timeout=LONG) for _ in range(n)}
        assert got == {b"%d" % i for i in range(n)}


# ---- many waiters ----


@pytest.mark.parametrize("n_procs", [1, 2, 4, 8])
def test_both_directions_of_one_descriptor(n_procs):
    n = scaled(100, 10)

    def main() -> None:
        with a_pair() as (a, b):
            fill(a)
            readers, writers = Chan(object, n), Chan(object, n)
            for _ in range(n):
                go(lambda: readers.send(wait_readable(a)))
                go(lambda: writers.send(wait_writable(a)))
            parked(2 * n, "IO wait")
            drain(b)
            for _ in range(n):
                writers.recv(timeout=LONG)
            assert waiting("IO wait") == n and len(readers) == 0
            b.send(b"x")
            for _ in range(n):
                readers.recv(timeout=LONG)

    on_procs(n_procs, main)


@pytest.mark.parametrize("n_procs", [1, 2, 4, 8])
def test_thousands_of_descriptors(n_procs):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(scaled(10000, 100), hard - 200)

    def main(fds: list[int]) -> None:
        fds += [os.eventfd(0) for _ in range(n)]
        out = Chan(object, n)
        threads = G.debug.stats().threads  # those of the tests before among them

        def member(fd: int) -> None:
            wait_readable(fd)
            out.send(fd)

        for fd in fds:
            go(member, fd)
        sleep(0.1)
        assert len(out) == 0 and G.debug.stats().threads < threads + 50
        for fd in reversed(fds):
            os.eventfd_write(fd, 1)
        assert {out.recv(timeout=LONG) for _ in fds} == set(fds)

    fds: list[int] = []
    try:
        on_procs(n_procs, lambda: main(fds))
    finally:
        for fd in fds:
            os.close(fd)


def test_from_threads_and_goroutines_at_once():
    with a_pair() as (a, b):
        n = 5
        over: list[object] = []
        threads = [
            threading.Thread(target=lambda: over.append(attempt(wait_readable, a, LONG).error))
            for _ in range(n)
        ]
        for thread in threads:
            thread.start()

        @in_run
        def main() -> None:
            told = [told_by(wait_readable, a, LONG) for _ in range(n)]
            parked(n, "IO wait")
            b.send(b"x")
            assert [out.recv(timeout=LONG) for out in told] == [None] * n

        main()
        for thread in threads:
            thread.join()
        assert over == [None] * n


# ---- readiness is the kernel's, and so are the numbers ----


@pytest.mark.parametrize("place", PLACES)
def test_not_ready_again_once_used_up(place):
    def body() -> None:
        with a_pair() as (a, b):
            for _ in range(20):
                b.send(b"x")
                wait_readable(a, LONG)
                assert a.recv(10) == b"x"
                with pytest.raises(TimeoutError):
                    wait_readable(a, 0.0005)
                fill(a)
                with pytest.raises(TimeoutError):
                    wait_writable(a, 0.0005)
                drain(b)
                wait_writable(a, LONG)

    at(place, body)


@pytest.mark.parametrize("kept", [False, True])
@in_run
def test_a_number_is_used_again_between_waits(kept):
    """With a duplicate, epoll still knows the old file under this number."""
    for _ in range(scaled(50, 5)):
        a, b = socket.socketpair()
        number = a.fileno()
        with pytest.raises(TimeoutError):
            wait_readable(a, 0.0002)
        copy = os.dup(number) if kept else -1
        a.close()
        r, w = os.pipe()
        if r != number:
            os.dup2(r, number)
            os.close(r)
        out = told_by(wait_readable, number, LONG)
        parked(1, "IO wait")
        if kept:
            b.send(b"x")  # of no interest to those who wait for the pipe
            sleep(0.001)
            assert len(out) == 0
        os.write(w, b"x")
        assert out.recv(timeout=LONG) is None
        for fd in (number, w):
            os.close(fd)
        b.close()
        if kept:
            os.close(copy)


@in_run
def test_replaced_while_waiting():
    """Who waits for the old file learns of it when somebody waits for the new one."""
    with a_pair() as (a, _), a_pair() as (c, d):
        old = told_by(wait_readable, a, LONG)
        parked(1, "IO wait")
        os.dup2(c.fileno(), a.fileno())
        new = told_by(wait_readable, a, LONG)
        assert old.recv(timeout=LONG) == errno.EBADF
        d.send(b"x")
        assert new.recv(timeout=LONG) is None


# ---- beside other goroutines ----


@pytest.mark.parametrize("n_procs", [1, 2, 4, 8])
def test_beside_one_that_computes(n_procs):
    def main() -> None:
        with a_pair() as (a, b):
            out = told_by(wait_readable, a, LONG)
            parked(1, "IO wait")
            stop: list[object] = []

            def compute() -> None:
                b.send(b"x")
                while not stop:
                    pass

            go(compute)
            assert out.recv(timeout=LONG) is None
            stop.append(1)

    on_procs(n_procs, main)


@pytest.mark.parametrize("n_procs", [1, 2, 4, 8])
def test_beside_one_that_blocks(n_procs):
    """The event comes from a plain thread while the only other goroutine is in a blocking call."""

    def main() -> None:
        with a_pair() as (a, b):
            woken: list[float] = []

            def member() -> None:
                wait_readable(a, LONG)
                woken.append(time.monotonic())

            go(member)
            parked(1, "IO wait")
            later(b.send, b"x")
            time.sleep(slack(1))
            assert woken and time.monotonic() - woken[0] > slack(0.3)

    on_procs(n_procs, main)


@pytest.mark.parametrize("n_procs", [1, 2])
def test_wired_to_its_thread(n_procs):
    def main() -> None:
        lock_os_thread()
        ident = threading.get_native_id()
        with a_pair() as (a, b):
            for _ in range(3):
                later(b.send, b"x")
                wait_readable(a, LONG)
                a.recv(10)
        assert threading.get_native_id() == ident

    on_procs(n_procs, main)


@in_run
def test_reason_in_stacks():
    with a_pair() as (a, b):
        out = told_by(wait_readable, a)
        parked(1, "IO wait")
        b.send(b"x")
        out.recv(timeout=LONG)
        assert waiting("IO wait") == 0


def test_waiting_costs_nothing():
    done = script(
        """
        import os, time, goroutines as G
        def main():
            for _ in range(100):
                G.go(G.wait_readable, os.pipe()[0])
            G.sleep(0.2)
            before = time.process_time()
            G.sleep(1)
            return time.process_time() - before
        print(G.run(main))
        """
    )
    assert done.returncode == 0, told(done)
    assert float(done.stdout) < 0.05


# ---- ends ----


def test_end_of_run():
    log: list[str] = []

    def member(wait: Callable[..., None], a: socket.socket) -> None:
        try:
            wait(a)
        except GoroutineExit:
            log.append("exit")
            raise
        finally:
            log.append("finally")

    with a_pair() as (a, b):
        fill(a)

        @in_run
        def main() -> None:
            for wait in WAITS:
                for _ in range(3):
                    go(member, wait, a)
            parked(6, "IO wait")

        main()
        assert sorted(log) == ["exit"] * 6 + ["finally"] * 6
        b.send(b"x")
        assert run(wait_readable, a, LONG) is None


def test_an_event_after_the_end():
    """The M in the poller wakes when no goroutine may run any more."""
    prints(
        """
        import atexit, os, time
        r, w = os.pipe()
        atexit.register(lambda: [os.write(w, b"x"), time.sleep(0.05), print("end")])
        import goroutines as G
        for _ in range(3):
            G.go(lambda: [G.wait_readable(r), print("never")])
        G.sleep(0.05)
        """,
        "end",
    )


def test_cleanup_may_wait_for_a_descriptor():
    """It does not sleep for good: GoroutineExit comes once."""
    log: list[str] = []
    with a_pair() as (a, b):

        def help_later() -> None:
            while not log:
                time.sleep(0.01)
            time.sleep(0.1)
            b.send(b"x")

        # Not by a thread that cleanup starts: it would be blocked in C meanwhile, and left behind.
        spawn(help_later)

        def member() -> None:
            try:
                Chan().recv()
            finally:
                log.append("cleanup")
                wait_readable(a, LONG)
                log.append("cleaned up")

        @in_run
        def main() -> None:
            go(member)
            parked()

        main()
    assert log == ["cleanup", "cleaned up"]


@pytest.mark.parametrize("where", ["main goroutine", "main thread"])
@pytest.mark.parametrize("timeout", ["None", "60"])
def test_ctrl_c(where, timeout):
    call = "G.wait_readable(r, T)" if where == "main thread" else "G.run(G.wait_readable, r, T)"
    done = script(
        f"""
        import os, signal, threading, time, goroutines as G
        T = {timeout}
        r, w = os.pipe()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted")
        os.write(w, b"x")
        print(G.wait_readable(r), G.run(G.wait_readable, r, 10))
        """
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\nNone None\n"), told(done)


def test_a_handler_that_does_not_raise():
    prints(
        """
        import os, signal, threading, goroutines as G
        r, w = os.pipe()
        signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        threading.Timer(0.3, os.write, (w, b"x")).start()
        print(G.wait_readable(r))
        """,
        "handled\nNone",
    )


# ---- deadlocks ----


def test_a_descriptor_can_wake_somebody():
    """While one waits for a descriptor there is no DeadlockError; afterwards there is."""
    done = script(
        """
        import os, goroutines as G
        r, w = os.pipe()
        c = G.Chan()
        if os.fork() == 0:
            import time
            time.sleep(1)
            os._exit(os.write(w, b"x") - 1)
        os.close(w)
        def wait():
            G.wait_readable(r)
            print("woken", os.read(r, 1), flush=True)
        def main():
            G.go(wait)
            c.recv()
        G.run(main)
        """
    )
    assert done.stdout == "woken b'x'\n", told(done)
    assert "DeadlockError: all goroutines are asleep" in done.stderr, told(done)


def test_main_waits_for_a_descriptor():
    with a_pair() as (a, b):

        def main() -> None:
            go(Chan().recv)
            with pytest.raises(TimeoutError):
                wait_readable(a, 0.5)
            b.send(b"x")
            wait_readable(a)

        run(main)


# ---- fork ----


def test_fork():
    prints(
        """
        import os, goroutines as G, warnings
        warnings.simplefilter("ignore")
        r, w = os.pipe()
        def ready(fd):
            try:
                G.wait_readable(fd, 0.1)
            except TimeoutError:
                return False
            return True
        def main():
            over = G.Chan()
            G.go(lambda: over.send(G.wait_readable(r)))
            G.sleep(0.05)
            for i in range(5):
                pid = os.fork()
                if pid == 0:
                    mine = os.pipe()
                    done = G.Chan(bool, 1)
                    G.go(lambda: done.send(ready(mine[0])))
                    G.sleep(0.01)
                    os.write(mine[1], b"x")
                    os._exit(3 if done.recv(timeout=10) and not ready(r) else 4)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
            os.write(w, b"x")
            return over.recv(timeout=10)
        print(G.run(main))
        """,
        "None",
    )


def test_all_descriptors_closed_as_daemons_do():
    prints(
        """
        import os, goroutines as G
        def main():
            for _ in range(3):
                r, w = os.pipe()
                out = G.Chan(object, 1)
                G.go(lambda: out.send(G.wait_readable(r)))
                G.sleep(0.01)
                os.write(w, b"x")
                out.recv(timeout=10)
                os.closerange(3, 200)
        G.run(main)
        print("done")
        """,
        "done",
    )
