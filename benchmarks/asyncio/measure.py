"""How a program for asyncio is measured; with ASYNCIO_LOOP=uvloop in the environment, on uvloop."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "common"))
from clock import *  # noqa: F403
from clock import ARGUMENTS, timed, warm_up
from server import *  # noqa: F403


def run(main: Callable[[], Coroutine[object, object, object]]) -> None:
    if os.environ.get("ASYNCIO_LOOP") == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())


def benchmark(what: str, body: Callable[[int], Coroutine[object, object, object]]) -> None:
    """body(n) in the loop: once to warm up, once for the clock."""
    n = ARGUMENTS[0]

    async def main() -> None:
        await body(warm_up(n))
        with timed(what, n):
            await body(n)

    run(main)
