"""The end of a goroutine that called os.fork() and is all there is in the child."""

import os
import sys
import traceback
from typing import NoReturn

from ._core import GoroutineExit


def code_of_exit(left: SystemExit) -> int:
    """The exit code; a message is printed."""
    if left.code is None or isinstance(left.code, int):
        return left.code or 0
    if sys.stdout is not None:
        sys.stdout.flush()
    print(left.code, file=sys.stderr or sys.__stderr__)
    return 1


def _code_of(exc: BaseException | None) -> int | None:
    """The exit code, None for death by SIGINT, after what plain Python prints has been printed."""
    if exc is None or isinstance(exc, GoroutineExit):
        return 0
    if isinstance(exc, SystemExit):
        return code_of_exit(exc)
    traceback.print_exception(exc)
    return None if isinstance(exc, KeyboardInterrupt) else 1


def leave(code: int | None) -> NoReturn:
    """End the process as after main: exit handlers, buffered output, exit code (None: by SIGINT).

    The interpreter itself is not finalized: from 3.12 on it can do that only with the thread state
    of the main thread, which does not exist in this child.
    """
    import atexit
    import signal
    import threading

    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        if code is None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
            code = 128 + signal.SIGINT  # it is blocked
        os._exit(code & 0xFF)


def end(exc: BaseException | None) -> NoReturn:
    """What exc, that of the goroutine, has to say, and leave()."""
    code: int | None = 1
    try:
        code = _code_of(exc)
    finally:
        leave(code)
