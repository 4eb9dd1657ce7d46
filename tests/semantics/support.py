"""What the semantics tests share: places to call from, probes.

Nothing here sleeps in the hope that something has happened meanwhile: `parked` looks at
`debug.stacks()` until the goroutines in question really wait.
"""

from __future__ import annotations

import contextlib
import re
import threading
import typing
from collections.abc import Callable, Iterator

import goroutines as G
from goroutines import debug
from helpers import eventually

PLACES = ("main goroutine", "goroutine", "main thread", "foreign thread")

_HEAD = re.compile(r"^goroutine (\d+) \[([^\],]+)(?:, [\d.]+s)?\]:", re.MULTILINE)


class Outcome(typing.NamedTuple):
    """A result or an exception, carried from where it arose to where it is judged."""

    value: typing.Any
    error: BaseException | None

    def unwrap(self) -> typing.Any:
        if self.error is not None:
            raise self.error
        return self.value


def attempt(fn: Callable[..., typing.Any], *args: typing.Any) -> Outcome:
    """Call fn and keep what came of it."""
    try:
        return Outcome(fn(*args), None)
    except BaseException as error:
        return Outcome(None, error)


def at(place: str, fn: Callable[..., typing.Any], *args: typing.Any) -> typing.Any:
    """Call fn(*args) in one of PLACES; its result, or its exception raised here."""
    match place:
        case "main goroutine":
            return G.run(fn, *args)
        case "main thread":
            return fn(*args)
        case "goroutine":

            def main() -> Outcome:
                over = G.Chan(Outcome, 1)
                G.go(lambda: over.send(attempt(fn, *args)))
                # A limit, so that main does not count as waiting for good.
                return over.recv(timeout=60)

            return G.run(main).unwrap()
        case "foreign thread":
            box: list[Outcome] = []
            thread = spawn(lambda: box.append(attempt(fn, *args)))
            thread.join(60)
            assert box, "the foreign thread still hangs"
            return box[0].unwrap()
    raise ValueError(place)


def spawn(fn: Callable[..., typing.Any], *args: typing.Any) -> threading.Thread:
    """Start a thread that the runtime did not make."""
    thread = threading.Thread(target=fn, args=args, name="foreign", daemon=True)
    thread.start()
    return thread


def waiting(reason: str) -> int:
    """How many goroutines wait for this reason now."""
    return sum(m[2] == reason for m in _HEAD.finditer(debug.stacks()))


def parked(n: int = 1, reason: str = "chan receive") -> None:
    """Return once at least n goroutines wait for this reason (the caller is not one of them)."""
    assert eventually(lambda: waiting(reason) >= n), f"not {n} in {reason}:\n{debug.stacks()}"


def full(*values: typing.Any) -> G.Chan[typing.Any]:
    """A channel whose buffer holds these values and nothing more."""
    c: G.Chan[typing.Any] = G.Chan(object, max(1, len(values)))
    for v in values:
        c.send(v)
    return c


def closed(*values: typing.Any) -> G.Chan[typing.Any]:
    """A closed channel with these values still in it."""
    c = full(*values)
    c.close()
    return c


def take(c: typing.Any) -> typing.Any:
    """What a receive gives at once: a value, `Nothing` or `Closed`."""
    index, value, ok = G.select(G.recv(c), default=True)
    return Nothing if index == -1 else value if ok else Closed


def offer(c: typing.Any, value: typing.Any) -> bool:
    """Whether a send goes through at once."""
    return G.select(G.send(c, value), default=True).index == 0


class _Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


Nothing = _Mark("Nothing")
Closed = _Mark("Closed")


@contextlib.contextmanager
def hooked() -> Iterator[list[typing.Any]]:
    """Collect what `excepthook` is called with."""
    before, seen = G.excepthook, []
    G.excepthook = seen.append
    try:
        yield seen
    finally:
        G.excepthook = before


def line_of(fn: Callable[..., typing.Any], offset: int = 1) -> int:
    """The number of a line of fn, counted from its `def`."""
    return fn.__code__.co_firstlineno + offset
