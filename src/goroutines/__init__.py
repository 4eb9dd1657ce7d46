"""Go's concurrency model for Python: goroutines, channels and select on an M:P:G scheduler.

    from goroutines import Chan, go, run

    def worker(jobs, results):
        for job in jobs:
            results.send(job * job)

    def main():
        jobs, results = Chan(int), Chan(int)
        go(worker, jobs, results)
        jobs.send(7)
        print(results.recv())

    run(main)

Any ordinary function can be a goroutine. A goroutine that blocks, in this library or in any call
that releases the GIL, does not hold up the others.
"""

# What the core calls is imported now: later there may be no descriptor left, or another root, and a
# forked child may find the lock of a module that another thread was importing.
from . import (  # noqa: F401
    _copy,
    _elem,
    _forked,
    _import_locks,
    _inherit,
    context,
    debug,
    patch,
    sync,
)
from ._core import (
    Chan,
    ChannelClosed,
    DeadlockError,
    GoroutineExit,
    RecvChan,
    SendChan,
    _chan_signature,
    _shutdown,
    go,
    goexit,
    gomaxprocs,
    gosched,
    lock_os_thread,
    num_goroutine,
    recv,
    run,
    select,
    send,
    set_max_threads,
    sleep,
    stack_size,
    unlock_os_thread,
    wait_readable,
    wait_writable,
)
from ._hook import ExceptHookArgs, excepthook
from ._signature import ChanSignature
from ._types import Selected
from .group import Group, Result
from .timers import Ticker, Timer, after, after_func

__all__ = [
    "Chan",
    "ChannelClosed",
    "DeadlockError",
    "ExceptHookArgs",
    "GoroutineExit",
    "Group",
    "RecvChan",
    "Result",
    "Selected",
    "SendChan",
    "Ticker",
    "Timer",
    "after",
    "after_func",
    "context",
    "debug",
    "excepthook",
    "go",
    "goexit",
    "gomaxprocs",
    "gosched",
    "lock_os_thread",
    "num_goroutine",
    "patch",
    "recv",
    "run",
    "select",
    "send",
    "set_max_threads",
    "sleep",
    "stack_size",
    "sync",
    "unlock_os_thread",
    "wait_readable",
    "wait_writable",
]


def _start() -> None:
    import atexit

    _chan_signature(ChanSignature())
    _import_locks.install()
    atexit.register(_shutdown)


_start()
