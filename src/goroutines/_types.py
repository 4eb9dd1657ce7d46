"""Small types: what the C core returns, and a base of what goroutines share."""

from typing import Any, NamedTuple, NoReturn


class Shared:
    """What its users share: a copy would share its insides, but not what they mean together.

    Go's vet warns of such copies (copylocks).
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        name = type(self).__name__.lstrip("_")
        raise TypeError(f"a {name} cannot be pickled or copied: its users must share the one")


class Selected(NamedTuple):
    """What select() returns: which case came to pass, and what it brought.

    index: the position of the case; -1: none, the default. value: what was received; None for a
    send. ok: False for a receive from a closed, drained channel, and for the default.
    """

    index: int  # type: ignore[assignment]  # not tuple.index()
    value: Any
    ok: bool


Selected.__module__ = "goroutines"
