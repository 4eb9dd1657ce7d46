"""What every test runs under: a time limit, no goroutines left over, a chosen switch interval.

The time limit (mark `hang(seconds)`, else 60 s) is kept by faulthandler's own C thread: it writes
the stack of every thread state, thus of the goroutines too, and ends the process.  A Python thread
or a signal handler could say it more nicely, but the runtime counts both among the things that may
wake a goroutine, so that no test would ever see a `DeadlockError`.

Environment:
  GOROUTINES_TEST_SLACK           multiplies the limits (default 1)
  GOROUTINES_TEST_SWITCHINTERVAL  sys.setswitchinterval, in seconds (default: the interpreter's)
"""

import faulthandler
import os
import signal
import sys
from collections.abc import Iterator

import goroutines
import helpers
import pytest
from goroutines import debug

HANG = 60.0
SWITCH_INTERVAL = os.environ.get("GOROUTINES_TEST_SWITCHINTERVAL")

# The real stderr, whatever pytest's capturing does to descriptor 2 later.
_stderr_fd = -1


def pytest_configure() -> None:
    global _stderr_fd
    _stderr_fd = os.dup(2)
    if SWITCH_INTERVAL:
        sys.setswitchinterval(float(SWITCH_INTERVAL))
    # A shell ignores SIGINT in a background job, and all that the job starts would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return (
        f"goroutines {helpers.version()}, GOMAXPROCS {goroutines.gomaxprocs()}, "
        f"switch interval {sys.getswitchinterval() * 1e6:.0f} us"
    )


def _arm(item: pytest.Item) -> None:
    mark = item.get_closest_marker("hang")
    limit = helpers.slack(mark.args[0] if mark else HANG)
    faulthandler.dump_traceback_later(limit, exit=True, file=_stderr_fd)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _arm(item)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    _arm(item)  # pytest disarms faulthandler when a test has failed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failure report shows the goroutines that were there."""
    report = yield
    if report.failed and goroutines.num_goroutine():
        report.sections.append(("Goroutines", debug.stacks()))
    return report


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """Goroutines that a test left behind outside run() end before the next test."""
    yield
    if goroutines.num_goroutine():
        goroutines.run(lambda: None)
