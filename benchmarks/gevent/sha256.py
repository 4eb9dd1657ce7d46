"""Hashes n pieces of 1 MiB in gevent's pool of GOMAXPROCS threads: one piece."""

import os
from hashlib import sha256

from gevent.threadpool import ThreadPool
from measure import ARGUMENTS, timed

PIECE = bytes(1 << 20)


def digest(piece: bytes) -> str:
    return sha256(piece).hexdigest()


def main() -> None:
    n, threads = ARGUMENTS[0], int(os.environ.get("GOMAXPROCS", 2))
    pool = ThreadPool(threads)
    with timed(f"SHA-256 of 1 MiB, {threads} Ps", n):
        pool.map(digest, [PIECE] * n)


if __name__ == "__main__":
    main()
