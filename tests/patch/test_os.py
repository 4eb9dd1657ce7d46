"""patch.os(): descriptors and children."""

import pytest
from helpers import script

from .waiting import HELPERS

PROLOGUE = f"""
{HELPERS}
import errno, os, signal, socket, threading
from goroutines import patch
patch.os()
"""


def run(source: str) -> str:
    done = script(PROLOGUE + source)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_many_read_on_few_threads() -> None:
    run(
        """
def read_into(fd):
    buffer = bytearray(1)
    return os.readv(fd, [buffer]) and bytes(buffer)

def main():
    pipes = [os.pipe() for _ in range(60)]
    ways = [lambda fd: os.read(fd, 1), read_into]
    shared = os.pipe()
    each = [started(ways[i % 2], r) for i, (r, w) in enumerate(pipes)]
    together = [started(os.read, shared[0], 1) for _ in range(20)]
    counter = os.eventfd(0)
    waiting = started(os.eventfd_read, counter)
    parked(81)
    few_threads()
    for r, w in pipes:
        os.write(w, b"x")
    assert [c.recv() for c in each] == [b"x"] * 60
    os.write(shared[1], bytes(range(20)))
    assert sorted(c.recv() for c in together) == [bytes([i]) for i in range(20)]
    os.eventfd_write(counter, 3)
    assert waiting.recv() == 3
    few_threads()

G.run(main)
"""
    )


def test_a_large_write_parks_until_all_has_gone() -> None:
    run(
        """
def read_all(fd, n):
    got = b""
    while len(got) < n:
        got += os.read(fd, 100_000)
    return got

DATA = bytes(range(256)) * 4000
PARTS = [DATA[:500_000], bytearray(DATA[500_000:]), b""]

def main():
    for make in [os.pipe, lambda: tuple(s.detach() for s in socket.socketpair())]:
        for write in [lambda fd: os.write(fd, DATA), lambda fd: os.writev(fd, PARTS)]:
            pairs = [make() for _ in range(60)]
            writers = [started(write, w) for r, w in pairs]
            parked(60)
            few_threads()
            assert not any(os.get_blocking(w) is False for r, w in pairs)
            for (r, w), done in zip(pairs, writers):
                assert read_all(r, len(DATA)) == DATA
                assert done.recv() == len(DATA)
                os.close(r)
                os.close(w)

G.run(main)
"""
    )


def test_a_large_write_ends_with_its_reader() -> None:
    run(
        """
def main():
    r, w = os.pipe()
    done = started(os.write, w, b"x" * 1_000_000)
    parked(1)
    assert len(os.read(r, 70_000)) == 65536
    parked(1)
    os.close(r)
    n = done.recv()
    assert 65536 <= n < 1_000_000, n
    assert outcome(lambda: os.write(w, b"x"))[0] is BrokenPipeError

G.run(main)
"""
    )


def test_sendfile() -> None:
    run(
        """
import tempfile

def read_all(fd, n):
    got = b""
    while len(got) < n:
        got += os.read(fd, 100_000)
    return got

def main():
    data = os.urandom(1_000_000)
    file = tempfile.TemporaryFile()
    file.write(data)
    file.flush()
    f = file.fileno()
    for make in [os.pipe, lambda: tuple(s.detach() for s in socket.socketpair())]:
        r, w = make()
        done = started(os.sendfile, w, f, 10, 2_000_000)
        parked(1)
        assert read_all(r, len(data) - 10) == data[10:]
        assert done.recv() == len(data) - 10
        os.lseek(f, 5, 0)
        assert os.sendfile(w, f, None, 7) == 7 and os.read(r, 100) == data[5:12]
        assert os.sendfile(w, f, offset=len(data), count=7) == 0
        assert outcome(lambda: os.sendfile(w, f, -1, 7))[0] is OSError

G.run(main)
"""
    )


