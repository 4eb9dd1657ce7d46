"""How a program for threads is measured."""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "common"))
from clock import *  # noqa: F403
from clock import ARGUMENTS, timed, warm_up
from server import *  # noqa: F403


def benchmark(what: str, body: Callable[[int], object]) -> None:
    """body(n), once to warm up, once for the clock."""
    n = ARGUMENTS[0]
    body(warm_up(n))
    with timed(what, n):
        body(n)
