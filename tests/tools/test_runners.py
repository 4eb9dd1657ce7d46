"""Test runners, notebooks' shell and the interactive interpreter use the library.

The rule: they need no help.  Each calls `run` several times in one process, in its main thread.
"""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from helpers import needs, slack, told

from .support import command

TESTS = """\
import unittest
import goroutines as G


def add(a, b):
    '''Add in a goroutine.

    >>> G.run(add, 1, 2)
    3
    >>> G.run(add, 1, "a")
    Traceback (most recent call last):
    TypeError: unsupported operand type(s) for +: 'int' and 'str'
    >>> c = G.Chan(int, 1)
    >>> G.go(c.send, 7)
    >>> c.recv()
    7
    '''
    out = G.Chan(capacity=1)
    G.go(lambda: out.send(a))
    return out.recv() + b


class Adds(unittest.TestCase):
    def test_adds(self):
        self.assertEqual(G.run(add, 1, 2), 3)

    def test_adds_again(self):
        self.assertEqual(G.run(add, 1, 2), 3)

    def test_deadlock(self):
        with self.assertRaises(G.DeadlockError):
            G.run(G.Chan().recv)

    def test_sub(self):
        def main():
            for i in range(3):
                with self.subTest(i=i):
                    self.assertEqual(add(i, i), 2 * i)
        G.run(main)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_adds.py").write_text(TESTS)
    return tmp_path


def test_unittest(folder: Path) -> None:
    done = command("-W", "error", "-m", "unittest", "-v", "test_adds", cwd=folder)
    assert done.returncode == 0 and "Ran 4 tests" in done.stderr, told(done)


def test_doctest(folder: Path) -> None:
    done = command("-m", "doctest", "-v", "test_adds.py", cwd=folder)
    assert done.returncode == 0, told(done)
    assert "5 passed" in done.stdout, told(done)


@pytest.mark.parametrize("options", [["-s"], ["-W", "error"]], ids=str)
def test_pytest(folder: Path, options: list[str]) -> None:
    """In a process of its own: not the one with our conftest.py."""
    done = command(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", *options, cwd=folder
    )
    assert done.returncode == 0 and "5 passed" in done.stdout, told(done)


def test_pytest_xdist(folder: Path) -> None:
    """Its workers run tests in the main thread beside a thread of execnet's."""
    needs("xdist")
    (folder / "test_adds.py").write_text(
        TESTS.replace("    def test_deadlock", "    def no_deadlock")
    )
    done = command("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", cwd=folder)
    assert done.returncode == 0 and "3 passed" in done.stdout, told(done)


SESSION = """\
import goroutines as G
c = G.Chan(int, 2)
G.go(c.send, 20)
c.recv() + 1
def main():
    out = G.Chan()
    G.go(lambda: out.send(6 * 7))
    return out.recv()

G.run(main)
G.run(lambda: 1 / 0)
G.go(lambda: {}["missing"]) or G.sleep(0.2)
G.run(main) + 1
"""


def test_a_repl_on_a_pipe(tmp_path: Path) -> None:
    done = command("-i", cwd=tmp_path, input=SESSION)
    assert done.returncode == 0, told(done)
    assert done.stdout.split() == ["21", "42", "43"], told(done)
    assert "ZeroDivisionError" in done.stderr and "KeyError: 'missing'" in done.stderr, told(done)


