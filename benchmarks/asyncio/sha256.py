"""Hashes n pieces of 1 MiB in an executor of GOMAXPROCS threads: one piece."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from measure import ARGUMENTS, run, timed

PIECE = bytes(1 << 20)


def digest() -> str:
    return sha256(PIECE).hexdigest()


async def main() -> None:
    n, threads = ARGUMENTS[0], int(os.environ.get("GOMAXPROCS", 2))
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(threads)
    with timed(f"SHA-256 of 1 MiB, {threads} Ps", n):
        await asyncio.gather(*[loop.run_in_executor(pool, digest) for _ in range(n)])


if __name__ == "__main__":
    run(main)
