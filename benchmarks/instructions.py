"""Counts instructions per operation: what a change costs or saves, on a noisy machine too.

Each program runs twice, with different N; the difference is free of start-up. Counted by `perf
stat` where the processor's counters can be had, else by valgrind's callgrind, which follows our
stacks well enough for totals and for a function's own instructions (not for inclusive ones across
a switch). sysmon's looks are counted too, more of them on a busy machine, where everything takes
longer; on a quiet one repeated counts differ by less than 1 %.

    python benchmarks/instructions.py [--functions COUNT] [PROGRAM ...]
    python benchmarks/instructions.py --check     fails when one has grown by more than 5 %
    python benchmarks/instructions.py --update    writes what it counts to instructions.json

The table has a column for each build of Python, as most of the instructions are the interpreter's.
Exit status 75: nothing to count with, or the table does not have this build.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE / "instructions.json"
PROGRAMS = [
    "pingpong",
    "buffered",
    "iterated",
    "spawn",
    "chained_spawn",
    "yielding",
    "select4",
    "ring",
]
WARMED_UP = set(PROGRAMS) - {"ring"}  # measure.benchmark() does N / 10 more
SMALL, LARGE = 2_000, 22_000
MAY_GROW = 0.05
TRIES = 3  # chance only adds: the least count is the best
LEFT_OUT = 75
ENVIRONMENT = os.environ | {"GOMAXPROCS": "1", "PYTHONHASHSEED": "1"}


def run(command: list[str]) -> str:
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def perf_count(program: list[str]) -> int | None:
    """None: not supported here."""
    if not shutil.which("perf"):
        return None
    done = subprocess.run(
        ["perf", "stat", "-x,", "-e", "instructions:u", *program],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^(\d+),[^,]*,instructions", done.stderr, re.MULTILINE)
    return int(found[1]) if found else None


def callgrind_counts(program: list[str]) -> Counter[str]:
    """Own instructions by function; "" is the total."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *program])
        listing = run(["callgrind_annotate", "--threshold=100", "--auto=no", out])
    counts: Counter[str] = Counter()
    for line in listing.splitlines():
        found = re.match(r"\s*([\d,]+)\s+\([^)]*\)\s+(\S.*)", line)
        if not found:
            continue
        own = int(found[1].replace(",", ""))
        if found[2].startswith("PROGRAM TOTALS"):
            counts[""] = own
        else:
            counts[short(found[2])] += own
    return counts


def short(place: str) -> str:
    """The function alone of `file:function'2 [object]`, where '2 marks recursion."""
    return re.sub(r"'\d+$", "", place.partition(" [")[0].rpartition(":")[2])


def counter() -> str | None:
    """What there is to count with."""
    if perf_count([sys.executable, "-c", ""]) is not None:
        return "perf"
    return "callgrind" if shutil.which("valgrind") else None


def per_operation(name: str, how: str) -> Counter[str]:
    def program(n: int) -> list[str]:
        return [sys.executable, str(HERE / "goroutines" / f"{name}.py"), str(n)]

    operations = LARGE - SMALL
    if name in WARMED_UP:
        operations += operations // 10
    if how == "perf":
        small, large = perf_count(program(SMALL)), perf_count(program(LARGE))
        return Counter({"": ((large or 0) - (small or 0)) // operations})
    before, after = callgrind_counts(program(SMALL)), callgrind_counts(program(LARGE))
    return Counter({key: round((after[key] - before[key]) / operations) for key in after})


def this_build(how: str) -> str:
    """What the numbers depend on, besides this package."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimized = " optimized" if "--enable-optimizations" in arguments else ""
    version, compiler = platform.python_version(), platform.python_compiler()
    return f"{version}{optimized}, {compiler}, {platform.machine()}, {how}"


def least(name: str, how: str, enough: float = 0) -> int:
    """Of up to TRIES counts, until one is no more than enough."""
    counted = per_operation(name, how)[""]
    for _ in range(TRIES - 1):
        if counted > enough:
            counted = min(counted, per_operation(name, how)[""])
    return counted


def compare(name: str, expected: int, how: str) -> bool:
    """Whether it has grown too much, and says so."""
    counted = least(name, how, expected * (1 + MAY_GROW))
    change = counted / expected - 1
    grown = change > MAY_GROW
    verdict = "GROWN: was" if grown else "table:"
    print(
        f"{name:14} {counted:7,} instructions, {verdict} {expected:,} ({change:+.1%})", flush=True
    )
    return grown


def check(table: dict[str, dict[str, int]], build: str, how: str) -> int:
    if build not in table:
        print(f"left out: {TABLE.name} has no column for {build}")
        return LEFT_OUT
    grown = [compare(name, expected, how) for name, expected in table[build].items()]
    return 1 if any(grown) else 0


def update(table: dict[str, dict[str, int]], build: str, how: str) -> int:
    table[build] = {name: least(name, how) for name in PROGRAMS}
    TABLE.write_text(json.dumps(dict(sorted(table.items())), indent=4) + "\n")
    return 0


def show(programs: list[str], functions: int, how: str) -> int:
    for name in programs:
        counts = per_operation(name, how)
        print(f"{name:14} {counts.pop(''):7,} instructions", flush=True)
        for function, own in counts.most_common(functions):
            print(f"{own:22,} {function}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Instructions per operation.")
    parser.add_argument("programs", nargs="*", default=PROGRAMS, metavar="PROGRAM")
    parser.add_argument("--functions", type=int, default=0, metavar="COUNT")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    how = counter()
    if not how:
        print("left out: neither the processor's counters (perf) nor valgrind can be had")
        return LEFT_OUT
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    if options.check:
        return check(table, this_build(how), how)
    if options.update:
        return update(table, this_build(how), how)
    return show(options.programs, options.functions, how)


if __name__ == "__main__":
    sys.exit(main())
