"""The end of a goroutine that called os.fork() and is all there is in the child."""

import os
import sys
import traceback
from typing import NoReturn

from ._core import GoroutineExit


def _code_of(exc: BaseException | None) -> int:
    """The exit code with which plain Python would end, after it has printed what it prints."""
    if exc is None or isinstance(exc, GoroutineExit):
        return 0
    if not isinstance(exc, SystemExit):
        traceback.print_exception(exc)
        return 130 if isinstance(exc, KeyboardInterrupt) else 1
    if exc.code is None or isinstance(exc.code, int):
        return (exc.code or 0) & 0xFF
    print(exc.code, file=sys.stderr)
    return 1


def end(exc: BaseException | None) -> NoReturn:
    """End the process as after main: exit handlers, buffered output, exit code.

    The interpreter itself is not finalized: from 3.12 on it can do that only with the thread state
    of the main thread, which does not exist in this child.
    """
    import atexit
    import threading

    code = 1
    try:
        code = _code_of(exc)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(code)
