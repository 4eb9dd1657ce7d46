"""Streams, time limits, closes and blocking calls on many descriptors at once: nothing is lost."""

import contextlib
import errno
import os
import socket
import threading
import time

import pytest
from goroutines import Chan, go, gosched, sleep, wait_readable, wait_writable

from .load import amount, crowd, dice, execute, on_all_procs

SHORT = [0, 1e-6, 1e-5, 1e-4, 1e-3, 10]


def send_all(sock, data, rng):
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view[: rng.randrange(1, 5000)]) :]
        except BlockingIOError:
            with contextlib.suppress(TimeoutError):
                wait_writable(sock, rng.choice(SHORT))


def receive_some(sock, rng):
    while True:
        try:
            return sock.recv(rng.randrange(1, 5000))
        except BlockingIOError:
            with contextlib.suppress(TimeoutError):
                wait_readable(sock, rng.choice(SHORT))


def a_pair():
    a, b = socket.socketpair()
    for sock in (a, b):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return a, b


@on_all_procs
def test_streams_in_both_directions(procs):
    """Each socket is read and written at the same time; all bytes arrive in order."""
    rng = dice()
    n, size = 12, amount(60_000)

    def main():
        pairs = [a_pair() for _ in range(n)]
        ends = [sock for pair in pairs for sock in pair]

        def body(i):
            mine = rng.child(i)
            sock = ends[i // 2]
            data = bytes(range(256)) * (size // 256)
            if i % 2:
                send_all(sock, data, mine)
                sock.shutdown(socket.SHUT_WR)
                return len(data)
            got = b""
            while part := receive_some(sock, mine):
                got += part
            assert got == data
            return len(got)

        results = crowd(2 * len(ends), body)
        for sock in ends:
            sock.close()
        return set(results)

    assert execute(procs, main) == {size // 256 * 256}


@on_all_procs
def test_tokens_among_many_readers(procs):
    """Goroutines and plain threads read one pipe; some compute or block in between."""
    rng = dice()
    n, readers = amount(600), 16

    def main():
        r, w = os.pipe()
        os.set_blocking(r, False)
        taken = []

        def take(i):
            mine = rng.child(i)
            while True:
                try:
                    token = os.read(r, 1)
                    if not token:
                        return
                    taken.append(token)
                except BlockingIOError:
                    with contextlib.suppress(TimeoutError):
                        wait_readable(r, mine.choice(SHORT))
                if mine.random() < 0.05:
                    time.sleep(0.001)

        threads = [threading.Thread(target=take, args=(100 + i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        out = Chan(object, 1)
        go(lambda: out.send(crowd(readers, take)))
        for i in range(n):
            os.write(w, b"x")
            if i % 7 == 0:
                (gosched if i % 2 else lambda: sleep(1e-4))()
        os.close(w)
        out.recv(timeout=100)
        for thread in threads:
            thread.join()
        os.close(r)
        return len(taken)

    assert execute(procs, main) == n


@on_all_procs
def test_numbers_are_used_again_and_again(procs):
    """Descriptors come and go, some with a duplicate left; every event reaches its own waiter."""
    rng = dice()

    def main():
        def body(i):
            mine = rng.child(i)
            for k in range(amount(40)):
                r, w = os.pipe()
                copies = []
                with contextlib.suppress(TimeoutError):
                    wait_readable(r, mine.choice([0, 1e-5, 1e-4]))
                if mine.random() < 0.3:
                    copies = [os.dup(r)]
                    os.close(r)
                    r = os.dup(copies[0])
                token = b"%d.%d" % (i, k)
                go(os.write, w, token)
                wait_readable(r, 60)
                assert os.read(r, 100) == token
                for fd in (r, w, *copies):
                    os.close(fd)
            return i

        return sorted(crowd(20, body))

    assert execute(procs, main) == list(range(20))


@pytest.mark.parametrize("replace", [False, True])
@on_all_procs
def test_replaced_under_the_waiters(procs, replace):
    """Waiters of a replaced file end with EBADF once somebody waits for the new one, or get it."""
    rng = dice()

    def main():
        outcomes = []
        for _ in range(amount(40)):
            (r, w), (r2, w2) = os.pipe(), os.pipe()
            ready = Chan(int, 10)

            def waiter(r=r, ready=ready):
                try:
                    wait_readable(r, 60)
                    ready.send(0)
                except OSError as error:
                    ready.send(error.errno)

            for _ in range(3):
                go(waiter)
            if rng.random() < 0.5:
                sleep(1e-4)
            if replace:
                os.dup2(r2, r)
            go(waiter)
            with contextlib.suppress(TimeoutError):
                wait_readable(r, 1e-4)
            os.write(w2 if replace else w, b"x")
            outcomes += [ready.recv(timeout=50) for _ in range(4)]
            for fd in (r, w, r2, w2):
                os.close(fd)
        return set(outcomes)

    assert execute(procs, main) <= ({0, errno.EBADF} if replace else {0})
