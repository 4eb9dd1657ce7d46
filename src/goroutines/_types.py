"""Small types that the C core returns."""

from typing import Any, NamedTuple


class Selected(NamedTuple):
    """What select() returns: which case came to pass, and what it brought.

    index: the position of the case; -1: none, the default. value: what was received; None for a
    send. ok: False for a receive from a closed, drained channel, and for the default.
    """

    index: int  # type: ignore[assignment]  # not tuple.index()
    value: Any
    ok: bool


Selected.__module__ = "goroutines"
