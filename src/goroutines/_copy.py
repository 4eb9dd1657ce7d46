"""Copies for channels made with by_value=True."""

import copy
import pickle
from types import ModuleType
from typing import Any, cast

from ._core import Chan, RecvChan, SendChan, _object_at

_AS_THEY_ARE = (ModuleType, Chan, SendChan, RecvChan)
_ATOMIC = (int, float, complex, bool, str, bytes, type(None), type, range)


class _Memo(dict[int, Any]):
    """The memo of a copy.deepcopy() that passes channels and modules inside a value as they are.

    deepcopy asks its memo first, for the id of each object that it meets and holds.
    """

    def get(self, key: int, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 (dict's get asks no method)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or isinstance(_object_at(cast(int, key)), _AS_THEY_ARE)

    def __missing__(self, key: int) -> Any:
        thing = _object_at(key)
        if isinstance(thing, _AS_THEY_ARE):
            return thing
        raise KeyError(key)


def by_value(value: Any) -> Any:
    """A deep copy of value that shares nothing mutable with it.

    Immutable values, channels, functions, classes and modules are passed as they are. TypeError if
    something in it cannot be copied.
    """
    if type(value) in _ATOMIC or isinstance(value, _AS_THEY_ARE):
        return value
    try:
        return copy.deepcopy(value, _Memo())
    except (copy.Error, pickle.PicklingError) as refused:
        raise TypeError(f"cannot send by value: {refused}") from refused
