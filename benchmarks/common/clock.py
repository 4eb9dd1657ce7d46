"""What the programs of all Python peers share: the clock, and one line of output for each number.

A program is called as `python goroutines/pingpong.py N ...` and prints lines of the form
`what unit number`; the Go programs do the same. The runner (run.py) knows no more of them.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "ARGUMENTS",
    "compute_until",
    "memory",
    "show",
    "show_growth",
    "show_percentiles",
    "timed",
    "warm_up",
]

ARGUMENTS = [int(argument) for argument in sys.argv[1:] if argument.isdecimal()]


def show(what: str, unit: str, number: float) -> None:
    print(what, unit, f"{number:.2f}", flush=True)


@contextmanager
def timed(what: str, n: int) -> Iterator[None]:
    """Shows wall time and CPU time (of all threads, user and system) per operation."""
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    yield
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    show(what, "ns", wall / n)
    show(what, "cpu-ns", cpu / n)


def warm_up(n: int) -> int:
    return max(n // 10, 1)


# ---- percentiles ----


def show_percentiles(what: str, seconds: list[float]) -> None:
    """In seconds, each of them."""
    in_order = sorted(seconds)
    show(f"{what}, median", "ns", in_order[len(in_order) // 2] * 1e9)
    show(f"{what}, p99", "ns", in_order[len(in_order) * 99 // 100] * 1e9)


# ---- memory ----


def memory() -> dict[str, int]:
    """Bytes of this process: resident, in page tables, and all that its cgroup is charged for."""
    found = {}
    with open(f"/proc/{os.getpid()}/status") as status:
        for line in status:
            name, _, rest = line.partition(":")
            found[name] = rest.split()
    sizes = {"": int(found["VmRSS"][0]) << 10, ", page tables": int(found["VmPTE"][0]) << 10}
    charged = cgroup_charge()
    return sizes | ({", cgroup": charged} if charged else {})


def show_growth(what: str, before: dict[str, int], n: int) -> None:
    for kind, size in memory().items():
        show(what + kind, "bytes", (size - before[kind]) / n)


def cgroup_charge() -> int:
    """What the kernel charges the cgroup of this process for; 0 where that cannot be read. Other
    processes in the cgroup count, too: run nothing else beside."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        files = {"memory": f"memory{path}/memory.usage_in_bytes", "": f"{path}/memory.current"}
        usage = Path("/sys/fs/cgroup", files.get(controllers, "none").lstrip("/"))
        if usage.exists():
            return int(usage.read_text())
    return 0


# ---- programs that compute ----


def compute_until(instant: float) -> int:
    turns = 0
    while time.monotonic() < instant:
        sum(range(1000))
        turns += 1
    return turns
