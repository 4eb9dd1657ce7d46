"""Hashes n pieces of 1 MiB, which releases the GIL: one piece. GOMAXPROCS says on how many Ps."""

from hashlib import sha256

from goroutines import Chan, go, gomaxprocs, run
from measure import ARGUMENTS, timed

PIECE = bytes(1 << 20)


def digest(done: Chan[str]) -> None:
    done.send(sha256(PIECE).hexdigest())


def main() -> None:
    n = ARGUMENTS[0]
    done = Chan(str, n)
    with timed(f"SHA-256 of 1 MiB, {gomaxprocs()} Ps", n):
        for _ in range(n):
            go(digest, done)
        for _ in range(n):
            done.recv()


if __name__ == "__main__":
    run(main)
