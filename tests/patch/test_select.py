"""patch.select(): select, poll, epoll and what is made of them."""

import pytest
from helpers import scaled, script

from .waiting import HELPERS

PROLOGUE = f"""
{HELPERS}
import errno, os, select, selectors, socket, threading
from goroutines import patch
patch.select()

def poll_for(fds, events, timeout=None):
    p = select.poll()
    for fd in fds:
        p.register(fd, events)
    return p.poll(timeout)
"""


def run(source: str, **kwargs: float) -> str:
    done = script(PROLOGUE + source, **kwargs)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_many_wait_on_few_threads() -> None:
    run(
        """
def wait_select(a, b):
    return select.select([a, b], [], [])[0][0].fileno()

def wait_poll(a, b):
    return poll_for([a, b], select.POLLIN)[0][0]

def wait_one(a, b):
    return select.select([a], [], [])[0][0].fileno()

def wait_epoll(a, b):
    with select.epoll() as e:
        e.register(a, select.EPOLLIN)
        e.register(b, select.EPOLLIN)
        return e.poll()[0][0]

def main():
    ways = [wait_select, wait_poll, wait_one, wait_epoll]
    pairs = [socket.socketpair() for _ in range(60)]
    quiet = socket.socketpair()
    got = G.Chan(capacity=60)
    for i, (a, b) in enumerate(pairs):
        G.go(lambda i=i, b=b: got.send(ways[i % 4](b, quiet[0]) == b.fileno()))
    parked(60)
    few_threads()
    for a, b in pairs:
        a.send(b"x")
    assert all(got.recv() for _ in pairs)

G.run(main)
"""
    )


def test_results_and_errors_are_those_of_the_original() -> None:
    run(
        """
r, w = os.pipe()
file = open("/proc/self/exe", "rb")
closed = 40

class F:
    def fileno(self):
        return w

f = F()

def poll_of(timeout):
    p = select.poll()
    p.register(r, select.POLLIN)
    p.register(w, select.POLLOUT | select.POLLIN)
    return p.poll(timeout)

def epoll_of(*args, **kwargs):
    with select.epoll() as e:
        e.register(r, select.EPOLLIN)
        return e.poll(*args, **kwargs)

def shut():
    e = select.epoll()
    e.close()
    e.poll(0)

calls = [
    lambda: select.select([r], [w], [], 0.01), lambda: select.select([r], [], [], 0.01),
    lambda: select.select(iter([r]), (f, w), [], 1), lambda: select.select([file], [file], [file]),
    lambda: select.select([r], [], [file], 0.01), lambda: select.select([], [], [r, r], 0.01),
    lambda: select.select([r, r], [r], [], 0.01), lambda: select.select([], [], [], 0.01),
    lambda: select.select(1, [], []), lambda: select.select([], []),
    lambda: select.select([-1], [], []),
    lambda: select.select([closed], [], []), lambda: select.select(["x"], [], []),
    lambda: select.select([], [], [], -1), lambda: select.select([], [], [], "x"),
    lambda: select.select([], [], [], float("nan")), lambda: select.select([], [], [], 1e300),
    lambda: select.select([], [], [], 10**30), lambda: select.select([10**6], [], [], 1),
    lambda: poll_of(None), lambda: poll_of(-1), lambda: poll_of(10**30), lambda: poll_of(2**40),
    lambda: poll_of("x"), lambda: poll_for([r], select.POLLIN, 10.5), lambda: poll_for([closed], 1),
    lambda: poll_for([r], 0, 10), lambda: poll_for([], 0, 10), lambda: select.poll().poll(1, 2),
    lambda: epoll_of(0.01), lambda: epoll_of(timeout=0.01, maxevents=3), lambda: epoll_of(0.01, 0),
    lambda: epoll_of(0.01, -2), lambda: epoll_of("x"), lambda: epoll_of(10**10),
    lambda: epoll_of(timeouts=3), shut,
]

def outcomes():
    return [outcome(call) for call in calls]

inside = G.run(outcomes)
patch.undo()
for call, a, b in zip(calls, inside, G.run(outcomes), strict=True):
    assert a == b, (a, b)
"""
    )


