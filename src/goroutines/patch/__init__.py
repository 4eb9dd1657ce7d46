"""Blocking calls of the standard library park the goroutine instead of its thread.

    from goroutines import patch

    patch.all()

It may come first, last or in between: functions, bound methods, locks and sockets that exist
already are patched with the rest. In a thread that is no goroutine a patched call behaves exactly
as before. docs/patch.md says what each part does.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from .._core import _is_patched, _patch, _patch_undo, _unpatched
from . import _threads

__all__ = [
    "all",
    "is_patched",
    "original",
    "os",
    "select",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "undo",
]

_GROUPS = ("time", "socket", "ssl", "select", "threading", "subprocess", "os", "signal", "sqlite3")
_PART_OF = {"queue": "threading", "selectors": "select"}


def all() -> None:
    """Patch everything."""
    for name in _GROUPS:
        globals()[name]()


def time() -> None:
    """time.sleep."""
    _patch("time")


def socket() -> None:
    """Sockets, also those that exist already."""
    _patch("socket")


def ssl() -> None:
    """TLS over sockets."""
    _patch("ssl")


def select() -> None:
    """select.select, poll and epoll, and with them selectors."""
    _patch("select")


def threading() -> None:
    """Locks, threads, which become goroutines, and with them queue and concurrent.futures."""
    _patch("threading")
    _threads.watch_forks()


def subprocess() -> None:
    """Waiting for child processes, and for their pipes: also the files of os()."""
    _patch("subprocess")


def os() -> None:
    """os.read, os.write, os.waitpid and their like; files on pipes and terminals."""
    _patch("os")


def signal() -> None:
    """signal.signal and its like, in the main goroutine."""
    _patch("signal")


def sqlite3() -> None:
    """Connections opened in a goroutine are not bound to a thread."""
    _patch("sqlite3")


def is_patched(name: str) -> bool:
    """Whether that part is patched: the name of one of the functions here, queue or selectors."""
    name = _PART_OF.get(name, name)
    if name not in _GROUPS:
        raise ValueError(f"there is no patch of {name!r}: {', '.join(_GROUPS)}")
    return _is_patched(name)


def original(module: str, name: str) -> _Any:
    """A callable with the unpatched behaviour: original("time", "sleep").

    original("_thread", "start_new_thread") starts a real OS thread. A method's name is dotted:
    original("_thread", "RLock.acquire").
    """
    found: _Any = _import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return _unpatched(found)


def undo() -> None:
    """Restore everything."""
    _patch_undo()
