"""importlib's module locks, owned by goroutines.

A module lock is owned by whoever imports the module, so that nobody else sees it half initialised.
importlib takes the OS thread for that; but a goroutine that parks while it imports lets another one
run on the same thread, and may come back on a different one. So importlib is given an identity that
belongs to the goroutine, and to the thread where there is none.
"""

import importlib._bootstrap
import types
from typing import Any

from ._core import _ident


class _Thread(types.ModuleType):
    """importlib's view of the _thread module."""

    def __init__(self, original: Any) -> None:
        super().__init__(original.__name__, original.__doc__)
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def install() -> None:
    """From now on importlib's module locks belong to goroutines. Idempotent."""
    bootstrap: Any = importlib._bootstrap
    if isinstance(bootstrap._thread, _Thread):
        return
    thread: Any = _Thread(bootstrap._thread)
    thread.get_ident = _ident
    bootstrap._thread = thread
