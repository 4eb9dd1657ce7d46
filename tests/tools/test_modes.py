"""The interpreter's own switches: development mode, debug allocators, tracemalloc, perf.

The rule: a program with goroutines prints the same under each of them, and nothing on stderr.
"""

import os
import sys
from pathlib import Path

import pytest
from helpers import prints, script, told

from .support import command

PROGRAM = """
import goroutines as G
def worker(jobs, results):
    for job in jobs:
        G.sleep(0)
        results.send(sorted([job, -job], key=lambda x: G.gosched() or x)[1] ** 2)
def fails():
    raise ValueError("expected")
def main():
    jobs, results = G.Chan(int), G.Chan(int, 10)
    for _ in range(20):
        G.go(worker, jobs, results)
    G.go(lambda: [[jobs.send(i) for i in range(200)], jobs.close()])
    total = sum(results.recv() for _ in range(200))
    hooked = G.Chan(capacity=1)
    G.excepthook = lambda args: hooked.send(args.exc_type.__name__)
    G.go(fails)
    try:
        G.Chan().recv(timeout=0.001)
    except TimeoutError:
        pass
    index, value, ok = G.select(G.recv(G.after(0.001)), G.recv(None))
    for _ in range(50):
        G.go(G.Chan().recv)
    return total, hooked.recv(), index, ok
print(G.run(main))
"""
EXPECTED = "(2646700, 'ValueError', 0, True)"

OPTIONS = {
    "dev": ["-X", "dev"],
    "dev, warnings are errors": ["-X", "dev", "-W", "error"],
    "warnings are errors": ["-W", "error"],
    "optimized": ["-OO"],
    "isolated": ["-I"],
    "bytes warnings": ["-bb"],
    "tracemalloc": ["-X", "tracemalloc=10"],
    "no frozen modules": ["-X", "frozen_modules=off"],
    "utf8": ["-X", "utf8"],
    "no debug ranges": ["-X", "no_debug_ranges"],
}
VARIABLES = {
    "dev mode": {"PYTHONDEVMODE": "1"},
    "malloc debug": {"PYTHONMALLOC": "debug"},
    "malloc": {"PYTHONMALLOC": "malloc"},
    "malloc_debug": {"PYTHONMALLOC": "malloc_debug"},
    "hash seed": {"PYTHONHASHSEED": "0"},
    "asyncio debug": {"PYTHONASYNCIODEBUG": "1"},
    "guards by mprotect": {"GOROUTINES_STACK_GUARD": "mprotect"},
    "no guards": {"GOROUTINES_STACK_GUARD": "none"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options(options: list[str]) -> None:
    """-W error fails on a warning of ours; the debug allocators on a use after free of ours."""
    prints(PROGRAM, EXPECTED, options=options)


@pytest.mark.parametrize("env", VARIABLES.values(), ids=VARIABLES)
def test_variables(env: dict[str, str]) -> None:
    """As above, by environment variables."""
    prints(PROGRAM, EXPECTED, env=env)


def test_importtime_and_verbose_only_add_their_own_output() -> None:
    for options in (["-X", "importtime"], ["-v"]):
        done = script(PROGRAM, options=options)
        assert (done.returncode, done.stdout.strip()) == (0, EXPECTED), told(done)


def test_a_resource_warning_in_a_goroutine() -> None:
    """Reaches stderr with the line in the goroutine, as it would from a thread."""
    done = script(
        """
        import goroutines as G
        def forgets(over):
            file = open("/dev/null")
            G.sleep(0.001)
            del file
            over.send(None)
        def main():
            over = G.Chan()
            G.go(forgets, over)
            over.recv()
        G.run(main)
        """,
        options=["-X", "dev"],
    )
    assert done.returncode == 0 and "ResourceWarning: unclosed file" in done.stderr, told(done)


def test_a_warning_that_is_an_error_in_a_goroutine() -> None:
    """`-W error` makes an unused case raise nothing fatal: it is reported as unraisable."""
    done = script(
        """
        import goroutines as G
        def main():
            c = G.Chan()
            G.recv(c)
            return "fine"
        print(G.run(main))
        """,
        options=["-W", "error"],
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), told(done)
    assert "select case was never used" in done.stderr, told(done)


def test_tracemalloc_tells_the_line_in_the_goroutine() -> None:
    """Tracebacks end at the goroutine's own first frame."""
    prints(
        """
        import tracemalloc
        tracemalloc.start(10)
        import goroutines as G
        kept = []
        def outer():
            allocates()
        def allocates():
            G.sleep(0.001)
            kept.append(bytearray(1_234_567))
        def main():
            for _ in range(3):
                G.go(outer)
            while len(kept) < 3:
                G.sleep(0.001)
            traces = tracemalloc.take_snapshot().traces
            mine = [t for t in traces if t.size > 1_234_000]
            first = outer.__code__.co_firstlineno
            return len(mine), {tuple(f.lineno - first for f in t.traceback) for t in mine}
        print(G.run(main))
        """,
        "(3, {(1, 4)})",
    )


needs_trampoline = pytest.mark.skipif(
    sys.version_info < (3, 12) or not hasattr(sys, "activate_stack_trampoline"),
    reason="perf support is new in 3.12",
)


def perf_map(pid: int) -> Path:
    return Path(f"/tmp/perf-{pid}.map")


@needs_trampoline
@pytest.mark.parametrize("how", ["option", "call"])
def test_the_perf_trampoline(how: str) -> None:
    """Frames of goroutines run through it, park below it, and stand in perf's map by name."""
    source = "import os\nprint(os.getpid())\n" + PROGRAM
    if how == "call":
        source = "import sys\nsys.activate_stack_trampoline('perf')\n" + source
    done = script(source, options=["-X", "perf"] if how == "option" else [])
    if "perf" in done.stderr and "not available" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, told(done)
    pid, _, rest = done.stdout.partition("\n")
    assert rest.strip() == EXPECTED, told(done)
    try:
        assert "py::worker:" in perf_map(int(pid)).read_text()
    finally:
        perf_map(int(pid)).unlink(missing_ok=True)


@needs_trampoline
def test_the_trampoline_is_switched_while_goroutines_are_parked() -> None:
    """Those that parked without it return without it, and the other way round.

    Once only: switched off and on again, 3.14 and 3.15 crash in plain Python, too.
    """
    done = script(
        """
        import os, sys
        import goroutines as G
        def parks(c, n):
            if n:
                return parks(c, n - 1)
            return sorted([3, 1, 2], key=lambda x: [x, c.recv()][0])
        def main():
            c, out = G.Chan(), G.Chan(capacity=30)
            for i in range(30):
                G.go(lambda: out.send(parks(c, 5)))
                if i == 14:
                    sys.activate_stack_trampoline("perf")
                G.gosched()
            for _ in range(90):
                c.send(None)
            return all(out.recv() == [1, 2, 3] for _ in range(30))
        print(G.run(main))
        os.unlink(f"/tmp/perf-{os.getpid()}.map")
        """
    )
    if "not available" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", ""), told(done)


def test_a_program_with_a_null_stderr(tmp_path: Path) -> None:
    """Nothing that we print ourselves needs sys.stderr."""
    source = "import sys\nsys.stderr = None\n" + PROGRAM.replace(
        "G.excepthook =", "ignored ="
    ).replace("hooked.recv()", "'no hook'")
    (tmp_path / "program.py").write_text(source)
    done = command("program.py", cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stdout.strip()) == (0, EXPECTED.replace("ValueError", "no hook"))
