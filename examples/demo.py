"""What `make demo` shows: a pipeline that hashes files, 100,000 goroutines, threads that are some.

Runs `digest.py`, `daisy.py` and `scraper.py`, checks some of their results another way, and says in
a few lines what there is to notice. Exit code 0 means that the checks held.

    $ python demo.py
    1. SHA-256 of every file in /usr/lib/python3.12, without site-packages
       7,533 files, 255.2 MB in 0.61 s: 18 goroutines on 12 OS threads
       20 sums compared with those of plain hashlib: equal
    2. A number handed along a chain of 100,000 goroutines
    ...
    3. 500 pages, each by a worker of its own with requests
       threads:    495 pages, 5 missing, in 1.64 s, on 501 OS threads, 60 MB
       goroutines: 495 pages, 5 missing, in 1.50 s, on 10 OS threads, 56 MB
    ...
"""

import ast
import hashlib
import subprocess
import sys
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path

import daisy
import digest
from goroutines import debug, gomaxprocs, run

CHAIN = 100_000
CHECKED = 20
SKIP = "site-packages"  # may be of any size
SCRAPER = str(Path(__file__).with_name("scraper.py"))


def hash_folder(folder: str) -> bool:
    print(f"1. SHA-256 of every file in {folder}, without {SKIP}", flush=True)
    began, started = time.perf_counter(), debug.stats().started
    sums = list(digest.digest(folder, 8 * gomaxprocs(), SKIP))
    seconds, stats = time.perf_counter() - began, debug.stats()
    sample = sums[:: max(1, len(sums) // CHECKED)][:CHECKED]
    equal = all(
        hashlib.sha256(Path(item.path).read_bytes()).hexdigest() == item.sha256 for item in sample
    )
    megabytes = sum(item.size for item in sums) / 1e6
    print(
        f"   {len(sums):,} files, {megabytes:,.1f} MB in {seconds:.2f} s: "
        f"{stats.started - started} goroutines on {stats.threads} OS threads\n"
        f"   {len(sample)} sums compared with those of plain hashlib: "
        f"{'equal' if equal else 'DIFFERENT'}",
        flush=True,
    )
    return equal and bool(sums)


def whisper_along(chain: int) -> bool:
    print(f"2. A number handed along a chain of {chain:,} goroutines", flush=True)
    report = daisy.daisy(chain)
    right = report.result == chain + 1
    print(
        f"   {report.alive:,} goroutines alive at once in {report.kilobytes / 1000:.0f} MB "
        f"({report.kilobytes / chain:.1f} KB each), on {report.threads} OS threads\n"
        f"   {report.start + report.whisper:.2f} s in all; the last one heard "
        f"{report.result:,}: {'right' if right else 'WRONG'}",
        flush=True,
    )
    return right


def scrape(workers: str, *command: str) -> bool:
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    print(f"   {workers:11} {done.stdout.strip()}", flush=True)
    return done.stdout.startswith("495 pages, 5 missing")


def scrape_twice() -> bool:
    print("3. 500 pages, each by a worker of its own with requests", flush=True)
    if find_spec("requests") is None:
        print("   left out: it needs requests (pip install requests)", flush=True)
        return True
    on_threads = scrape("threads:", SCRAPER)
    return scrape("goroutines:", "-m", "goroutines", "run", SCRAPER) and on_threads


def async_words(path: str) -> int:
    """How often a program says async or await."""
    words = ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await
    return sum(isinstance(node, words) for node in ast.walk(ast.parse(Path(path).read_text())))


def main() -> int:
    right = hash_folder(sysconfig.get_paths()["stdlib"])
    right = whisper_along(CHAIN) and right
    right = scrape_twice() and right
    words = sum(async_words(str(module.__file__)) for module in (daisy, digest))
    print(
        "What to notice\n"
        f"   async and await in digest.py and daisy.py: {words}. They call open, read and hashlib\n"
        "   as any Python program does; a goroutine that blocks there holds up nobody else.\n"
        f"   Reading and hashing release the GIL, so they run side by side on {gomaxprocs()} "
        "processors;\n"
        "   OS threads are added only while others are blocked. 100,000 goroutines that wait cost\n"
        "   memory and nothing else.\n"
        "   scraper.py is the same both times; `goroutines run` makes goroutines of its threads.\n"
        "   Read examples/digest.py next."
    )
    return 0 if right else 1


if __name__ == "__main__":
    try:
        sys.exit(run(main))
    except KeyboardInterrupt:
        sys.exit(130)
