"""From the start of the interpreter's main program until the first goroutine has run."""

import time

start = time.perf_counter_ns()

from goroutines import Chan, go, run  # noqa: E402


def main() -> None:
    ch = Chan(int)
    go(ch.send, 1)
    ch.recv()


run(main)
took = time.perf_counter_ns() - start
print("import and first go ns", took)
