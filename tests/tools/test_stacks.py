"""Full stacks: the message, who gives it, and what stays as it was.

The rule: an overflow meets a guard, whichever way guards are made, before it meets a neighbour.
"""

import re
import sys

import pytest
from helpers import prints, script, told

from .support import OVERFLOW, overflowed

# One frame of C bigger than all of a small stack, in the standard library: decimal's.
OVERFLOWS = """
import decimal, faulthandler, resource, time
import goroutines as G
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
G.stack_size(192 << 10)
def overflows():
    n = 200_000
    decimal.Context(prec=2 * n, Emax=10**9).multiply(*[decimal.Decimal("7" * n)] * 2)
def main():
    G.go(overflows)
    G.sleep(20)
"""

# The parser's recursion: counted, but not by what is left of the stack; from 3.14 on, it is.
PARSER = (
    OVERFLOWS.replace("    n = 200_000\n", "")
    .replace(
        'decimal.Context(prec=2 * n, Emax=10**9).multiply(*[decimal.Decimal("7" * n)] * 2)',
        "compile('-' * 5000 + '1', '', 'eval')",
    )
    .replace("192 << 10", "128 << 10")
)

before_3_14 = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="3.14 looks at the stack itself"
)


@before_3_14
@pytest.mark.parametrize("guard", ["madvise", "mprotect"])
@pytest.mark.parametrize("handler", ["before", "after", "none"])
def test_the_message_names_the_goroutine(guard: str, handler: str) -> None:
    """Once, with both kinds of guard, and whether faulthandler came before us, after, or not."""
    source = {
        "before": "{}",
        "after": "{}\nfaulthandler.enable()",
        "none": "import faulthandler\nfaulthandler.disable()\n{}",
    }
    done = script(
        source[handler].format(PARSER) + "\nG.run(main)\n",
        env={"GOROUTINES_STACK_GUARD": guard},
    )
    assert overflowed(done), told(done)
    assert len(OVERFLOW.findall(done.stderr)) == 1, told(done)
    size = re.search(r"its C stack of (\d+) KiB is full", done.stderr)
    assert size is not None and size[1] == "128", told(done)
    assert ("Fatal Python error" in done.stderr) == (handler != "none"), told(done)


@before_3_14
def test_the_message_has_the_number_that_stacks_shows() -> None:
    """So that the two can be read together."""
    done = script(
        PARSER.replace("def overflows():\n", "def overflows():\n    print(number(), flush=True)\n")
        + """
import re
from goroutines import debug
def number():
    return re.search(r"goroutine (\\d+) \\[running\\]", debug.stacks())[1]
G.run(main)
"""
    )
    assert overflowed(done), told(done)
    assert f"stack overflow in goroutine {done.stdout.strip()}: " in done.stderr, told(done)


def test_decimal_at_the_default_size() -> None:
    """It takes 256 KiB in one frame; with stacks of 256 KiB this was fatal on 3.14 and later."""
    prints(
        OVERFLOWS.replace("G.stack_size(192 << 10)\n", "").replace(
            "G.go(overflows)\n    G.sleep(20)", "overflows()\n    return 'fine'"
        )
        + "\nprint(G.run(main))\n",
        "fine",
    )


BIG_FRAME = """
import ctypes, re, resource, select, sys
import goroutines as G
from goroutines import debug
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.setrecursionlimit(100_000)
SIZE = 1 << 20
G.stack_size(SIZE)

def down(n, call):
    return list(map(lambda _: down(n - 1, call), [1])) if n else call()

def parks(gate):
    gate.recv_ok()

def stack_of(code):
    for lo, frame in sys._current_frames().items():
        while frame and frame.f_code is not code:
            frame = frame.f_back
        if frame:
            return ctypes.string_at(lo, SIZE - lo % SIZE)

def main():
    gate, jobs, done = G.Chan(), G.Chan(), G.Chan()
    def body():
        for n, call in jobs:
            try:
                down(n, call)
            except RecursionError:
                done.send("RecursionError")
            else:
                done.send("no error")
    # The lower address is the neighbour's.
    G.go(parks, gate)
    G.go(body)
    while len(re.findall(r"^goroutine \\d+ \\[chan receive", debug.stacks(), re.M)) < 2:
        G.sleep(0.001)
    def used(n):
        jobs.send((n, int))
        done.recv()
        stack = stack_of(body.__code__)
        return len(stack) - next(i for i, byte in enumerate(stack) if byte), len(stack)
    (a, _), (b, size) = used(200), used(400)
    level = (b - a) / 200
    # 24 KB are left when select.select wants 49 at once.
    deep = 400 + int((size - b - 24_000) / level)
    before = stack_of(parks.__code__)
    assert any(before)
    jobs.send((deep, lambda: select.select([], [], [], 0)))
    outcome = done.recv()
    assert stack_of(parks.__code__) == before, "the neighbour's stack has changed"
    return outcome
print(G.run(main))
"""


@pytest.mark.parametrize("guard", ["madvise", "mprotect"])
def test_a_big_frame_does_not_step_over_the_guard(guard: str) -> None:
    """With guards of one page it did, on 3.11, and wrote into the neighbour's stack. Later versions
    end the recursion before."""
    done = script(BIG_FRAME, env={"GOROUTINES_STACK_GUARD": guard})
    if not overflowed(done):
        assert (done.returncode, done.stdout) == (0, "RecursionError\n"), told(done)
