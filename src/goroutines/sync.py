"""Locks and other things that goroutines share, after Go's packages sync, sync/atomic and x/sync.

All of them may be used by goroutines, the main thread and other threads alike. Waiting parks the
goroutine and keeps no thread. Who waits is served in the order of coming.

    from goroutines.sync import Mutex, WaitGroup

    lock, group = Mutex(), WaitGroup()
    group.go(work, lock)
    group.wait()

https://pkg.go.dev/sync
"""

import functools
import threading
import time
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar, cast

from ._core import (
    AtomicInt,
    GoroutineExit,
    Mutex,
    RWMutex,
    Semaphore,
    WaitGroup,
    _check_timeout,
    _Waiters,
)
from ._types import Shared

__all__ = [
    "AtomicInt",
    "Cond",
    "Mutex",
    "Once",
    "Pool",
    "RWMutex",
    "Semaphore",
    "SingleFlight",
    "WaitGroup",
    "once_func",
    "once_value",
]

T = TypeVar("T")


class Lock(Protocol):
    """What a Cond needs of its lock. A Mutex has it, as have threading's and RWMutex.read()."""

    def acquire(self) -> object: ...
    def release(self) -> object: ...


class Cond(Shared):
    """A place where goroutines wait for something to become true.

    lock guards what they wait for; it is held when wait() is called and again when it is over. A
    new Mutex unless one is given. https://pkg.go.dev/sync#Cond
    """

    __slots__ = ("__weakref__", "_waiters", "lock")

    lock: Lock

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is not None and not (hasattr(lock, "acquire") and hasattr(lock, "release")):
            raise TypeError(f"a Cond's lock needs acquire() and release(): {lock!r} has not")
        self.lock = Mutex() if lock is None else lock
        self._waiters = _Waiters()

    def acquire(self, *args: Any, **kwargs: Any) -> Any:
        """Acquire the lock, with the lock's own arguments and result."""
        return self.lock.acquire(*args, **kwargs)

    def release(self) -> None:
        """Release the lock."""
        self.lock.release()

    def __enter__(self) -> Any:
        return self.lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lock.release()

    def wait(self, timeout: float | None = None) -> None:
        """Release the lock, wait until notified, take the lock again.

        RuntimeError if the lock is not held. TimeoutError after timeout seconds. Whatever ends the
        wait, also an exception, comes when the lock is held again; only where that can never be
        (DeadlockError) does it come without it. Test the condition in a loop, or use wait_for():
        somebody else may have been faster.
        """
        self._waiters.wait(self.lock, timeout)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until predicate() is true; its result.

        TimeoutError after timeout seconds, unless it is true by then. The lock is held whenever it
        is called.
        """
        _check_timeout(timeout)
        end = None
        if timeout is not None:
            end = time.monotonic() + float(min(timeout, threading.TIMEOUT_MAX))
        while not (result := predicate()):
            left = None if end is None else max(0.0, end - time.monotonic())
            try:
                self._waiters.wait(self.lock, left)
            except TimeoutError:
                if result := predicate():
                    return result
                raise
        return result

    def notify(self, n: int = 1) -> None:
        """Wake up to n of those who wait, the first ones first.

        They go on when they have the lock. RuntimeError if the lock is not held by anybody.
        """
        self._check_held()
        self._waiters.notify(n)

    def notify_all(self) -> None:
        """Wake all who wait. RuntimeError if the lock is not held by anybody."""
        self._check_held()
        self._waiters.notify_all()

    def _check_held(self) -> None:
        held = getattr(self.lock, "_is_owned", None) or getattr(self.lock, "locked", None)
        if held is not None and not held():
            raise RuntimeError("notify of a Cond whose lock is not held: notify in `with cond:`")

    def __repr__(self) -> str:
        return f"<goroutines.sync.Cond: {len(self._waiters)} waiting, {self.lock!r}>"


def _check_function(who: str, fn: object) -> None:
    if not callable(fn):
        raise TypeError(f"{who}() takes a function: {fn!r} is not callable")


class Once(Shared):
    """Does something exactly once. https://pkg.go.dev/sync#Once"""

    __slots__ = ("__weakref__", "_done", "_mutex")

    def __init__(self) -> None:
        self._done = False
        self._mutex = Mutex()

    def do(self, fn: Callable[[], object]) -> None:
        """Call fn, if this is the first call of do; else wait until that one is over.

        As in Go, an exception out of fn is raised where it was called, and counts as done: later
        calls, and those that wait, return. Calling do of the same Once in fn is a deadlock.
        """
        if self._done:
            return
        _check_function("Once.do", fn)
        with self._mutex:
            if not self._done:
                try:
                    fn()
                finally:
                    self._done = True

    def __repr__(self) -> str:
        return f"<goroutines.sync.Once: {'done' if self._done else 'not done'}>"


