"""From the start of the interpreter's main program until the first greenlet has run."""

import time

start = time.perf_counter_ns()

import gevent  # noqa: E402

gevent.spawn(int).get()
took = time.perf_counter_ns() - start
print("import and first go ns", took)
