"""What these tests share: programs in fresh processes."""

from __future__ import annotations

import typing
from collections.abc import Callable

import goroutines as G
from helpers import script


def told(done: typing.Any) -> str:
    """What a program did, for the message of an assertion."""
    return f"code {done.returncode}\n-- stdout\n{done.stdout}\n-- stderr\n{done.stderr}"


def prints(source: str, expected: str, **kwargs: typing.Any) -> None:
    """The program prints exactly this, ends with code 0 and leaves stderr empty."""
    done = script(source, **kwargs)
    assert done.stdout.strip() == expected.strip(), told(done)
    assert (done.returncode, done.stderr) == (0, ""), told(done)


def on_procs(n: int, main: Callable[[], typing.Any]) -> typing.Any:
    """run(main) with n Ps."""
    before = G.gomaxprocs(n)
    try:
        return G.run(main)
    finally:
        G.gomaxprocs(before)
