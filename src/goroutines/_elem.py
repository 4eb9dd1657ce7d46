"""Element types of channels: what isinstance() is to be asked."""

import types
import typing
from typing import Any

_UNIONS = (typing.Union, types.UnionType)


def checker(elem: Any) -> type | tuple[type, ...]:
    """The class, or tuple of classes, whose instances a Chan(elem) carries.

    elem may be a class, a union, a tuple of classes or a parametrised generic (of which only the
    origin is checked). Anything else raises TypeError.
    """
    found = tuple(dict.fromkeys(_classes(elem)))
    if object in found:
        return object
    return found[0] if len(found) == 1 else found


def _classes(elem: Any) -> list[type]:
    if elem is None:
        return [types.NoneType]
    if elem is Any:
        return [object]
    if isinstance(elem, tuple):
        if not elem:
            raise TypeError("a channel's elem is a class or a tuple of classes, not an empty tuple")
        return [cls for part in elem for cls in _classes(part)]
    origin = typing.get_origin(elem)
    if origin in _UNIONS:
        return [cls for part in typing.get_args(elem) for cls in _classes(part)]
    if origin is typing.Annotated:
        return _classes(typing.get_args(elem)[0])
    if origin is typing.Literal:
        return [type(value) for value in typing.get_args(elem)]
    if isinstance(elem, typing.NewType):
        return _classes(elem.__supertype__)
    if isinstance(elem, typing.TypeVar):
        return _classes(elem.__bound__) if elem.__bound__ is not None else [object]
    if isinstance(elem, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        return _classes(elem.__value__)
    return [_instance_check(origin if origin is not None else elem, elem)]


def _instance_check(cls: Any, elem: Any) -> type:
    """cls, if isinstance() takes it: a protocol that is not runtime_checkable is refused here."""
    try:
        if isinstance(cls, type):
            isinstance(None, cls)
            return cls
    except TypeError as refused:
        raise TypeError(f"{elem!r} cannot be a channel's elem: {refused}") from None
    raise TypeError(
        f"{elem!r} cannot be a channel's elem: pass a class, a union, a tuple of classes or a "
        "generic such as list[int]"
    )
