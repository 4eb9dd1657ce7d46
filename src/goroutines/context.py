"""Contexts: cancellation, deadlines and values of a request, as in Go's package context.

    with with_timeout(background(), 2.0) as ctx:
        match select(recv(answers), recv(ctx.done())):
            case 0, answer, True: ...
            case 1, _, _: print("gave up:", ctx.err())

Contexts form a tree. Cancelling one cancels everything below it, at once; nothing above it
notices. No goroutine is needed: a context is an object, and a deadline is a timer of the runtime.

What differs from Go: a context that nobody refers to is collected, with its timer, even if it was
never cancelled (`go vet`'s lostcancel is no leak here). Its done() channel refers to it, and so
does a parent or timer on which a function of after_func() depends.

https://pkg.go.dev/context

How it is kept consistent without a lock. Who cancels stores the outcome first (`_outcome`, by
dict.setdefault, which is atomic), and then looks who is below. Who joins the tree puts himself
there first, and then looks at the outcome. One of the two sees the other, and all steps after the
outcome may be done twice.
"""

import math
import time
import weakref
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any, Self

from ._core import (
    Chan,
    ChannelClosed,
    RecvChan,
    _call_place,
    _chan_keep,
    _check_callable,
    _deadline_timer,
    _FuncTimer,
    _go_from,
)
from ._types import Shared

__all__ = [
    "CancelContext",
    "Canceled",
    "Context",
    "DeadlineExceeded",
    "after_func",
    "background",
    "with_cancel",
    "with_deadline",
    "with_timeout",
    "with_value",
    "without_cancel",
]

_Outcome = tuple[Exception, BaseException]  # err() and cause()
_Callback = tuple[tuple[CodeType, int] | None, Callable[[], object]]  # for _go_from()


class Canceled(Exception):
    """The err() of a context that was cancelled."""


class DeadlineExceeded(TimeoutError):
    """The err() of a context whose deadline has passed."""


class Context(Shared):
    """Says when to stop, and carries values. For any number of goroutines and threads at once.

    Made by background() and the with_* functions; never by calling the class.
    """

    __slots__ = ("__weakref__", "_above", "_parent")

    _parent: "Context | None"
    _above: "CancelContext | None"  # the nearest ancestor that can be cancelled

    def __init__(self, parent: "Context | None", above: "CancelContext | None") -> None:
        self._parent = parent
        self._above = above

    def _nearest(self) -> "CancelContext | None":
        """The nearest that can be cancelled: the context itself or an ancestor."""
        return self._above

    def done(self) -> RecvChan[None] | None:
        """A channel that is closed when work for this context should stop: a case of a select.

        The same channel each time. None if it can never be cancelled; a select takes that, too.
        """
        nearest = self._nearest()
        return None if nearest is None else nearest.done()

    def _outcome_now(self) -> _Outcome | None:
        nearest = self._nearest()
        return None if nearest is None else nearest._outcome.get(None)

    def err(self) -> Exception | None:
        """None while it is not done; then Canceled or DeadlineExceeded, the same object each time.

        A context that was cancelled by an ancestor has the ancestor's.
        """
        outcome = self._outcome_now()
        return None if outcome is None else outcome[0]

    def cause(self) -> BaseException | None:
        """Why it is done: what was given to cancel(), else err(); None while it is not done."""
        outcome = self._outcome_now()
        return None if outcome is None else outcome[1]

    def deadline(self) -> float | None:
        """The time.monotonic() instant at which it will be done; None: no deadline."""
        nearest = self._nearest()
        return None if nearest is None else nearest._deadline

    def remaining(self) -> float | None:
        """Seconds until the deadline, 0.0 after it; None: no deadline. Fits any `timeout=`."""
        deadline = self.deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def value(self, key: object, default: Any = None) -> Any:
        """The value for key of the nearest with_value(), else default. Keys compare with ==."""
        context: Context | None = self
        while context is not None:
            if isinstance(context, _ValueContext) and (context._key is key or context._key == key):
                return context._value
            context = context._parent
        return default

    def check(self) -> None:
        """Raise err() if it is done. For code that computes: it does not wait."""
        err = self.err()
        if err is not None:
            # It is raised many times, in many places: each shows its own traceback.
            raise err.with_traceback(None)

    def __repr__(self) -> str:
        err, remaining = self.err(), self.remaining()
        if err is not None:
            state = str(err)
        elif remaining is not None:
            state = f"done in {remaining:.3f} s"
        else:
            state = "not done" if self._nearest() is not None else "never done"
        return f"<{type(self).__name__.lstrip('_')}: {state}>"


