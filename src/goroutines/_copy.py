"""Copies for channels made with by_value=True."""

import copy
import pickle
from types import ModuleType
from typing import Any

from ._core import Chan, RecvChan, SendChan

_AS_THEY_ARE = (ModuleType, Chan, SendChan, RecvChan)
_ATOMIC = (int, float, complex, bool, str, bytes, type(None), type, range, *_AS_THEY_ARE)


class _Memo(dict[int, Any]):
    """The memo of a copy.deepcopy() that passes channels inside a value as they are."""


def is_by_value(memo: object) -> bool:
    """Whether a __deepcopy__ call is part of a send by value."""
    return isinstance(memo, _Memo)


def _keep_module(module: ModuleType, memo: dict[int, Any]) -> ModuleType:
    return module


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