def test_what_is_not_reported_wakes_once() -> None:
    # select() for writing does not report a hang-up; epoll and the poller always do.
    run(
        """
def main():
    r, w = os.pipe()
    os.close(w)
    before = time.process_time()
    for _ in range(3):
        assert select.select([], [], [r], 0.2) == ([], [], [])
    assert time.process_time() - before < 0.3
    assert poll_for([r], 0, 1000) == [(r, select.POLLHUP)]

G.run(main)
"""
    )


@pytest.mark.parametrize(
    "call",
    [
        "select.select([r], [], [])",
        "select.select([r], [], [r])",
        "select.select([other, r], [], [])",
        "poll_for([r], select.POLLIN)",
        "poll_for([other, r], select.POLLIN)",
        "e.poll()",
    ],
)
def test_closing_wakes(call: str) -> None:
    for close in ["os.close(n)", "os.closerange(n, n + 1)", "os.dup2(other, n)"]:
        out = run(
            f"""
r, w = os.pipe()
other, other_end = os.pipe()
e = select.epoll()
n = e.fileno() if {call!r}.startswith("e.") else r

def wait():
    try:
        {call}
    except OSError as exc:
        return exc.errno == errno.EBADF

def main():
    done = G.Chan(capacity=1)
    G.go(lambda: done.send(wait()))
    parked(1)
    {close}
    print(done.recv(timeout=20))

G.run(main)
"""
        )
        assert out == "True\n", close


def test_closing_one_of_two_sockets_wakes() -> None:
    run(
        """
patch.socket()

def main():
    pairs = [socket.socketpair() for _ in range(2)]
    done = G.Chan(capacity=1)
    G.go(lambda: done.send(outcome(lambda: select.select([a for a, b in pairs], [], []))[0]))
    parked(1)
    pairs[0][0].close()
    assert done.recv(timeout=20) is OSError

G.run(main)
"""
    )


def test_epoll_close_wakes() -> None:
    run(
        """
def main():
    e = select.epoll()
    done = G.Chan(capacity=1)
    G.go(lambda: done.send(outcome(e.poll)[0]))
    parked(1)
    e.close()
    assert done.recv(timeout=20) is OSError

G.run(main)
"""
    )


def test_a_fork_while_others_wait() -> None:
    run(
        """
def main():
    a, b = os.pipe()
    c, d = os.pipe()
    for _ in range(3):
        G.go(lambda: select.select([a, c], [], []))
    parked(3)
    pid = os.fork()
    if pid == 0:
        os.close(a)
        G.run(lambda: select.select([c], [d], []))
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7

G.run(main)
"""
    )


def test_selectors_and_asyncio() -> None:
    run(
        """
import asyncio

async def work(i):
    r, w = await asyncio.open_connection("127.0.0.1", port)
    w.write(b"%d\\n" % i)
    line = await r.readline()
    w.close()
    await asyncio.sleep(0.1)
    return line

async def serve():
    async def echo(r, w):
        w.write(await r.readline())
        await w.drain()
        w.close()
    global port
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    up.close()
    while not over_flag:
        await asyncio.sleep(0.02)
    server.close()

up = G.Chan()
over_flag = []

def main():
    ended = G.Chan(capacity=1)
    G.go(lambda: ended.send(asyncio.run(serve())))
    for _ in up:
        pass
    got = G.Chan(capacity=60)
    for i in range(60):
        G.go(lambda i=i: got.send(asyncio.run(work(i)) == b"%d\\n" % i))
    assert all(got.recv() for _ in range(60))
    few_threads()
    over_flag.append(1)
    ended.recv()

G.run(main)
""",
        timeout=60,
    )


def test_closing_a_descriptor_whose_number_is_used_again() -> None:
    run(
        """
import sys
sys.setswitchinterval(1e-5)
patch.os()
G.gomaxprocs(4)

def wait_for_pipes(over, n):
    for _ in range(n):
        (r, w), (quiet, other) = os.pipe(), os.pipe()
        G.go(os.write, w, b"x")
        assert select.select([r, quiet], [], [])[0] == [r]
        for fd in (r, w, quiet, other):
            os.close(fd)
    over.send(True)

def open_and_close(stop):
    while not stop:
        for fd in os.pipe():
            os.close(fd)

def main():
    over, stop = G.Chan(capacity=4), []
    for _ in range(4):
        G.go(open_and_close, stop)
        G.go(wait_for_pipes, over, %d)
    for _ in range(4):
        assert over.recv(timeout=60)
    stop.append(True)

G.run(main)
"""
        % scaled(500, 50)
    )
