"""What tests of every kind share.

Environment:
  GOROUTINES_TEST_SCALE   multiplies the sizes of big tests (default 1)
  GOROUTINES_TEST_SLACK   multiplies the upper limits on elapsed time (default 1)
"""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import goroutines
import pytest

P = ParamSpec("P")
R = TypeVar("R")

SCALE = float(os.environ.get("GOROUTINES_TEST_SCALE", "1"))
SLACK = float(os.environ.get("GOROUTINES_TEST_SLACK", "1"))


def version() -> str:
    """The version of the installed package, the one under test."""
    return importlib.metadata.version("goroutines")


def needs(*packages: str) -> None:
    """Skip unless these packages are installed (scripts/requirements)."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            version = ".".join(map(str, sys.version_info[:2]))
            pytest.skip(f"{package} is not installed: there may be no wheel of it for {version}")


def scaled(n: int, least: int = 1) -> int:
    """n times GOROUTINES_TEST_SCALE, and never less than `least`."""
    return max(least, int(n * SCALE))


def slack(seconds: float) -> float:
    """An upper limit on elapsed time, widened for slow machines and sanitizers."""
    return seconds * max(1.0, SLACK)


def in_run(body: Callable[P, R]) -> Callable[P, R]:
    """Decorator: the test's body is the main goroutine of a run()."""

    @functools.wraps(body)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return goroutines.run(body, *args, **kwargs)

    return wrapper


@contextlib.contextmanager
def procs(n: int) -> Iterator[None]:
    """Run the block with n Ps."""
    before = goroutines.gomaxprocs(n)
    try:
        yield
    finally:
        goroutines.gomaxprocs(before)


def on_procs(n: int, main: Callable[[], R]) -> R:
    """run(main) with n Ps."""
    with procs(n):
        return goroutines.run(main)


def eventually(condition: Callable[[], object], seconds: float = 5) -> bool:
    """Wait until condition() holds; False if it does not within `seconds`."""
    end = time.monotonic() + slack(seconds)
    while not condition():
        if time.monotonic() > end:
            return False
        goroutines.sleep(0.002)
    return True


def script(
    source: str,
    *,
    args: Sequence[str] = (),
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    timeout: float = 30,
) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter and return its exit status, stdout and stderr.

    `source` is dedented; `args` go to sys.argv, `options` to the interpreter; `env` is added to
    this process's environment.  After `timeout` seconds the program is aborted, so that
    faulthandler puts its stacks on stderr and the exit status is -SIGABRT.
    """
    command = [sys.executable, "-X", "faulthandler", *options, "-c", textwrap.dedent(source), *args]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    ) as process:
        try:
            out, err = process.communicate(input, timeout=slack(timeout))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, err = _after_abort(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _after_abort(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def told(done: subprocess.CompletedProcess[str]) -> str:
    """What a program did, for the message of an assertion."""
    return f"code {done.returncode}\n-- stdout\n{done.stdout}\n-- stderr\n{done.stderr[-6000:]}"


def prints(source: str, expected: str, **kwargs: Any) -> None:
    """The program prints exactly this, ends with code 0 and leaves stderr empty."""
    done = script(source, **kwargs)
    assert done.stdout.strip() == expected.strip(), told(done)
    assert (done.returncode, done.stderr) == (0, ""), told(done)
