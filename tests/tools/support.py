"""What the tests of tools share."""

import os
import re
import signal
import subprocess
import sys

from helpers import slack

PY = sys.version_info[:2]

OVERFLOW = re.compile(r"^fatal error: stack overflow in goroutine \d+: ", re.MULTILINE)
# A frame bigger than the guard has stepped over it, and over what lies below.
STEPPED_OVER = re.compile(r"^fatal error: SIG\w+ in goroutine \d+ \(its C stack may be full", re.M)


def command(
    *args: str, cwd: object = None, env: dict[str, str] | None = None, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with args, in a folder of its own."""
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        text=True,
        timeout=slack(50),
        check=False,
    )


def overflowed(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether the program ended as one does whose goroutine's stack is full: with its name."""
    # SIGBUS: faulthandler has met a neighbour's frames, overwritten by a frame beyond the guard.
    killed = done.returncode in (-signal.SIGSEGV, -signal.SIGBUS)
    return killed and bool(OVERFLOW.search(done.stderr) or STEPPED_OVER.search(done.stderr))
