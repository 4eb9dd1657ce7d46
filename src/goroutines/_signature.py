"""What inspect.signature(Chan) finds.

The signatures of all else in the core are in its docstrings, whose defaults may only be constants.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect


def _chan(elem: Any = object, capacity: int = 0, *, by_value: bool = False) -> None: ...


class ChanSignature:
    """Chan.__signature__."""

    def __get__(self, chan: Any, cls: type) -> "inspect.Signature":
        if chan is not None:
            raise AttributeError("a channel is not callable: it has no __signature__")
        import inspect  # only here: it takes as long to import as this package

        return inspect.signature(_chan).replace(return_annotation=inspect.Signature.empty)