def once_value(fn: Callable[[], T], /) -> Callable[[], T]:
    """A function that calls fn when it is first called, and always returns what fn returned.

    As in Go, each call raises what fn raised; RuntimeError if fn's goroutine was told to end.
    https://pkg.go.dev/sync#OnceValue
    """
    _check_function("once_value", fn)
    once = Once()
    value: T
    error: BaseException | None = None
    trace: TracebackType | None = None

    def call() -> None:
        nonlocal value, error, trace
        try:
            value = fn()
        except BaseException as exc:
            error, trace = exc, exc.__traceback__
            raise

    @functools.wraps(fn)
    def once_only() -> T:
        once.do(call)
        if isinstance(error, GoroutineExit):
            raise RuntimeError(f"the goroutine that called {fn!r} was told to end") from error
        if error is not None:
            raise error.with_traceback(trace)
        return value

    return once_only


def once_func(fn: Callable[[], object], /) -> Callable[[], None]:
    """A function that calls fn when it is first called, and returns None.

    As in Go, each call raises what fn raised; RuntimeError if fn's goroutine was told to end.
    https://pkg.go.dev/sync#OnceFunc
    """

    _check_function("once_func", fn)

    @functools.wraps(fn)
    def call() -> None:
        fn()

    return once_value(call)


class Pool(Shared, Generic[T]):
    """Objects to be used again instead of being made anew. https://pkg.go.dev/sync#Pool

    new() makes one when there is none left. What is put back stays until it is taken or the pool
    goes.
    """

    __slots__ = ("__weakref__", "_items", "_new")

    def __init__(self, new: Callable[[], T]) -> None:
        if not callable(new):
            raise TypeError(
                f"a Pool takes a function that makes an object: {new!r} is not callable"
            )
        self._new = new
        self._items: list[T] = []

    def get(self) -> T:
        """One that was put back, and is nobody else's now; else what new() returns."""
        try:
            return self._items.pop()  # one step, as is append()
        except IndexError:
            pass
        return self._new()

    def put(self, x: T) -> None:
        """Give x to whoever calls get() next. It is not the caller's any more."""
        self._items.append(x)

    def __repr__(self) -> str:
        return f"<goroutines.sync.Pool: {len(self._items)} free, new={self._new!r}>"


class _Flight:
    """One call of SingleFlight, and those who wait for it.

    Either somebody joins before it lands, and then it is shared, or it lands before anybody joins,
    and then nobody may any more. dict.setdefault(), one step, decides which.
    """

    __slots__ = ("_fate", "error", "landed", "trace", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.trace: TracebackType | None = None
        self._fate: dict[None, bool] = {}  # whether it is shared, once that is decided
        self.landed = WaitGroup()
        self.landed.add()

    def join(self) -> bool:
        """False: too late."""
        return self._fate.setdefault(None, True)

    def shared(self) -> bool:
        """As it lands, and afterwards."""
        return self._fate.setdefault(None, False)


class SingleFlight(Shared):
    """Suppresses duplicate calls. https://pkg.go.dev/golang.org/x/sync/singleflight"""

    __slots__ = ("__weakref__", "_flights")

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    def do(self, key: Hashable, fn: Callable[..., T], *args: Any) -> tuple[T, bool]:
        """(fn(*args), shared): the result of one call for all who ask for key while it runs.

        shared: whether several got it. As in Go, an exception out of fn is raised in all of them.
        GoroutineExit ends only the goroutine that it is for: another one that waits calls its fn
        then. Calling do with the same key in fn is a deadlock.
        """
        while True:
            mine = _Flight()
            try:
                flight = self._flights.setdefault(key, mine)  # one step
                if flight is mine:
                    mine.value = fn(*args)
            except BaseException as exc:
                mine.error, mine.trace = exc, exc.__traceback__
                raise
            finally:
                self._land(key, mine)
            if flight is mine:
                return cast(T, mine.value), mine.shared()
            if flight.join():
                flight.landed.wait()
                if flight.error is None:
                    return cast(T, flight.value), True
                if not isinstance(flight.error, GoroutineExit):
                    raise flight.error.with_traceback(flight.trace)

    def _land(self, key: Hashable, mine: _Flight) -> None:
        try:
            if self._flights.get(key) is mine:
                del self._flights[key]
        finally:
            mine.shared()
            mine.landed.done()

    def __repr__(self) -> str:
        return f"<goroutines.sync.SingleFlight: {len(self._flights)} under way>"
