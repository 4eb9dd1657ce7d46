"""Database servers, each started once, and descriptors for all."""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import free_port, running, unprivileged


@pytest.fixture(scope="session", autouse=True)
def descriptors() -> Iterator[None]:
    """Enough for both ends of each connection; the processes inherit it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 20_000), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def program(name: str) -> str:
    """Its path. Debian keeps PostgreSQL's own programs apart."""
    folders = [os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    found = shutil.which(name, path=":".join(folders))
    return found or pytest.skip(f"{name} is not installed")


def succeeds(*command: object) -> bool:
    return subprocess.run([*map(str, command)], capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """One that the servers may use."""
    with tempfile.TemporaryDirectory() as path:
        if unprivileged():
            shutil.chown(path, "nobody")
        yield Path(path)


@pytest.fixture(scope="session")
def redis_port(folder: Path) -> Iterator[int]:
    port = free_port()
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--tcp-backlog", 1024]
    with running(
        program("redis-server"), *options, folder=folder, user=unprivileged(),
        until=lambda: succeeds(program("redis-cli"), "-p", port, "ping"),
    ):  # fmt: skip
        yield port


@pytest.fixture(scope="session")
def postgres_port(folder: Path) -> Iterator[int]:
    port, data = free_port(), folder / "postgres"
    make = [program("initdb"), "-D", data, "-U", "tester", "-A", "trust", "--no-sync"]
    subprocess.run([*unprivileged(), *make], cwd=folder, check=True, capture_output=True)
    options = ["-D", data, "-p", port, "-h", "127.0.0.1", "-k", "", "-F"]
    ready = [program("pg_isready"), "-h", "127.0.0.1", "-p", port]
    with running(
        program("postgres"), *options, folder=folder, user=unprivileged(),
        until=lambda: succeeds(*ready),
    ):  # fmt: skip
        yield port
