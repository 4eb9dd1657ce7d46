"""Runs a program of examples/ in a fresh interpreter, by its path."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from helpers import slack

from .support import EXAMPLES, Program

Finished = subprocess.CompletedProcess[str]

RUN = ["-m", "goroutines", "run"]


class Example:
    """Programs that are still running when the test is over are killed."""

    def __init__(self) -> None:
        self._running: list[Program] = []

    def start(
        self, name: str, *args: object, patched: bool = False, stderr: int = subprocess.PIPE
    ) -> Program:
        """`patched`: by `goroutines run`."""
        command = [sys.executable, "-X", "faulthandler", *(RUN if patched else [])]
        command += [str(EXAMPLES / name), *map(str, args)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            process_group=0,
        )
        self._running.append(process)
        return process

    def serve(
        self, name: str, *args: object, patched: bool = False
    ) -> tuple[Program, tuple[str, int]]:
        """Start it and wait until it listens; it and its address."""
        program = self.start(name, *args, patched=patched)
        host, port = program.stdout.readline().removeprefix("listening on ").split(":")
        return program, (host, int(port))

    def __call__(
        self, name: str, *args: object, patched: bool = False, timeout: float = 40
    ) -> Finished:
        """Run it to its end; after `timeout` seconds abort it, with its stacks on stderr."""
        process = self.start(name, *args, patched=patched)
        try:
            out, err = process.communicate(timeout=slack(timeout))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, err = process.communicate(timeout=10)
            pytest.fail(f"{name} did not end in {slack(timeout)} s\n{out}\n{err}")
        return Finished(process.args, process.returncode, out, err)

    def kill_all(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()


@pytest.fixture
def example() -> Iterator[Example]:
    runner = Example()
    yield runner
    runner.kill_all()
