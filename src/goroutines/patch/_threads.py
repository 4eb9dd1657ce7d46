"""What patched threads need from the Python side of threading."""

import os
import sys
import threading
from typing import Any

from .._core import GoroutineExit, _is_patched, _thread_after_fork


def _is_worth_logging(record: Any) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], GoroutineExit))


def _hush_executors() -> None:
    """A worker of ThreadPoolExecutor catches all that ends it, and says so as a critical error."""
    executors = sys.modules.get("concurrent.futures._base")
    if executors is not None:
        executors.LOGGER.addFilter(_is_worth_logging)  # once


def prepare(fn: Any) -> None:
    """Make GoroutineExit end a Thread silently; called by the core with what a thread starts with.

    Thread's excepthook gets all that escapes run(), so it is told apart here.
    """
    thread = getattr(fn, "__self__", None)
    if not isinstance(thread, threading.Thread):
        return
    _hush_executors()
    attributes: dict[str, Any] = thread.__dict__
    hook = attributes.get("_invoke_excepthook")
    if hook is None:
        return

    def invoke(thread: threading.Thread) -> None:
        if not isinstance(sys.exc_info()[1], GoroutineExit):
            hook(thread)

    attributes["_invoke_excepthook"] = invoke


_watching = False


def _in_child() -> None:
    """Comes after threading's own hook, which takes the current thread for the main one."""
    thread = threading.current_thread()
    handle = getattr(thread, "_os_thread_handle", None) or getattr(thread, "_handle", None)
    if handle is not None and _is_patched("threading"):
        _thread_after_fork(handle)


def watch_forks() -> None:
    """Keep the forking goroutine's Thread alive in forked children. Idempotent."""
    global _watching
    if not _watching:
        _watching = True
        os.register_at_fork(after_in_child=_in_child)
