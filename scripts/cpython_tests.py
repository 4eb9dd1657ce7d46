#!/usr/bin/env python3
"""CPython's own tests, run in the main goroutine with everything patched.

    .venv-3.13/bin/python scripts/cpython_tests.py [MODULE ...]

Each module of CPython's test package runs in a process of its own, under `goroutines run`. What
fails there must be in KNOWN, with the reason; what is in KNOWN must fail. Tests in SKIPPED are not
run, as they would end the process or never end. Exit status 0 only if all is as expected.
"""

import json
import signal
import subprocess
import sys
import unittest
from collections.abc import Iterator

TIME_LIMIT = 600
MODULES = ["test_thread", "test_threading", "test_threading_local", "test_queue", "test_time"]

OS_IDENT = "C code takes the OS thread's ident where Python takes the goroutine's"
SUBINTERPRETER = "ends a subinterpreter that has threads: needs the main OS thread, in any program"
NO_LEAK = "wants a _DummyThread to stay in threading._active for ever"
OS_THREADS = "counts OS threads by their native ids; goroutines share them"
OS_COUNT = "_thread._count() counts OS threads"

# "module.Class.test": why it fails; or (least version, first version without, why).
KNOWN: dict[str, str | tuple[tuple[int, int], tuple[int, int], str]] = {
    "test_thread.ThreadRunningTests.test__count": OS_COUNT,
    "test_threading.ExceptHookTests.test_excepthook_thread_None": OS_IDENT,
    "test_threading.ThreadTests.test_foreign_thread": ((3, 11), (3, 13), NO_LEAK),
    "test_threading.ThreadTests.test_ident_of_no_threading_threads": ((3, 11), (3, 13), NO_LEAK),
    "test_threading.ThreadTests.test_various_ops": OS_THREADS,
    "test_threading.ThreadTests.test_various_ops_large_stack": OS_THREADS,
    "test_threading.ThreadTests.test_various_ops_small_stack": OS_THREADS,
}
SKIPPED = {
    "test_threading.ThreadTests.test_PyThreadState_SetAsyncExc": OS_IDENT,
    "test_threading.SubinterpThreadingTests.test_threads_join": SUBINTERPRETER,
    "test_threading.SubinterpThreadingTests.test_threads_join_2": SUBINTERPRETER,
    "test_threading.SubinterpThreadingTests.test_threads_join_in_subinterp": SUBINTERPRETER,
}


def expected(name: str) -> str | None:
    """Why that test fails on this Python; None if it does not."""
    why = KNOWN.get(name)
    if isinstance(why, tuple):
        return why[2] if why[0] <= sys.version_info[:2] < why[1] else None
    return why


def each(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        elif isinstance(test, unittest.TestCase):
            yield test


def name_of(test: object) -> str:
    """Without the package, and without what subTest and setUpClass add."""
    parent = getattr(test, "test_case", test)
    return str(parent.id()).removeprefix("test.")  # type: ignore[attr-defined]


def child(module: str) -> None:
    """Run the module's tests here; the last line of output is what failed, as JSON."""
    loaded = unittest.defaultTestLoader.loadTestsFromName(f"test.{module}")
    tests = unittest.TestSuite(t for t in each(loaded) if name_of(t) not in SKIPPED)
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(tests)
    bad = {name_of(test) for test, _ in result.failures + result.errors}
    print(json.dumps({"run": result.testsRun, "failed": sorted(bad)}), flush=True)


def run(module: str) -> tuple[str, list[str]]:
    """Run the module in a process of its own; its output and what failed."""
    command = [sys.executable, "-X", "faulthandler", "-m", "goroutines", "run", __file__]
    try:
        done = subprocess.run(
            [*command, "--child", module],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT,
        )
        last = done.stdout.rstrip().rpartition("\n")[2]
        summary = json.loads(last)
        print(f"{module}: {summary['run']} tests", flush=True)
        return done.stdout, summary["failed"]
    except subprocess.TimeoutExpired as hung:
        output = hung.stdout or b""
        text = output if isinstance(output, str) else output.decode(errors="replace")
        return text, [f"{module} (hangs)"]
    except (ValueError, KeyError, TypeError):
        return done.stdout, [f"{module} (ended with {done.returncode})"]


def main(modules: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children must not ignore it
    wrong = 0
    for module in modules:
        output, failed = run(module)
        bad = [name for name in failed if expected(name) is None]
        known = [name for name in KNOWN if name.startswith(f"{module}.") and expected(name)]
        passed = [name for name in known if name not in failed]
        for name in failed:
            print(f"  {'known' if name not in bad else 'FAILED'}: {name}")
        for name in passed:
            print(f"  PASSED, though it is known to fail: {name}")
        if bad:
            print(output[-20000:])
        wrong += len(bad) + len(passed)
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:] or MODULES))
