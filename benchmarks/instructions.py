"""Counts instructions per operation: what a change costs or saves, on a noisy machine too.

Each program runs twice, with different N; the difference is free of start-up. Counted by `perf
stat` where the processor's counters can be had, else by valgrind's callgrind, which follows our
stacks well enough for totals and for a function's own instructions (not for inclusive ones across
a switch). sysmon's looks are counted too; repeated counts differ by less than 1 %.

    python benchmarks/instructions.py [--functions COUNT] [PROGRAM ...]
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = ["pingpong", "buffered", "iterated", "spawn", "yielding", "select4"]
WARM_UP = 10  # measure.benchmark() does N / 10 more
SMALL, LARGE = 2_000, 22_000


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def perf_count(program: list[str]) -> int | None:
    """None: not supported here."""
    if not shutil.which("perf"):
        return None
    done = subprocess.run(
        ["perf", "stat", "-x,", "-e", "instructions:u", *program],
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


def per_operation(name: str) -> Counter[str]:
    def program(n: int) -> list[str]:
        return [sys.executable, str(HERE / f"{name}.py"), str(n), "1"]

    operations = (LARGE - SMALL) * (WARM_UP + 1) // WARM_UP
    small, large = perf_count(program(SMALL)), perf_count(program(LARGE))
    if small is not None and large is not None:
        return Counter({"": (large - small) // operations})
    before, after = callgrind_counts(program(SMALL)), callgrind_counts(program(LARGE))
    return Counter({key: round((after[key] - before[key]) / operations) for key in after})


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions per operation.")
    parser.add_argument("programs", nargs="*", default=PROGRAMS, metavar="PROGRAM")
    parser.add_argument("--functions", type=int, default=0, metavar="COUNT")
    options = parser.parse_args()
    for name in options.programs:
        counts = per_operation(name)
        print(f"{name:10} {counts.pop(''):7,} instructions", flush=True)
        for function, own in counts.most_common(options.functions):
            print(f"{own:18,} {function}")


if __name__ == "__main__":
    main()
