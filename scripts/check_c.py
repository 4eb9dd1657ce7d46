"""Build every tests/runtime/test_*.c against src/runtime and run it: the runtime without Python.

usage: PYTHON scripts/check_c.py [--only VARIANT] [NAME ...]

Each program runs in these variants (NAME: only the programs whose names contain one of these):
  plain      optimised, as in the wheel
  runq4      run queues of 4 instead of 256, so that the overflow and wrap-around paths are common
  asan       AddressSanitizer and UndefinedBehaviorSanitizer
  tsan       ThreadSanitizer
  valgrind   memcheck, where installed
and the model checker (tests/model/run.sh); where the tools are there, also test_context on aarch64
under qemu (tests/runtime/run_aarch64.sh).  One line each, then 'N passed, N failed'.

A program takes its size from the environment variable RT_SCALE (1.0: the full one).  A comment
`check-c: skip VARIANT ...` in its source leaves it out there, `check-c: timeout SECONDS` gives it
more than the usual time.  GOROUTINES_TEST_SLACK multiplies the times.  Other .c files in
tests/runtime are linked to every program.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

RUNTIME = Path("src/runtime")
TESTS = Path("tests/runtime")
BUILD = Path("build/check-c")
LOGS = BUILD / "logs"
TIMEOUT = 150.0
SLACK = max(1.0, float(os.environ.get("GOROUTINES_TEST_SLACK", "1")))
# Programs that run at a time: they sleep a lot.
JOBS = 2

CC = os.environ.get("CC") or next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), "cc")
FLAGS = [
    *("-std=gnu11", "-D_GNU_SOURCE", "-g", "-pthread", "-fno-omit-frame-pointer"),
    *("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wvla", "-Werror"),
    *("-Wno-unused-parameter", "-Wno-missing-field-initializers"),
    f"-I{RUNTIME}",
    f"-I{TESTS}",
]
# Stacks of our own hide pointers from LeakSanitizer, which reads only those it knows of; valgrind
# is the one to look for leaks.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Variant(NamedTuple):
    name: str
    flags: list[str]
    scale: float
    runner: list[str]
    # The variant whose binaries it runs, if not its own.
    binaries: str = ""


class Outcome(NamedTuple):
    title: str
    log: Path
    problem: str  # empty: it succeeded
    seconds: float = 0.0


def fixed_addresses() -> list[str]:
    """A prefix that turns address randomisation off: sanitizers of older compilers need that."""
    setarch = ["setarch", platform.machine(), "-R"]
    works = (
        shutil.which("setarch")
        and subprocess.run([*setarch, "true"], capture_output=True, check=False).returncode == 0
    )
    return setarch if works else []


def variants() -> list[Variant]:
    fixed = fixed_addresses()
    asan = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    all_of_them = [
        Variant("plain", ["-O2"], 0.5, []),
        Variant("runq4", ["-O2", "-DRUNQ_SIZE=4"], 0.25, []),
        Variant("asan", asan, 0.1, fixed),
        Variant("tsan", ["-O1", "-fsanitize=thread"], 0.05, fixed),
    ]
    if shutil.which("valgrind"):
        memcheck = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full"]
        memcheck += ["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]
        # A jump by more than this is a switch between stacks; stacks lie 64 KiB apart at least.
        memcheck += ["--max-stackframe=30000"]
        memcheck.append(f"--suppressions={TESTS}/valgrind.supp")
        all_of_them.append(Variant("valgrind", [], 0.02, memcheck, binaries="plain"))
    else:
        print("valgrind is not installed: left out")
    return all_of_them


def note(program: Path, key: str) -> list[str]:
    """The words of a `check-c: KEY WORD ...` comment in the program's source."""
    match = re.search(rf"check-c: {key} ([\w. ]+)", program.read_text())
    return match[1].split() if match else []


def run(command: list[str], log: Path, timeout: float, env: dict[str, str]) -> str:
    """Run a command with its output in a log.  Empty if it succeeded, else what happened."""
    timeout *= SLACK
    with log.open("w") as out:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                env={**os.environ, **env},
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"no end after {timeout:.0f} s"
        except OSError as error:
            return str(error)
    return f"exit status {done.returncode}" if done.returncode else ""


def timed_run(
    title: str, command: list[str], log: Path, timeout: float, env: dict[str, str]
) -> Outcome:
    begun = time.monotonic()
    problem = run(command, log, timeout, env)
    return Outcome(title, log, problem, time.monotonic() - begun)


def report(outcome: Outcome) -> Outcome:
    title, log, problem, took = outcome
    if not problem:
        print(f"ok    {title} ({took:.1f} s)", flush=True)
        return outcome
    print(f"FAIL  {title}: {problem}, see {log}", flush=True)
    for line in log.read_text(errors="replace").splitlines()[-30:]:
        print("      " + line)
    return outcome


