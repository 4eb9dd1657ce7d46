"""Servers in processes of their own."""

import os
import pwd
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from helpers import eventually, slack


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def unprivileged() -> list[str]:
    """The beginning of a command: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@contextmanager
def running(
    *command: object, until: Callable[[], object], folder: Path, user: Sequence[str] = ()
) -> Iterator[None]:
    """The server runs meanwhile, in this folder, and no longer than this process does."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*user, "setpriv", "--pdeathsig=INT", *map(str, command)],
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip

        def told() -> str:
            log.seek(0)
            return log.read()

        try:
            assert eventually(lambda: process.poll() is not None or until(), 30), told()
            assert process.poll() is None, told()
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(slack(10))
            finally:
                process.kill()
