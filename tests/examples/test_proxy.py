"""proxy.py between a client and a target that are both this test."""

import os
import socket

import pytest
from helpers import slack

from .support import all_of, connect, interrupted, reset


@pytest.fixture
def target():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(slack(20))
        yield server


@pytest.fixture
def proxy(example, target):
    return example.serve("proxy.py", "{}:{}".format(*target.getsockname()))


def accepted(target):
    conn = target.accept()[0]
    conn.settimeout(slack(20))
    return conn


@pytest.fixture
def ends(proxy, target):
    """A client, and the target's end of its connection."""
    with connect(proxy[1]) as client, accepted(target) as conn:
        yield client, conn


def said_of(client, proxy):
    """What the proxy logs of a client that is called so."""
    host, port = client
    line = proxy[0].stdout.readline()
    assert line.startswith(f"{host}:{port}: ")
    return line.removeprefix(f"{host}:{port}: ").rstrip()


def test_both_directions(proxy, ends):
    client, conn = ends
    name = client.getsockname()
    client.sendall(b"question")
    assert conn.recv(100) == b"question"
    conn.sendall(b"answer!")
    assert client.recv(100) == b"answer!"
    client.close()
    assert conn.recv(1) == b""
    conn.close()
    assert said_of(name, proxy) == "8 bytes sent, 7 received"


@pytest.mark.parametrize("first", ["client", "target"])
def test_one_that_has_sent_everything_still_receives(ends, first):
    quiet, talker = ends if first == "client" else reversed(ends)
    quiet.sendall(b"all I have to say")
    quiet.shutdown(socket.SHUT_WR)
    assert all_of(talker) == b"all I have to say"
    talker.sendall(b"still here")
    talker.close()
    assert all_of(quiet) == b"still here"


@pytest.mark.parametrize("first", ["client", "target"])
def test_a_reset_is_passed_on(proxy, ends, first):
    crashing, other = ends if first == "client" else reversed(ends)
    client = ends[0].getsockname()
    crashing.sendall(b"the first half")
    assert other.recv(100) == b"the first half"
    reset(crashing)
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    assert said_of(client, proxy) == "[Errno 104] Connection reset by peer"


def test_a_target_that_is_not_there(proxy, target):
    target.close()
    with connect(proxy[1]) as client:
        assert client.recv(1) == b""
        assert said_of(client.getsockname(), proxy) == "[Errno 111] Connection refused"


def test_much_in_both_directions_at_once(ends):
    client, conn = ends
    data = os.urandom(200_000)
    received = b""
    for sent in range(0, len(data), 10_000):
        for sender, receiver in (ends, reversed(ends)):
            sender.sendall(data[sent : sent + 10_000])
        received += conn.recv(10_000, socket.MSG_WAITALL)
        assert client.recv(10_000, socket.MSG_WAITALL) == received[sent:]
    assert received == data


def test_connections_are_independent(proxy, target):
    pairs = [(connect(proxy[1]), accepted(target)) for _ in range(20)]
    for number, (client, _) in enumerate(pairs):
        client.sendall(b"%d" % number)
    for number, (_, conn) in reversed(list(enumerate(pairs))):
        assert conn.recv(100) == b"%d" % number
    for pair in pairs:
        for end in pair:
            end.close()


def test_interrupt_cuts_connections_off(proxy, ends):
    client, conn = ends
    client.sendall(b"x")
    assert conn.recv(1) == b"x"
    interrupted(proxy[0])
    for end in ends:
        with pytest.raises(ConnectionResetError):
            end.recv(1)


def test_an_address_without_a_port(example):
    done = example("proxy.py", "localhost")
    assert done.returncode == 2 and "HOST:PORT" in done.stderr