def compile_one(source: Path, folder: Path, flags: list[str]) -> str:
    """Compile to an object file.  Empty if it succeeded, else the compiler's complaint."""
    obj = folder / (source.name + ".o")
    command = [CC, *FLAGS, *flags, "-c", str(source), "-o", str(obj)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def runtime_sources() -> list[Path]:
    assembly = RUNTIME / f"context_{platform.machine()}.S"
    return [*sorted(RUNTIME.glob("*.c")), assembly]


def build(variant: Variant, programs: list[Path], shared: list[Path]) -> dict[Path, str]:
    """Compile and link all programs; what went wrong, by program."""
    folder = BUILD / variant.name
    folder.mkdir(parents=True, exist_ok=True)
    library = [*runtime_sources(), *shared]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sources = library + programs
        complaints = dict(
            zip(
                sources,
                pool.map(lambda s: compile_one(s, folder, variant.flags), sources),
                strict=True,
            )
        )
        broken = "".join(complaints[source] for source in library)
        # An archive, so that a program takes in only those parts of the runtime that it needs.
        archive = folder / "runtime.a"
        archive.unlink(missing_ok=True)
        objects = [str(folder / (source.name + ".o")) for source in library]
        if not broken:
            subprocess.run(["ar", "rcs", str(archive), *objects], check=True)

        def link(program: Path) -> str:
            if broken or complaints[program]:
                return broken or complaints[program]
            parts = [str(folder / (program.name + ".o")), str(archive), "-ldl"]
            command = [CC, *FLAGS, *variant.flags, *parts, "-o", str(folder / program.stem)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done.stderr if done.returncode else ""

        return dict(zip(programs, pool.map(link, programs), strict=True))


def check_variant(
    variant: Variant, programs: list[Path], shared: list[Path], built: dict[str, dict[Path, str]]
) -> Iterable[Outcome]:
    programs = [p for p in programs if variant.name not in note(p, "skip")]
    source = variant.binaries or variant.name
    if source not in built:
        plain = variant if source == variant.name else Variant(source, ["-O2"], 1.0, [])
        built[source] = build(plain, programs, shared)

    def check(program: Path) -> Outcome:
        title = f"{variant.name:9}{program.stem}"
        log = LOGS / f"{variant.name}-{program.stem}.log"
        problem = built[source].get(program, "not built")
        if problem:
            log.write_text(problem)
            return Outcome(title, log, "does not build")
        seconds = float((note(program, "timeout") or [str(TIMEOUT)])[0])
        env = {"RT_SCALE": str(variant.scale), **SANITIZER_OPTIONS}
        command = [*variant.runner, str(BUILD / source / program.stem)]
        return timed_run(title, command, log, seconds, env)

    with ThreadPoolExecutor(JOBS) as pool:
        for outcome in pool.map(check, programs):
            yield report(outcome)


def check_script(name: str, script: Path, tools: list[str], timeout: float) -> Iterable[Outcome]:
    """A shell script that checks something by itself, if it and its tools are there."""
    absent = [tool for tool in tools if not shutil.which(tool)]
    if not script.exists() or absent:
        print(f"{name}: left out, no {script if not script.exists() else ', '.join(absent)}")
        return
    log = LOGS / f"{name}.log"
    title = f"{name:9}{script}"
    yield report(timed_run(title, ["bash", str(script)], log, timeout, {"RT_SCALE": "0.2"}))


def check_all(only: str | None, names: list[str]) -> list[Outcome]:
    wanted = [
        p for p in sorted(TESTS.glob("test_*.c")) if not names or any(n in p.stem for n in names)
    ]
    shared = [p for p in sorted(TESTS.glob("*.c")) if not p.name.startswith("test_")]
    outcomes: list[Outcome] = []
    built: dict[str, dict[Path, str]] = {}
    for variant in variants():
        if only in (None, variant.name):
            outcomes += check_variant(variant, wanted, shared, built)
    if only in (None, "aarch64") and not names:
        tools = ["aarch64-linux-gnu-gcc", "qemu-aarch64"]
        outcomes += check_script("aarch64", TESTS / "run_aarch64.sh", tools, 300)
    if only in (None, "model") and not names:
        outcomes += check_script("model", Path("tests/model/run.sh"), [], 600)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the C runtime without Python.")
    parser.add_argument("--only", metavar="VARIANT", help="run this variant alone")
    parser.add_argument("names", nargs="*", metavar="NAME", help="programs whose name contains it")
    options = parser.parse_args()
    LOGS.mkdir(parents=True, exist_ok=True)
    outcomes = check_all(options.only, options.names)
    failed = sum(bool(outcome.problem) for outcome in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
