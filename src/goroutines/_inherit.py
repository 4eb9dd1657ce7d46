"""What a goroutine takes over from its surroundings; called by the core."""

import contextvars
import sys
import threading
from typing import Any

__all__ = ["decimal_var", "install_hooks", "threading"]


def decimal_var() -> contextvars.ContextVar[Any] | None:
    """The context variable of the decimal module, which does not export it."""
    import decimal

    context = contextvars.Context()
    context.run(decimal.getcontext)
    return next((var for var in context if var.name == "decimal_context"), None)


def install_hooks() -> None:
    """Trace and profile this goroutine as a thread started now would be."""
    trace = threading.gettrace()
    if trace is not None:
        sys.settrace(trace)
    profile = threading.getprofile()
    if profile is not None:
        sys.setprofile(profile)