def test_errors_and_the_rest_are_those_of_the_original() -> None:
    run(
        """
r, w = os.pipe()
os.set_blocking(r, False)
end, unread = os.pipe()
file = os.open("/proc/self/exe", os.O_RDONLY)
null = os.open("/dev/null", os.O_RDWR)
full, filled = os.pipe()
os.set_blocking(filled, False)
os.write(filled, b"x" * 1_000_000)
B = bytearray(3)

calls = [
    lambda: os.read(r, 1), lambda: os.read(1000, 1), lambda: os.read(-1, 1),
    lambda: os.read("x", 1),
    lambda: os.read(file, -1), lambda: os.read(r), lambda: os.pread(file, 4, 0),
    lambda: os.read(10**30, 1),
    lambda: os.read(null, 5), lambda: os.read(w, 5), lambda: os.readv(r, [B]),
    lambda: os.readv(r, 1),
    lambda: os.write(1000, b"x"), lambda: os.write(null, b"x" * 100_000), lambda: os.write(w, "x"),
    lambda: os.write(w, b""), lambda: os.write(r, b"x"), lambda: os.write(filled, b"x" * 100_000),
    lambda: os.write(w), lambda: os.writev(unread, [b"a", b"b"]), lambda: os.writev(w, ["a"]),
    lambda: os.writev(w, []), lambda: os.writev(w, 5), lambda: os.close(1000),
    lambda: os.close("x"),
    lambda: os.closerange(2000, 2010), lambda: os.closerange(5), lambda: os.dup2(1000, 1001),
    lambda: os.dup2(w, fd2=w), lambda: os.waitpid(1, 0), lambda: os.waitpid(os.getpid(), 0),
    lambda: os.waitpid(-1, 0), lambda: os.waitpid(10**30, 0), lambda: os.waitpid("x", 0),
    lambda: os.waitid(os.P_PID, os.getpid(), os.WEXITED),
    lambda: os.waitid(os.P_PIDFD, w, os.WEXITED),
    lambda: os.wait4(os.getpid(), 0), lambda: os.waitid(99, 0, os.WEXITED), lambda: os.waitpid(0),
]

def outcomes():
    return [outcome(call) for call in calls]

inside = G.run(outcomes)
patch.undo()
for i, (a, b) in enumerate(zip(inside, G.run(outcomes), strict=True)):
    assert a == b, (i, a, b)
"""
    )


@pytest.mark.parametrize("call", ["os.read(r, 1)", "os.write(w, bytes(1000000))"])
@pytest.mark.parametrize("by", ["goroutine", "thread"])
def test_closing_wakes(call: str, by: str) -> None:
    out = run(
        f"""
def main():
    for close in [os.close, lambda n: os.closerange(n, n + 1), lambda n: os.dup2(0, n)]:
        r, w = os.pipe()
        n = r if "read" in {call!r} else w
        done = started(lambda: {call})
        parked(1)
        if {by!r} == "thread":
            thread = threading.Thread(target=close, args=(n,))
            thread.start()
            thread.join()
        else:
            close(n)
        kind, text = done.recv(timeout=20)
        assert kind is OSError and "Errno 9" in text, (kind, text)
    print("ok")

G.run(main)
"""
    )
    assert out == "ok\n"


def test_waiting_for_children() -> None:
    run(
        """
def child():
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(w)
        os.read(r, 1)
        os._exit(7)
    os.close(r)
    return pid, w

def main():
    ways = [
        lambda pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]),
        lambda pid: os.waitstatus_to_exitcode(os.wait4(pid, options=0)[1]),
        lambda pid: os.waitid(os.P_PID, pid, os.WEXITED).si_status,
        lambda pid: os.waitid(os.P_PIDFD, os.pidfd_open(pid), os.WEXITED | os.WNOWAIT).si_status,
    ]
    children = [child() for _ in range(60)]
    waiting = [started(ways[i % 4], pid) for i, (pid, w) in enumerate(children)]
    parked(60)
    assert os.waitpid(children[0][0], os.WNOHANG) == (0, 0)
    few_threads()
    for pid, w in children:
        os.close(w)
    assert [c.recv() for c in waiting] == [7] * 60
    files = len(os.listdir("/proc/self/fd"))
    for pid, w in children[3::4]:
        assert os.waitpid(pid, 0)[0] == pid
    assert outcome(os.wait)[0] is ChildProcessError
    assert len(os.listdir("/proc/self/fd")) == files

G.run(main)
"""
    )


def test_stopped_children_and_any_child() -> None:
    run(
        """
def main():
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(3)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    done = started(os.waitpid, -1, 0)
    os.kill(pid, signal.SIGCONT)
    got, status = done.recv()
    assert got == pid and os.waitstatus_to_exitcode(status) == 3

G.run(main)
"""
    )