class _ValueContext(Context):
    __slots__ = ("_key", "_value")

    def __init__(self, parent: Context, key: object, value: object) -> None:
        super().__init__(parent, parent._nearest())
        self._key = key
        self._value = value


class CancelContext(Context):
    """A Context with cancel(); as a context manager it is cancelled at the end of the block."""

    __slots__ = ("_below", "_callbacks", "_deadline", "_done", "_kept", "_outcome", "_over",
                 "_pinned", "_ref", "_timed", "_timer")  # fmt: skip

    _deadline: float | None

    def __init__(self, parent: Context, deadline: float | None = None) -> None:
        above = parent._nearest()
        super().__init__(parent, above)
        self._outcome: dict[None, _Outcome] = {}
        self._done: dict[None, tuple[Chan[Any], RecvChan[Any]]] = {}  # made when first asked for
        # Those below that are not done, which do not live by that; those of them that must be kept.
        # There is no __del__: an exception from outside would be lost in it. What a dead context
        # leaves is cleared away by callbacks of weak references, which are C functions.
        self._below: set[weakref.ref[CancelContext]] = set()
        self._kept: dict[int, CancelContext] = {}
        self._ref: weakref.ref[CancelContext] | None = None  # the one in the parent's set
        self._callbacks: dict[object, _Callback] = {}
        self._over = self._pinned = False
        self._timer: _FuncTimer | None = None
        self._timed: list[Any] = []  # what the timer refers to: a weak reference, or nothing more
        inherited = None if above is None else above._deadline
        own = deadline is not None and (inherited is None or deadline < inherited)
        self._deadline = deadline if own else inherited
        if own and deadline is not None:
            self._start_timer(deadline)
        if above is not None:
            self._ref = weakref.ref(self, above._below.discard)
            above._below.add(self._ref)
            outcome = above._outcome.get(None)
            if outcome is not None:
                self._end(*outcome)

    def _start_timer(self, deadline: float) -> None:
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            self._end(*_exceeded())
            return
        self._timed.append(weakref.ref(self))
        self._timer = _deadline_timer(seconds, _expire, self._timed)
        self._timed[:1] = [weakref.ref(self, self._timer.drop)]

    def _nearest(self) -> "CancelContext":
        return self

    def done(self) -> RecvChan[None]:
        """A channel that is closed when work for this context should stop: a case of a select.

        The same channel each time.
        """
        found = self._done.get(None)
        if found is None:
            chan = Chan()
            _chan_keep(chan, self)
            found = self._done.setdefault(None, (chan, chan.receiver))
            if self._outcome:
                self._close_done()
        return found[1]

    def cancel(self, cause: BaseException | None = None) -> None:
        """Cancel this context and all below it, unless that has happened already.

        err() is a Canceled from now on, and cause() is the exception that is given, or err().
        Returns when all of them are done. Never waits; may be called from anywhere, also twice.
        """
        if cause is not None and not isinstance(cause, BaseException):
            raise TypeError(f"a cause is an exception, not {type(cause).__name__}")
        err = Canceled("context canceled")
        err.__cause__ = cause
        self._end(err, err if cause is None else cause)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    # ---- the end ----

    def _end(self, err: Exception, cause: BaseException) -> None:
        self._outcome.setdefault(None, (err, cause))
        failure: BaseException | None = None
        # An exception from outside (Ctrl-C) may come anywhere: the work is done first.
        for _ in range(3):
            if self._over:
                break
            try:
                _spread(self)
            except BaseException as exc:
                failure = failure or exc
        if failure is not None:
            raise failure

    def _close_done(self) -> None:
        found = self._done.get(None)
        if found is not None:
            try:
                found[0].close()
            except ChannelClosed:
                pass
            _chan_keep(found[0], None)

    def _leave(self) -> None:
        """Nothing of it stays in its parent, nor among the timers."""
        if self._above is not None:
            if self._ref is not None:
                self._above._below.discard(self._ref)
            self._above._kept.pop(id(self), None)
        if self._timer is not None:
            self._timer.stop()
        self._timed.clear()

    def _finish(self) -> None:
        self._start_callbacks()
        self._leave()  # not before: who begins anew, after an exception, looks for it there
        self._below.clear()
        self._kept.clear()
        self._over = True

    def _start_callbacks(self) -> None:
        for key in self._callbacks.copy():
            callback = self._callbacks.pop(key, None)
            if callback is not None:
                try:
                    _go_from(*callback)
                except BaseException:
                    self._callbacks.setdefault(key, callback)
                    raise

    def _pin(self) -> None:
        """Whoever could cancel it keeps it from now on: its ancestors, their timers and its own."""
        node = self
        while not node._pinned:
            node._pinned = True
            if node._timed:
                node._timed.append(node)
            above = node._above
            if above is not None:
                above._kept[id(node)] = node
            if node._outcome:
                node._leave()
            if above is None:
                break
            node = above


