"""Timers: after(), Timer, Ticker and after_func(), as in Go's package time.

As in Go since 1.23, a timer that nothing refers to is collected, and after stop() or reset() no
value of the time before is received any more. https://pkg.go.dev/time#Timer
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ._core import Chan, RecvChan, _func_timer, _FuncTimer, _timer_new, _timer_reset, _timer_stop
from ._types import Shared


def after(seconds: float) -> RecvChan[float]:
    """A channel that receives one value, the time.monotonic() instant, after that many seconds."""
    return _timer_new(seconds, False)


class Timer(Shared):
    """Sends the time.monotonic() instant on .chan, once, after that many seconds."""

    __module__ = "goroutines"
    __slots__ = {
        "__weakref__": "For weakref.ref().",
        "_func": "after_func()'s timer",
        "chan": "Where the instant is sent.",
    }

    chan: RecvChan[float]

    def __init__(self, seconds: float) -> None:
        self._func: _FuncTimer | None = None
        self.chan = _timer_new(seconds, False)

    def stop(self) -> bool:
        """Keep it from firing. Whether it was running: False if its value was received already."""
        return self._func.stop() if self._func else _timer_stop(self.chan)

    def reset(self, seconds: float) -> bool:
        """Start it again, to fire after that many seconds from now. Whether it was running."""
        return self._func.reset(seconds) if self._func else _timer_reset(self.chan, seconds, False)

    def __repr__(self) -> str:
        return f"<Timer {self._func or self.chan!r}>"


def after_func(seconds: float, fn: Callable[..., object], *args: Any) -> Timer:
    """Run fn(*args) in a goroutine of its own after that many seconds.

    Returns a Timer with stop() and reset(); its chan never receives anything.
    """
    func = _func_timer(seconds, fn, *args)
    timer = Timer.__new__(Timer)
    timer._func = func
    timer.chan = _NO_CHAN
    return timer


class Ticker(Shared):
    """Sends the time.monotonic() instant on .chan every so many seconds, until stopped.

    Ticks that a slow receiver does not take are dropped. A context manager that stops at the end.
    ValueError if seconds is not positive.
    """

    __module__ = "goroutines"
    __slots__ = {"__weakref__": "For weakref.ref().", "chan": "Where the ticks are sent."}

    chan: RecvChan[float]

    def __init__(self, seconds: float) -> None:
        self.chan = _timer_new(self._checked(seconds), True)

    @staticmethod
    def _checked(seconds: float) -> float:
        try:
            nothing = seconds <= 0
        except TypeError:
            nothing = False  # the core says what it thinks of it, as of NaN
        if nothing:
            raise ValueError("a Ticker's interval must be positive")
        return seconds

    def stop(self) -> None:
        """No more ticks. The channel stays open."""
        _timer_stop(self.chan)

    def reset(self, seconds: float) -> None:
        """Tick every so many seconds from now on. ValueError if that is not positive."""
        _timer_reset(self.chan, self._checked(seconds), True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Ticker {self.chan!r}>"


_NO_CHAN = Chan(float).receiver
