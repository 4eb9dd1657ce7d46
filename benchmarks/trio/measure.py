"""How a program for trio is measured."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

sys.path.append(str(Path(__file__).parent.parent / "common"))
from clock import *  # noqa: F403
from clock import ARGUMENTS, timed, warm_up
from server import *  # noqa: F403

run = trio.run


def benchmark(what: str, body: Callable[[int], Awaitable[object]]) -> None:
    """body(n) in trio's loop: once to warm up, once for the clock."""
    n = ARGUMENTS[0]

    async def main() -> None:
        await body(warm_up(n))
        with timed(what, n):
            await body(n)

    run(main)
