"""From the start of the interpreter's main program until the first task has run."""

import os
import time

start = time.perf_counter_ns()

import asyncio  # noqa: E402


async def nothing() -> None:
    pass


async def main() -> None:
    await asyncio.create_task(nothing())


if os.environ.get("ASYNCIO_LOOP") == "uvloop":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
took = time.perf_counter_ns() - start
print("import and first go ns", took)
