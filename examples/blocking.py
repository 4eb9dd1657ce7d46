"""Blocking calls block nobody else: 500 goroutines in time.sleep and file reads beside a ticker.

`time.sleep` and `open(...).read()` here are those of the standard library: nothing is patched, no
call is marked, there is no pool of threads to send them to. When a goroutine is blocked outside
the interpreter, the runtime takes its processor away and goes on elsewhere with the others.

    $ python blocking.py
    500 goroutines slept 2500 times and read 99 MB in 0.51 s (one after another: 125 s)
    a ticker of 10 ms beside them: 35 ticks, late by 0.0 ms (median), 94.5 ms (worst)
    502 OS threads at the peak

A tick is late when many threads wake up at once and share one GIL, as plain threads do, and at the
start: there the ticker waits its turn behind 500 new goroutines, and each of them blocks and has to
be noticed (0.2 ms each) before the next one runs.
"""

import argparse
import os
import statistics
import sys
import time
from typing import NamedTuple

from goroutines import Chan, RecvChan, SendChan, Ticker, debug, go, recv, run, select

NAP = 0.05
ROUNDS = 5
INTERVAL = 0.01


class Seen(NamedTuple):
    late: list[float]  # for each tick, by how much it came later after the one before than due
    threads: int


def block(read: SendChan[int]) -> None:
    total = 0
    for _ in range(ROUNDS):
        time.sleep(NAP)
        with open(os.__file__, "rb") as file:
            total += len(file.read())
    read.send(total)


def watch(done: RecvChan[bool], report: SendChan[Seen]) -> None:
    late, threads, before = list[float](), 0, time.monotonic()
    with Ticker(INTERVAL) as ticker:
        while select(recv(ticker.chan), recv(done)).index == 0:
            now = time.monotonic()
            late.append(max(0.0, now - before - INTERVAL))
            before = now
            threads = max(threads, debug.stats().threads)
    report.send(Seen(late, threads))


def main(n: int) -> None:
    read, done, report = Chan(int), Chan(bool), Chan(Seen)
    go(watch, done.receiver, report.sender)
    began = time.perf_counter()
    for _ in range(n):
        go(block, read.sender)
    total = sum(read.recv() for _ in range(n))
    seconds = time.perf_counter() - began
    done.close()
    seen = report.recv()
    print(
        f"{n} goroutines slept {n * ROUNDS} times and read {total / 1e6:.0f} MB "
        f"in {seconds:.2f} s (one after another: {n * ROUNDS * NAP:.0f} s)"
    )
    print(
        f"a ticker of {INTERVAL * 1e3:.0f} ms beside them: {len(seen.late)} ticks, "
        f"late by {statistics.median(seen.late) * 1e3:.1f} ms (median), "
        f"{max(seen.late) * 1e3:.1f} ms (worst)"
    )
    print(f"{seen.threads} OS threads at the peak")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="blocking calls beside a punctual ticker")
    parser.add_argument("--goroutines", type=int, default=500, help="default: %(default)s")
    try:
        run(main, max(1, parser.parse_args().goroutines))
    except KeyboardInterrupt:
        sys.exit(130)
