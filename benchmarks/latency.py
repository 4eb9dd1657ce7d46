"""How soon another goroutine runs when one blocks in C, in a call that nothing has marked.

A goroutine notes the time and calls; another one, runnable all the while, notes when it runs.
Prints median and 99th percentile for each kind of call, and how long 1000 goroutines take that
sleep for 50 ms each in `time.sleep`, which blocks a thread. With GOMAXPROCS=1 the P must be taken
from the blocked goroutine; otherwise an idle P may take the waiting one.

    python benchmarks/latency.py [ROUNDS]
"""

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable

from goroutines import Chan, go, run, sleep

SLEEPERS = 1000


def percentiles(latencies: list[float]) -> str:
    cuts = statistics.quantiles(latencies, n=100)
    return f"median {cuts[49]:.0f} us, p99 {cuts[98]:.0f} us, worst {max(latencies):.0f} us"


def report(what: str, block: Callable[[], object], wake: Callable[[], object], rounds: int) -> None:
    """wake() ends block(), once the other goroutine has noted the time."""
    ran: Chan[int] = Chan(int, 1)

    def other() -> None:
        ran.send(time.perf_counter_ns())
        wake()

    latencies = []
    for _ in range(rounds):
        go(other)
        called = time.perf_counter_ns()
        block()
        latencies.append((ran.recv() - called) / 1000)
        sleep(0.001)
    print(f"{what}: {percentiles(latencies)}", flush=True)


def sleepers() -> None:
    done: Chan[None] = Chan(capacity=SLEEPERS)

    def nap() -> None:
        time.sleep(0.05)
        done.send(None)

    start = time.perf_counter()
    for _ in range(SLEEPERS):
        go(nap)
    for _ in range(SLEEPERS):
        done.recv()
    print(
        f"{SLEEPERS} goroutines in time.sleep(0.05): {time.perf_counter() - start:.3f} s",
        flush=True,
    )


def main(rounds: int) -> None:
    report("time.sleep", lambda: time.sleep(0.002), lambda: None, rounds)
    end, feed = os.pipe()
    report("os.read of a pipe", lambda: os.read(end, 1), lambda: os.write(feed, b"x"), rounds)
    lock = threading.Lock()
    lock.acquire()
    report("a lock", lock.acquire, lock.release, rounds)
    for _ in range(3):
        sleepers()


if __name__ == "__main__":
    run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