def _spread(root: CancelContext) -> None:
    """root has its outcome: the same for all below it.

    All have it before anybody is woken, so whoever is woken finds the whole tree done. A loop and
    no recursion: the tree may be deep.
    """
    nodes = [root]
    for node in nodes:
        outcome = node._outcome[None]
        for ref in node._below.copy():
            child = ref()
            if child is not None:
                child._outcome.setdefault(None, outcome)
                nodes.append(child)
    for node in nodes:
        node._close_done()
    for node in reversed(nodes):
        node._finish()


def _exceeded() -> _Outcome:
    err = DeadlineExceeded("context deadline exceeded")
    return err, err


def _expire(timed: list[Any]) -> None:
    """A timer's function."""
    for ref in timed[:1]:
        context = ref()
        if context is not None:
            context._end(*_exceeded())


# ---- making them ----


def _checked(context: Context, what: str = "parent") -> Context:
    if not isinstance(context, Context):
        raise TypeError(f"the {what} must be a Context, not {type(context).__name__}")
    return context


def _number(value: float, what: str) -> float:
    try:
        number = math.copysign(value, value)  # what float() does, but for str
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except TypeError:
        raise TypeError(f"{what} must be a number, not {type(value).__name__}") from None
    if math.isnan(number):
        raise ValueError(f"{what} must not be NaN")
    return number


_BACKGROUND = Context(None, None)


def background() -> Context:
    """The root of all contexts: never cancelled, without deadline and values."""
    return _BACKGROUND


def with_cancel(parent: Context) -> CancelContext:
    """A child of parent that can be cancelled."""
    return CancelContext(_checked(parent))


def with_deadline(parent: Context, instant: float) -> CancelContext:
    """A child of parent that is done at that time.monotonic() instant, or when parent is.

    Its err() is then DeadlineExceeded. An instant in the past: it is done at once. Infinity: no
    deadline of its own. ValueError for NaN.
    """
    instant = _number(instant, "the instant")
    return CancelContext(_checked(parent), None if instant == math.inf else instant)


def with_timeout(parent: Context, seconds: float) -> CancelContext:
    """with_deadline() that many seconds from now."""
    return with_deadline(parent, time.monotonic() + _number(seconds, "seconds"))


def with_value(parent: Context, key: object, value: object) -> Context:
    """A child of parent whose value(key) is value.

    For what belongs to a request and passes through many hands (its id, who is logged in); not a
    way to give functions their arguments. Keys of your own class do not collide with anybody's.
    """
    return _ValueContext(_checked(parent), key, value)


def without_cancel(parent: Context) -> Context:
    """A child of parent with its values, that is not cancelled with it and has no deadline."""
    return Context(_checked(parent), None)


def after_func(ctx: Context, fn: Callable[[], object]) -> Callable[[], bool]:
    """Run fn() in a goroutine of its own once ctx is done; at once if it is done already.

    Returns stop(), which says whether it kept fn from running: False if fn has been started or
    stop() was called before.
    """
    _check_callable("after_func", fn)
    nearest = _checked(ctx, "context")._nearest()
    callbacks = {} if nearest is None else nearest._callbacks
    key = object()
    callbacks[key] = _call_place(), fn

    def stop() -> bool:
        return callbacks.pop(key, None) is not None

    if nearest is not None:
        nearest._pin()
        if nearest._outcome:
            nearest._start_callbacks()
    return stop
