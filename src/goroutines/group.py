"""Group: goroutines that belong to a block of code, and their results.

    with Group(limit=10) as g:
        pages = [g.go(fetch, url) for url in urls]
    print([page.value() for page in pages])

No goroutine outlives the block, and no exception is lost. Prior art: trio's nurseries
(https://vorpus.org/blog/notes-on-structured-concurrency-or-go-statement-considered-harmful/), Go's
errgroup (https://pkg.go.dev/golang.org/x/sync/errgroup), ExceptionGroup (PEP 654). Other than in
errgroup a failure also wakes those that wait without looking at a context, and all failures are
reported.
"""

import operator
import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from ._core import (
    Chan,
    ChannelClosed,
    DeadlockError,
    GoroutineExit,
    _check_callable,
    _Member,
    recv,
    select,
    send,
)
from ._types import Shared
from .context import CancelContext, Context, background, with_cancel

__all__ = ["Group", "Result"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Result(Shared, Generic[_T_co]):
    """What a member of a Group will return. Made by Group.go()."""

    __module__ = "goroutines"
    __slots__ = ("__weakref__", "_ended", "_exc", "_member", "_trace", "_value")

    _value: _T_co

    def __init__(self) -> None:
        self._ended = Chan()  # closed once there is a value or an exception
        self._exc: BaseException | None = None
        self._trace: TracebackType | None = None
        self._member: _Member | None = None

    @property
    def done(self) -> bool:
        """Whether the member has ended."""
        return self._ended.closed

    def value(self, timeout: float | None = None) -> _T_co:
        """Wait for the member to end: what it returned; what it raised is raised here.

        One that was ended, or never began, because its group failed has raised GoroutineExit.
        TimeoutError after timeout seconds.
        """
        try:
            self._ended.recv_ok(timeout=timeout)
        except TimeoutError:
            raise TimeoutError("the member of the group has not ended yet") from None
        if self._exc is None:
            return self._value
        try:
            # It may be raised many times: each with the member's own traceback before it.
            raise self._exc.with_traceback(self._trace)
        finally:
            del self  # exception, traceback, frame, self, exception

    def _interrupt(self, again: bool) -> None:
        if self._member is not None:
            self._member.interrupt(again)

    def _settle(self, value: Any, exc: BaseException | None) -> None:
        self._value = value
        self._trace = None if exc is None else exc.__traceback__
        self._exc = exc

    def __repr__(self) -> str:
        if not self.done:
            state = "running"
        else:
            state = f"value {self._value!r}" if self._exc is None else f"raised {self._exc!r}"
        return f"<Result: {state}>"


class Group(Shared):
    """A block that starts goroutines and ends when all of them have ended.

    ctx: the parent of the group's context; None: background(). limit: how many members may run at
    a time, at least 1; None: any number.

    The first failure of a member, or of the block itself, cancels `context`, with the failure as
    its cause, and ends the others: GoroutineExit is raised in members that wait in this library, in
    those that compute or are blocked in C when they next wait in it, and those that have not begun
    never run. When all have ended the failure is raised by the block; if there are several, as an
    ExceptionGroup (a BaseExceptionGroup if one of them is no Exception).

    No failures are: GoroutineExit in a member, and what `context.check()` raises after the group
    has failed. A value that was handed to a member is never lost by the end of the group.

    What arrives while the block waits for its members (Ctrl-C, GoroutineExit because an outer group
    has failed or run() ends, DeadlockError) counts as a failure of the block; it goes on waiting.
    """

    __module__ = "goroutines"
    __slots__ = ("__weakref__", "_context", "_exits", "_failed", "_failures", "_halt", "_live",
                 "_slots", "_state")  # fmt: skip

    def __init__(self, ctx: Context | None = None, *, limit: int | None = None) -> None:
        if ctx is not None and not isinstance(ctx, Context):
            hint = f" (a limit is given as limit={ctx})" if isinstance(ctx, int) else ""
            raise TypeError(f"a Group's ctx is a Context, not {type(ctx).__name__}{hint}")
        self._slots = None if limit is None else Chan(object, _checked_limit(limit))
        self._context = with_cancel(background() if ctx is None else ctx)
        self._state = "not entered"
        self._live: set[Result[Any]] = set()
        self._failed = False
        self._halt = Chan()  # closed when the group has failed
        self._failures: dict[int, BaseException] = {}  # by id, in order
        # The exits that members ended with. No WeakSet: its callback is a Python function, and an
        # exception from outside that came there would be lost.
        self._exits: set[weakref.ref[GoroutineExit]] = set()

    @property
    def context(self) -> CancelContext:
        """A context for the members: cancelled at the first failure, and when the block ends."""
        return self._context

    # ---- members ----

    def go(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Result[_T]:
        """Start fn(*args, **kwargs) as a member. Waits while `limit` members run.

        Members, and others, may call it as well, until the block has ended: then RuntimeError. In a
        group that has failed it starts nothing, and the Result's value() raises GoroutineExit.
        TypeError at once if fn is not callable, or is an async function.
        """
        _check_callable("Group.go", fn)
        self._check_open()
        result: Result[_T] = Result()
        if not self._take_slot():
            result._settle(None, GoroutineExit())
            result._ended.close()
            return result
        member = result._member = _Member(partial(self._member_ended, result))
        try:
            self._live.add(result)
            self._check_open()  # after it was added: see _wait
            if self._failed:  # likewise: see _fail
                member.interrupt()
            member.start(fn, *args, **kwargs)
        except BaseException:
            if not member.started():
                self._live.discard(result)
                self._give_slot()
            raise
        return result

    def _check_open(self) -> None:
        if self._state != "open":
            raise RuntimeError(f"Group.go() outside of the group's with block: it is {self._state}")

    def _take_slot(self) -> bool:
        """False: the group has failed."""
        if self._slots is not None and not self._failed:
            select(send(self._slots, None), recv(self._halt))
        return not self._failed

    def _give_slot(self) -> None:
        if self._slots is not None:
            select(recv(self._slots), default=True)

    def _member_ended(self, result: Result[Any], value: Any, exc: BaseException | None) -> bool:
        """In the member's goroutine, undisturbed from outside. False: exc is homeless."""
        result._settle(value, exc)
        taken = True
        try:
            if isinstance(exc, GoroutineExit):
                self._exits.add(weakref.ref(exc, self._exits.discard))
            elif exc is not None and (failure := self._failure_in(exc, of_member=True)) is not None:
                # The block may have left one behind that was blocked in C.
                taken = self._state == "open"
                if taken:
                    self._fail(failure)
        finally:
            self._give_slot()
            result._ended.close()
            self._live.discard(result)
        return taken

    # ---- failures ----

    def _failure_in(self, exc: BaseException, *, of_member: bool) -> BaseException | None:
        """exc without what is no failure: a consequence of one, or the end of a member."""

        def follows(exc: BaseException) -> bool:
            if isinstance(exc, GoroutineExit):
                return of_member or weakref.ref(exc) in self._exits
            return self._failed and exc is self._context.err()

        if isinstance(exc, BaseExceptionGroup):
            consequences, failures = exc.split(follows)
            return failures if consequences else exc
        return None if follows(exc) else exc

    def _fail(self, exc: BaseException, again: bool = False) -> None:
        """All steps may be done twice, and by several at once."""
        self._failures.setdefault(id(exc), exc)
        if self._halt.closed and not again:
            return
        self._failed = True
        self._context.cancel(exc)
        for result in self._live.copy():
            result._interrupt(again)
        try:
            self._halt.close()
        except ChannelClosed:
            pass

    def _fail_in_block(self, exc: BaseException, while_waiting: bool) -> None:
        failure = self._failure_in(exc, of_member=False) if self._failed else exc
        if failure is None:
            return
        exc = failure
        if while_waiting and self._said_before(exc):
            exc = next(f for f in self._failures.values() if type(f) is type(exc))
        # All sleep for good: those that did not end when they were told are told once more.
        self._fail(exc, again=isinstance(exc, DeadlockError))

    def _said_before(self, exc: BaseException) -> bool:
        """Somebody is impatient; several of these say no more than one."""
        return isinstance(exc, GoroutineExit | KeyboardInterrupt | DeadlockError) and any(
            type(failure) is type(exc) for failure in self._failures.values()
        )

    # ---- the block ----

    def __enter__(self) -> Self:
        if self._state != "not entered":
            raise RuntimeError(f"a Group is for one with block, and this one is {self._state}")
        self._state = "open"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        arrived, while_waiting = value, False
        while True:
            try:
                if arrived is not None:
                    self._fail_in_block(arrived, while_waiting)
                self._drop_lost(ending=isinstance(arrived, GoroutineExit))
                self._wait()
                break
            except BaseException as exc:
                arrived, while_waiting = exc, True
        self._context.cancel()
        try:
            self._report(value)
        finally:
            del self, value, arrived  # exception, traceback, frame, exception

    def _drop_lost(self, ending: bool) -> None:
        """run() does not wait for what is blocked in C when it ends, so nor does a block then."""
        for result in self._live.copy():
            if result._member is not None and result._member.lost(ending):
                self._live.discard(result)

    def _wait(self) -> None:
        while True:
            for result in self._live.copy():
                result._ended.recv_ok()
                self._live.discard(result)
            if not self._live:
                # go() adds and then looks at the state: one of us sees the other.
                self._state = "over"
                if not self._live:
                    return
                self._state = "open"

    def _report(self, of_block: BaseException | None) -> None:
        failures = list(self._failures.values())
        self._failures.clear()
        try:
            if len(failures) > 1:
                raise BaseExceptionGroup(f"{len(failures)} failures in a Group", failures) from None
            if failures and failures[0] is not of_block:
                raise failures[0]
        finally:
            del failures, of_block, self

    def __repr__(self) -> str:
        limit = "" if self._slots is None else f", limit {self._slots.capacity}"
        failed = ", failed" if self._failed else ""
        return f"<Group: {self._state}{failed}, {len(self._live)} running{limit}>"


def _checked_limit(limit: int) -> int:
    try:
        number = operator.index(limit)
    except TypeError:
        raise TypeError(f"a Group's limit is an int, not {type(limit).__name__}") from None
    if number < 1:
        raise ValueError("a Group's limit must be at least 1")
    return number
