"""RESULTS.md and the charts, from what run.py has measured."""

import re
import statistics
from dataclasses import dataclass
from pathlib import Path

import svg
import workloads
from workloads import ALL_PS, GO, GOROUTINES, RING_SIZES, WORKLOADS

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
ROWS = HERE / "rows.md"  # what each row means
UNITS = ["ns", "bytes", "percent", "ns/s", "/s", "lost"]


@dataclass
class Results:
    version: str
    facts: str
    peers: list[str]
    numbers: dict[str, dict[int, float]]
    left_out: list[str]

    def of(self, what: str, unit: str, peer: str) -> dict[int, float]:
        return self.numbers.get(key(what, unit, peer), {})


def key(what: str, unit: str, peer: str) -> str:
    return f"{what}|{unit}|{peer}"


def unit_of(results: Results, what: str) -> str | None:
    for unit in UNITS:
        if any(results.of(what, unit, peer) for peer in results.peers):
            return unit
    return None


# ---- cells ----


def shown(number: float, unit: str) -> str:
    if unit == "bytes":
        return f"{number:,.0f} B"
    if unit == "percent":
        return f"{number:.0f} %"
    if unit == "ns/s":
        return f"{number / 1e7:.2f} %"
    if unit in ("/s", "lost"):
        return f"{number:,.0f} {unit}"
    for name, size in [("s", 1e9), ("ms", 1e6), ("µs", 1e3)]:
        if number >= 10 * size:
            return f"{number / size:,.0f} {name}"
        if number >= size and name != "µs":
            return f"{number / size:,.1f} {name}"
    return f"{number:,.0f} ns"


def cell(results: Results, what: str, unit: str, peer: str) -> str:
    """Median, and half the distance of the least from the greatest."""
    numbers = list(results.of(what, unit, peer).values())
    if not numbers:
        return ""
    median = statistics.median(numbers)
    spread = (max(numbers) - min(numbers)) / 2 / median if median else 0
    around = f" ±{100 * spread:.0f} %" if len(numbers) > 1 and unit in ("ns", "/s") else ""
    return shown(median, unit) + around


def ratios(results: Results, what: str, unit: str, peer: str, to: str) -> list[float]:
    """Of the repetitions in which both took part. More in a second is less time for each."""
    a, b = results.of(what, unit, peer), results.of(what, unit, to)
    if unit == "/s":
        a, b = b, a
    return [a[i] / b[i] for i in sorted(a.keys() & b.keys()) if b[i]]


def ratio(results: Results, what: str, unit: str, peer: str, to: str) -> str:
    found = ratios(results, what, unit, peer, to)
    if not found or (unit == "bytes" and min(results.of(what, unit, to).values()) < 50):
        return ""  # Go's stacks lie side by side: next to nothing, or less
    median = statistics.median(found)
    text = f"{median:.2f}" if median < 10 else f"{median:,.0f}"
    return text if len(found) == 1 else f"{text} ({min(found):.2f}-{max(found):.2f})"


# ---- tables ----


def rows(results: Results) -> list[str]:
    names = [what for workload in WORKLOADS for what in workload.what]
    names += [what + workloads.MILLION for what in workloads.MILLION_WORKLOAD.what]
    return [what for what in names if unit_of(results, what)]


def markdown(head: list[str], lines: list[list[str]]) -> str:
    table = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in table)


def times(results: Results) -> str:
    lines = []
    for what in rows(results):
        unit = unit_of(results, what) or ""
        lines.append([what, *[cell(results, what, unit, peer) for peer in results.peers]])
    return markdown(["", *results.peers], lines)


def comparison(results: Results) -> str:
    others = [peer for peer in results.peers if peer not in (GOROUTINES, GO, ALL_PS)]
    head = ["", "/ Go", "CPU time, / Go", "all Ps, / Go", *[f"{peer} /" for peer in others]]
    lines = []
    for what in rows(results):
        unit = unit_of(results, what) or ""
        line = [
            ratio(results, what, unit, GOROUTINES, GO),
            ratio(results, what, "cpu-ns", GOROUTINES, GO),
            ratio(results, what, unit, ALL_PS, GO),
            *[ratio(results, what, unit, peer, GOROUTINES) for peer in others],
        ]
        if any(line) and unit != "ns/s":
            lines.append([what, *line])
    return markdown(head, lines)


def chart(results: Results) -> str:
    series = {}
    for peer in results.peers:
        points = []
        for size in RING_SIZES:
            found = results.of(f"ring of {size}", "ns", peer)
            if found:
                points.append((float(size), statistics.median(found.values())))
        if points:
            series[peer] = points
    title = f"A number goes from one to the next in a ring (CPython {results.version}, one P)"
    return svg.chart(title, "how many there are in the ring", series)


# ---- the page ----

INTRODUCTION = """# Benchmarks

Written by `make bench`. A workload is a program that is written for each peer:
`goroutines/NAME.py`, `go/NAME.go`, `asyncio/NAME.py` (also for uvloop), and so on; NAME is in
[workloads.py](workloads.py). Times are wall time per operation (of servers also how many there are
in a second), the median of repetitions in which the peers took turns, with half the distance
between the least and the greatest; a ratio is the median of the repetitions' own ratios of times,
with the least and the greatest. All have one P (or thread for Python code), but for the column "all
Ps", which is goroutines with one for each processor. CPU time is that of all threads, user and
system: the fairer number when other programs run, too. The interpreters' builds matter: with
profile-guided optimization (PGO) they are faster.

"""


def section(results: Results) -> str:
    short = ".".join(results.version.split(".")[:2])
    left_out = "".join(f"\n- Left out: {line}" for line in results.left_out)
    return f"""## CPython {results.version}

{results.facts}.
{left_out}

![cost of a pass against the size of the ring](ring-{short}.svg)

{times(results)}

As multiples: goroutines / Go, and how many times the time of goroutines the others take.

{comparison(results)}
"""


def order(part: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", part.partition("\n")[0])]


def write(results: Results) -> None:
    """Replaces the section of this version of Python, and its chart."""
    short = ".".join(results.version.split(".")[:2])
    (HERE / f"ring-{short}.svg").write_text(chart(results))
    old = RESULTS.read_text() if RESULTS.exists() else ""
    kept = [
        part.strip() + "\n"
        for part in re.split(r"^(?=## )", old, flags=re.MULTILINE)
        if part.startswith("## CPython") and not part.startswith(f"## CPython {short}.")
    ]
    sections = sorted([*kept, section(results)], key=order)
    RESULTS.write_text("\n".join([f"{INTRODUCTION}{ROWS.read_text()}", *sections]))
