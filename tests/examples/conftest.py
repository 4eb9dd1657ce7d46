"""Runs a program of examples/ as a reader would: in a fresh interpreter, by its path."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import slack

EXAMPLES = Path(__file__).parents[2] / "examples"


Program = subprocess.Popen[str]
Finished = subprocess.CompletedProcess[str]


class Example:
    """Programs that are still running when the test is over are killed."""

    def __init__(self) -> None:
        self._running: list[Program] = []

    def start(self, name: str, *args: object, stderr: int = subprocess.PIPE) -> Program:
        command = [sys.executable, "-X", "faulthandler", str(EXAMPLES / name), *map(str, args)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._running.append(process)
        return process

    def __call__(self, name: str, *args: object, timeout: float = 40) -> Finished:
        """Run it to its end; after `timeout` seconds abort it, with its stacks on stderr."""
        process = self.start(name, *args)
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