def owns_terminal() -> None:
    """In the child: Ctrl-C becomes a signal, also where this process runs in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *args: str, cwd: Path, env: dict[str, str]) -> None:
        master, slave = pty.openpty()
        self.fd = master
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, *args],
            cwd=cwd,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "1", "HOME": str(cwd), **env},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=owns_terminal,
        )
        os.close(slave)

    def wait_for(self, text: str) -> None:
        """Reads until `text` has appeared after what was waited for before."""
        end = time.monotonic() + slack(20)
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (
                f"no {text!r} in {self.seen[-2000:]!r}"
            )
            try:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"the end, and no {text!r} in {self.seen[-2000:]!r}") from None
        self.seen = self.seen.partition(text)[2]

    def type(self, line: str) -> None:
        os.write(self.fd, line.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.mark.parametrize("basic", [False, True], ids=["the usual one", "the basic one"])
def test_a_repl_on_a_terminal(basic: bool, tmp_path: Path) -> None:
    """From 3.13 on the usual one is written in Python.  Ctrl-C interrupts a run, and it goes on."""
    env = {"PYTHON_BASIC_REPL": "1"} if basic else {}
    terminal = Terminal("-q", cwd=tmp_path, env=env)
    try:
        terminal.wait_for(">>> ")
        for line, answer in [
            ("import goroutines as G\r", ">>> "),
            ("c = G.Chan(int, 2)\r", ">>> "),
            ("G.go(c.send, 20)\r", ">>> "),
            ("'got', c.recv() + 1\r", "('got', 21)"),
            ("'ran', G.run(lambda: 6 * 7)\r", "('ran', 42)"),
            ("G.run(lambda: 1 / 0)\r", "ZeroDivisionError: "),
            ("G.go(lambda: {}['mis' + 'sing']) or G.sleep(0.3)\r", "KeyError: 'missing'"),
            ("G.run(lambda: [print('be' + 'gun'), G.sleep(60)])\r", "begun"),
            ("\x03", "KeyboardInterrupt"),
            ("'still', G.run(lambda: 43)\r", "('still', 43)"),
        ]:
            terminal.type(line)
            terminal.wait_for(answer)
        terminal.type("exit()\r")
        # The basic one of 3.14 and later ends by SIGINT once there was a Ctrl-C.
        assert terminal.process.wait(slack(20)) in (0, -signal.SIGINT)
    finally:
        terminal.close()


def test_goroutines_go_on_at_the_prompt(tmp_path: Path) -> None:
    """While the REPL waits for a line, it waits in C without the GIL."""
    terminal = Terminal("-q", cwd=tmp_path, env={"PYTHON_BASIC_REPL": "1"})
    try:
        terminal.wait_for(">>> ")
        terminal.type("import goroutines as G\r")
        terminal.wait_for(">>> ")
        terminal.type("G.go(lambda: [G.sleep(0.3), print('by ' + 'itself')])\r")
        terminal.wait_for("by itself")
    finally:
        terminal.close()


def test_ipython(tmp_path: Path) -> None:
    needs("IPython")
    env = {"IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)}
    # IPython runs a file as typed cells.
    (tmp_path / "session.ipy").write_text(
        "import goroutines as G\n"
        "c = G.Chan(int, 2)\n"
        "G.go(c.send, 20)\n"
        "print('got', c.recv() + 1)\n"
        "%time print('ran', G.run(lambda: 6 * 7))\n"
        "import asyncio\n"
        "print('loop', G.run(lambda: asyncio.run(asyncio.sleep(0, 43))))\n"
    )
    args = ["--colors=NoColor", "--no-banner", "--simple-prompt", "session.ipy"]
    done = command("-m", "IPython", *args, cwd=tmp_path, env=env)
    assert done.returncode == 0, told(done)
    for expected in ("got 21", "ran 42", "loop 43"):
        assert expected in done.stdout, told(done)


def test_ipython_cells(tmp_path: Path) -> None:
    """Typed one after another, an `await` of its own event loop among them."""
    needs("IPython")
    env = {"IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)}
    session = (
        "import goroutines as G, asyncio\n"
        "'ran', G.run(lambda: 6 * 7)\n"
        "await asyncio.sleep(0)\n"
        "G.run(lambda: 1 / 0)\n"
        "'again', G.run(lambda: 43)\n"
    )
    args = ["--colors=NoColor", "--no-banner", "--simple-prompt", "--no-confirm-exit"]
    done = command("-m", "IPython", *args, cwd=tmp_path, env=env, input=session)
    assert done.returncode == 0, told(done)
    for expected in ("('ran', 42)", "ZeroDivisionError", "('again', 43)"):
        assert expected in done.stdout, told(done)
