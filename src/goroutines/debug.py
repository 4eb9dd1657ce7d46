"""Looking at the runtime: counters, and where every goroutine is.

For people to read:

    print(goroutines.debug.stats())
    print(goroutines.debug.stacks())
"""

import linecache
from types import FrameType
from typing import NamedTuple

from ._core import _goroutines, _stats, num_goroutine

__all__ = ["Stats", "stacks", "stats"]

_REPORTED = 100  # goroutines in a deadlock report


class Stats(NamedTuple):
    """The scheduler's counters, read without stopping it.

    procs: Ps. threads: OS threads of the runtime (Ms), idle_threads of them idle. goroutines:
    alive. runnable: length of the global queue, then of each P's. Since start: started, finished,
    switches (a P takes up a goroutine), steals (goroutines taken from another P), handoffs (Ps
    taken from an M that is blocked outside the interpreter), preemptions.
    """

    procs: int
    threads: int
    idle_threads: int
    goroutines: int
    runnable: tuple[int, ...]
    started: int
    finished: int
    switches: int
    steals: int
    handoffs: int
    preemptions: int


def stats() -> Stats:
    """The counters now."""
    return Stats(*_stats())


def _frames(frame: FrameType | None) -> list[str]:
    lines: list[str] = []
    while frame is not None:
        code, number = frame.f_code, frame.f_lineno or 0
        entry = f'  File "{code.co_filename}", line {number}, in {code.co_name}'
        source = linecache.getline(code.co_filename, number, frame.f_globals).strip()
        lines.append(f"{entry}\n    {source}" if source else entry)
        frame = frame.f_back
    return lines[::-1]


def stacks() -> str:
    """Every goroutine, as Go prints it: number, wait reason and time, frames, where created."""
    blocks = []
    for number, reason, waited, frame, created, _ in _goroutines(-1):
        head = f"{reason}, {waited:.1f}s" if waited >= 0 else reason
        lines = [f"goroutine {number} [{head}]:", *_frames(frame), f"created at {created}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _caller(frame: FrameType | None) -> FrameType | None:
    """The first frame that is not this package's own, which waits on behalf of others."""
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("goroutines."):
        frame = frame.f_back
    return frame


def _place(frame: FrameType | None, created: str) -> str:
    frame = _caller(frame)
    if frame is None:
        return f"created at {created}"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def _held(holder: int, frames: dict[int, FrameType | None]) -> str:
    """Who holds the lock that a goroutine waits for, and the line where it is.

    Without the function's name: who looks for a goroutine by that is to find one line.
    """
    if holder < 0:
        return ""
    if holder == 0:
        return " (held by a thread)"
    frame = _caller(frames.get(holder))
    at = f" at {frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
    gone = ", which has ended" if holder not in frames and len(frames) <= _REPORTED else ""
    return f" (held by goroutine {holder}{at}{gone})"


def _deadlock_report() -> str:
    """The text of a DeadlockError; called by the core."""
    listed = _goroutines(_REPORTED + 1)
    frames = {number: frame for number, _, _, frame, _, _ in listed}
    lines = ["all goroutines are asleep - deadlock!"]
    for number, reason, _, frame, created, holder in listed[:_REPORTED]:
        place = _place(frame, created) + _held(holder, frames)
        lines.append(f"  goroutine {number} [{reason}]: {place}")
    if len(listed) > _REPORTED:
        lines.append(f"  ... and {num_goroutine() - _REPORTED} more")
    return "\n".join(lines)
