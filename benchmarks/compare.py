"""Two builds of this package, compared with pyperf: does a change help?

    python benchmarks/compare.py -o before.json
    python benchmarks/compare.py -o after.json       # after `make build`
    python -m pyperf compare_to before.json after.json

pyperf repeats each workload in many processes and tells a difference from noise. It takes
pyperf's options, e.g. --fast, --affinity=1. Instructions (instructions.py) say more on a busy
machine.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import goroutines
import pyperf

sys.path.append(str(Path(__file__).parent / "goroutines"))
from buffered import buffered
from chained_spawn import chained_spawn
from iterated import iterated
from pingpong import pingpong
from select4 import select4
from spawn import AT_A_TIME, spawn
from yielding import yielding

# In a loop of pyperf's: spawn's hundred at a time.
OPERATIONS = AT_A_TIME


def timer(body: Callable[[int], object]) -> Callable[[int], float]:
    def main(loops: int) -> float:
        start = time.perf_counter()
        body(loops * OPERATIONS)
        return time.perf_counter() - start

    return lambda loops: goroutines.run(main, loops)


def main() -> None:
    runner = pyperf.Runner()
    goroutines.gomaxprocs(1)
    for body in [pingpong, buffered, iterated, spawn, chained_spawn, yielding, select4]:
        runner.bench_time_func(body.__name__, timer(body), inner_loops=OPERATIONS)


if __name__ == "__main__":
    main()
