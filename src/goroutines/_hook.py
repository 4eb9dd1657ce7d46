"""excepthook: what happens to an exception that escapes a goroutine."""

import sys
import traceback
from types import TracebackType
from typing import NamedTuple


class ExceptHookArgs(NamedTuple):
    """The argument of goroutines.excepthook, like that of threading.excepthook.

    created_at: where `go` was called, as "file:line in function".
    """

    exc_type: type[BaseException]
    exc_value: BaseException
    exc_traceback: TracebackType | None
    created_at: str


ExceptHookArgs.__module__ = "goroutines"


def excepthook(args: ExceptHookArgs, /) -> None:
    """Print the exception and where its goroutine was started to stderr. The program goes on."""
    if sys.stderr is None:
        return
    lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
    text = f"Exception in a goroutine created at {args.created_at}:\n" + "".join(lines)
    sys.stderr.write(text)
    sys.stderr.flush()


def call(exc: BaseException, created_at: str) -> None:
    """Hand exc to whatever goroutines.excepthook is now; called by the core."""
    package = sys.modules.get("goroutines")
    hook = getattr(package, "excepthook", None) or excepthook
    args = ExceptHookArgs(type(exc), exc, exc.__traceback__, created_at)
    try:
        hook(args)
    except Exception as failure:
        excepthook(args)
        excepthook(ExceptHookArgs(type(failure), failure, failure.__traceback__, "excepthook"))
