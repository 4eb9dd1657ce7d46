"""From the start of the interpreter's main program until the first thread has run."""

import time

start = time.perf_counter_ns()

from threading import Thread  # noqa: E402

thread = Thread(target=int)
thread.start()
thread.join()
took = time.perf_counter_ns() - start
print("import and first go ns", took)
