"""echo.py: what comes back, whatever others do to their connections."""

import os
import socket
from contextlib import ExitStack

import pytest

from .support import all_of, connect, interrupted, reset


@pytest.fixture
def server(example):
    return example.serve("echo.py", patched=True)


def echoed(address, data):
    with connect(address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return all_of(client)


def served(address):
    """A client that the server has already answered."""
    client = connect(address)
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    return client


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("data", [b"", b"hello\n", bytes(range(256)) * 300])
def test_all_comes_back_to_one_that_has_sent_everything(example, patched, data):
    _, address = example.serve("echo.py", patched=patched)
    assert echoed(address, data) == data


def test_idle_connections_hold_up_nobody_and_share_threads(server):
    program, address = server
    with ExitStack() as idle:
        for _ in range(50):
            idle.enter_context(served(address))
        assert echoed(address, b"here") == b"here"
        assert len(os.listdir(f"/proc/{program.pid}/task")) < 20


def test_a_reset_harms_nobody_else(server):
    program, address = server
    reset(served(address))
    assert echoed(address, b"here") == b"here"
    interrupted(program)


def test_interrupt_closes_connections(server):
    program, address = server
    with served(address) as client:
        interrupted(program)
        assert client.recv(1) == b""
