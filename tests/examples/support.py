"""What tests of single examples share; to run one, there is the fixture `example`."""

import importlib.util
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path
from types import ModuleType

from helpers import slack

EXAMPLES = Path(__file__).parents[2] / "examples"

Program = subprocess.Popen[str]


def load(name: str) -> ModuleType:
    """A program of examples/ as a module."""
    path = EXAMPLES / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def interrupted(program: Program) -> str:
    """Ctrl-C, at a terminal, ends it without a word of complaint; what it had left to say."""
    os.killpg(program.pid, signal.SIGINT)  # and its children
    out, err = program.communicate(timeout=slack(10))
    assert (program.returncode, err) == (130, "")
    return out


def connect(address: tuple[str, int]) -> socket.socket:
    """A client whose waits are limited."""
    return socket.create_connection(address, timeout=slack(20))


def reset(sock: socket.socket) -> None:
    """Close it as one does that has crashed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", True, 0))
    sock.close()


def all_of(sock: socket.socket) -> bytes:
    """What comes until the other side has sent everything."""
    with sock.makefile("rb") as file:
        return file.read()
