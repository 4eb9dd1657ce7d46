"""From the start of the interpreter's main program until the first task has run."""

import time

start = time.perf_counter_ns()

import trio  # noqa: E402


async def main() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.checkpoint)


trio.run(main)
took = time.perf_counter_ns() - start
print("import and first go ns", took)
