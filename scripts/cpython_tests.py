#!/usr/bin/env python3
"""CPython's own tests, run in the main goroutine with everything patched.

    .venv-3.13/bin/python scripts/cpython_tests.py [-j MODULES_AT_A_TIME] [MODULE ...]

Each module of CPython's test package runs in a process of its own, under `goroutines run`. What
does not pass there is run again by plain Python. What passes only in plain Python must be in
cpython_tests.toml, with the reason, and what is there must not pass. Exit status 0 only if all is
as expected and, of all modules, fewer than 3 % of the tests are listed.
"""

import argparse
import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
import tomllib
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from test import support  # type: ignore[import-not-found]

TIME_LIMIT = 900
MOST_EXEMPTED = 3.0  # per cent
LISTS = Path(__file__).with_suffix(".toml")
MODULES = [
    "test_thread",
    "test_threading",
    "test_threading_local",
    "test_queue",
    "test_time",
    "test_sched",
    "test_signal",
    "test_select",
    "test_poll",
    "test_epoll",
    "test_selectors",
    "test_socket",
    "test_socketserver",
    "test_ssl",
    "test_httplib",
    "test_urllib",
    "test_urllib2_localnet",
    "test_ftplib",
    "test_smtplib",
    "test_poplib",
    "test_imaplib",
    "test_xmlrpc",
    "test_wsgiref",
    "test_subprocess",
    "test_logging",
    "test_concurrent_futures",
    "test_asyncio",
]


@dataclass
class Lists:
    """What cpython_tests.toml says about this Python."""

    exempt: set[str] = field(default_factory=set)
    not_run: set[str] = field(default_factory=set)  # of these
    unfit: set[str] = field(default_factory=set)  # for any Python


def holds(entry: dict[str, Any]) -> bool:
    first, beyond = entry.get("from", "3.11"), entry.get("before", "4.0")
    as_numbers = (tuple(map(int, version.split("."))) for version in (first, beyond))
    return next(as_numbers) <= sys.version_info[:2] < next(as_numbers)


def read_lists() -> Lists:
    tables, lists = tomllib.loads(LISTS.read_text()), Lists()
    for entry in filter(holds, tables["exempt"]):
        lists.exempt |= set(entry["tests"])
        if not entry.get("run", True):
            lists.not_run |= set(entry["tests"])
    for entry in filter(holds, tables["unfit"]):
        lists.unfit |= set(entry["tests"])
    return lists


# ---- in the process of a module ----


