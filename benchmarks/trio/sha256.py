"""Hashes n pieces of 1 MiB in trio's threads, GOMAXPROCS at a time: one piece."""

import os
from hashlib import sha256

import trio
from measure import ARGUMENTS, run, timed

PIECE = bytes(1 << 20)


def digest() -> str:
    return sha256(PIECE).hexdigest()


async def main() -> None:
    n, threads = ARGUMENTS[0], int(os.environ.get("GOMAXPROCS", 2))
    limiter = trio.CapacityLimiter(threads)
    with timed(f"SHA-256 of 1 MiB, {threads} Ps", n):
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(lambda: trio.to_thread.run_sync(digest, limiter=limiter))


if __name__ == "__main__":
    run(main)
