"""patch.socket(): goroutines share buffered files over sockets."""

import pytest
from helpers import scaled

from .sockets import run

# With one P all goroutines are on one thread, which the file's own lock takes for one caller.
on_procs = pytest.mark.parametrize("procs", [1, 2])


@on_procs
@pytest.mark.parametrize(
    "read", ["f.readline()", "f.read(6)", "f.peek(1) and f.readline()", "bytes_of(f.readinto)"]
)
def test_each_of_many_readers_gets_something_else(read, procs):
    n = scaled(200, 20)
    run(
        f"""
def bytes_of(readinto):
    buffer = bytearray(6)
    return bytes(buffer[: readinto(buffer)])

def main():
    G.gomaxprocs({procs})
    far, near = socket.socketpair()
    f = near.makefile("rb")
    def reader():
        lines = []
        while line := {read}:
            lines.append(line)
        return lines
    readers = [in_background(reader) for _ in range(4)]
    G.sleep(0.02)
    for i in range({n}):
        far.sendall(b"%05d\\n" % i)
        G.gosched()
    far.close()
    lines = [line for reader in readers for line in reader()]
    assert sorted(lines) == [b"%05d\\n" % i for i in range({n})]
"""
    )


@on_procs
def test_what_many_write_is_not_mixed(procs):
    n = scaled(20, 5)
    run(
        f"""
def main():
    G.gomaxprocs({procs})
    far, near = socket.socketpair()
    f = near.makefile("wb")
    def writer(k):
        for _ in range({n}):
            f.write(bytes([65 + k]) * 100_000 + b"\\n")
            f.flush()
    writers = [in_background(writer, k) for k in range(4)]
    lines = far.makefile("rb")
    got = [lines.readline() for _ in range(4 * {n})]
    for result in writers:
        result()
    assert all(len(line) == 100_001 and len(set(line)) == 2 for line in got)
"""
    )


@on_procs
def test_close_waits_for_a_reader(procs):
    run(
        f"""
def main():
    G.gomaxprocs({procs})
    far, near = socket.socketpair()
    f = near.makefile("rb")
    line = in_background(f.readline)
    G.sleep(0.02)
    closed = in_background(f.close)
    G.sleep(0.02)
    assert not f.closed
    far.sendall(b"line\\n")
    assert line() == b"line\\n"
    closed()
    assert f.closed
"""
    )


def test_a_call_from_within_is_still_an_error():
    run(
        """
import io

class Raw(io.RawIOBase):
    def readable(self):
        return True
    def readinto(self, buffer):
        seen.append(raised(f.read, 1))
        return 0

def main():
    assert f.read(1) == b""
    assert type(seen[0]) is RuntimeError and "reentrant call" in str(seen[0])

seen = []
f = io.BufferedReader(Raw())
"""
    )


def test_the_end_of_run_reaches_those_that_wait():
    out = run(
        """
def main():
    G.gomaxprocs(1)
    far, near = socket.socketpair()
    f = near.makefile("rb")
    def read():
        try:
            f.readline()
        finally:
            os.write(1, b"over\\n")
    for _ in range(3):
        G.go(read)
    G.sleep(0.05)
"""
    )
    assert out == "over\n" * 3