def each(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from each(part)
        elif isinstance(part, unittest.TestCase):
            yield part


def load(module: str) -> list[unittest.TestCase]:
    try:
        return list(each(unittest.defaultTestLoader.loadTestsFromName(f"test.{module}")))
    except unittest.SkipTest:
        return []  # for another platform


def name_of(test: object) -> str:
    """Without the package, and without what subTest adds."""
    parent = getattr(test, "test_case", test)
    return str(parent.id()).removeprefix("test.")  # type: ignore[attr-defined]


class Result(unittest.TextTestResult):
    """Knows what has passed, as well as what has failed."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.passed: set[str] = set()

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.passed.add(name_of(test))

    def addExpectedFailure(self, test: unittest.TestCase, err: object) -> None:
        super().addExpectedFailure(test, err)  # type: ignore[arg-type]
        self.passed.add(name_of(test))


def child(module: str, report: Path, earlier: Path | None) -> None:
    """Run the module's tests here, or what did not pass earlier, and report what passes."""
    faulthandler.dump_traceback_later(TIME_LIMIT, exit=True)
    support.SHORT_TIMEOUT *= float(os.environ.get("GOROUTINES_TEST_SLACK", "1"))
    tests = load(module)
    lists = read_lists()
    names = {name_of(test) for test in tests} - lists.unfit
    chosen = report_of(earlier)[1] if earlier else names - lists.not_run
    suite = unittest.TestSuite(test for test in tests if name_of(test) in chosen)
    runner = unittest.TextTestRunner(verbosity=2, stream=sys.stdout, resultclass=Result)
    result = runner.run(suite)
    assert isinstance(result, Result)
    outside = {name_of(test) for test, _ in result.errors}  # setUpClass and its like
    rest = (names | outside) - result.passed
    report.write_text(json.dumps([sorted(result.passed), sorted(rest)]))


def report_of(path: Path) -> tuple[set[str], set[str]]:
    passed, rest = json.loads(path.read_text())
    return set(passed), set(rest)


# ---- in the process that starts them ----


@dataclass
class Outcome:
    """Of one module."""

    lines: list[str] = field(default_factory=list)
    ran: int = 0
    exempted: int = 0
    wrong: int = 0


def modules_in(name: str) -> list[str]:
    """Itself, or its modules if it is a package; some Pythons come without some."""
    if find_spec(f"test.{name}") is None:
        print(f"{name}: not in this Python's test package")
        return []
    folder = Path(support.TEST_HOME_DIR, name)
    return sorted(f"{name}.{path.stem}" for path in folder.glob("test_*.py")) or [name]


def start(command: list[str], folder: str, output: Path) -> int | None:
    """Run it to its end, all that it leaves behind included; None if it hangs."""
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", *command],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return process.wait(TIME_LIMIT + 30)
    except subprocess.TimeoutExpired:
        return None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def run(module: str, lists: Lists) -> Outcome:
    """Run the module in a process of its own; what does not pass, once more in plain Python."""
    with tempfile.TemporaryDirectory(prefix="cpython-tests-") as folder:
        output, patched, plain = (Path(folder, name) for name in ("output", "patched", "plain"))
        program = [__file__, "--child", module]
        status = start(["-m", "goroutines", "run", *program, str(patched)], folder, output)
        text = output.read_text(errors="replace")
        if status != 0:
            how = "hangs" if status is None else f"ended with {status}"
            return Outcome([text[-5000:], f"{module}: {how}"], wrong=1)
        passed, rest = report_of(patched)
        listed = {name for name in lists.exempt if name.startswith(f"{module}.")}
        gone = listed - passed - rest
        if rest:
            start([*program, str(plain), str(patched)], folder, Path(folder, "plain-output"))
            rest &= report_of(plain)[0]
    failed = rest - listed
    lines = [text[text.find(unittest.TextTestResult.separator1) :]] if failed else []
    lines += [f"  FAILED: {name}" for name in sorted(failed)]
    lines += [f"  PASSED, though it is listed: {name}" for name in sorted(listed & passed)]
    lines += [f"  listed, but there is no such test: {name}" for name in sorted(gone)]
    lines += [f"{module}: {len(passed | rest)} tests, {len(rest)} exempted"]
    wrong = len(failed) + len(listed & passed) + len(gone)
    return Outcome(lines, len(passed | rest), len(rest), wrong)


def main(at_a_time: int, modules: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children must not ignore it
    lists = read_lists()
    parts = [part for module in modules for part in modules_in(module)]
    ran = exempted = wrong = 0
    with ThreadPoolExecutor(at_a_time) as pool:
        for outcome in pool.map(lambda part: run(part, lists), parts):
            print("\n".join(outcome.lines), flush=True)
            ran += outcome.ran
            exempted += outcome.exempted
            wrong += outcome.wrong
    share = 100 * exempted / max(ran, 1)
    print(f"exempted: {exempted} of {ran} tests ({share:.2f} %)")
    print(f"{ran - wrong} passed, {wrong} failed")
    too_many = modules == MODULES and share >= MOST_EXEMPTED
    return 1 if wrong or too_many else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]) if sys.argv[4:] else None)
    else:
        parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
        parser.add_argument("-j", type=int, default=1, metavar="MODULES_AT_A_TIME")
        parser.add_argument("modules", nargs="*", metavar="MODULE", default=MODULES)
        arguments = parser.parse_args()
        sys.exit(main(arguments.j, arguments.modules))
