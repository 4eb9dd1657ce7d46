"""A pipeline whose consumer stops early ("Go Concurrency Patterns: Pipelines and cancellation").

Three stages, connected by channels: numbers, their digests (several goroutines), and whoever looks
for a digest that begins with the right digits. The first one that is found is enough. Every send
stands in a select beside the context's done channel, so when the consumer cancels, each stage
returns, and the Group's block ends with nobody left behind.

    numbers --int--> [digest] [digest] [digest] --found--> first
         '------------ context ends: all return ------------'

https://go.dev/blog/pipelines

    $ python pipeline_cancel.py --prefix 000
    886 has 000f21ac06aceb9cdd0575e82d0d85fc39bed0a7a1d71970ba1641666a44f530
    3 workers, nobody left
    $ python pipeline_cancel.py --prefix 0000000000 --timeout 0.2
    nothing in time
    3 workers, nobody left
"""

import argparse
import hashlib
import itertools
import sys
from typing import NamedTuple

from goroutines import Chan, Group, RecvChan, SendChan, num_goroutine, recv, run, select, send
from goroutines.context import Context, background, with_timeout


class Hit(NamedTuple):
    number: int
    digest: str


def numbers(ctx: Context, out: SendChan[int]) -> None:
    for number in itertools.count():
        if select(send(out, number), recv(ctx.done())).index == 1:
            return


def digests(ctx: Context, prefix: str, into: RecvChan[int], out: SendChan[Hit]) -> None:
    while True:
        case, number, _ = select(recv(into), recv(ctx.done()))
        if case == 1:
            return
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        if (
            digest.startswith(prefix)
            and select(send(out, Hit(number, digest)), recv(ctx.done())).index
        ):
            return


def first_hit(ctx: Context, prefix: str, workers: int) -> Hit | None:
    """None: ctx ended first."""
    work, hits = Chan(int), Chan(Hit)
    with Group(ctx) as g:
        g.go(numbers, g.context, work.sender)
        for _ in range(workers):
            g.go(digests, g.context, prefix, work.receiver, hits.sender)
        _, hit, ok = select(recv(hits), recv(g.context.done()))
        g.context.cancel()  # enough: all stages return, and the block ends
    return hit if ok else None


def main(prefix: str, workers: int, timeout: float) -> None:
    with with_timeout(background(), timeout) as ctx:
        hit = first_hit(ctx, prefix, workers)
    print(f"{hit.number} has {hit.digest}" if hit else "nothing in time")
    print(f"{workers} workers, {'nobody' if num_goroutine() == 1 else num_goroutine() - 1} left")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the first number whose SHA-256 begins like this")
    parser.add_argument("--prefix", default="000", help="hexadecimal digits; default: %(default)s")
    parser.add_argument("--workers", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds; default: %(default)s")
    args = parser.parse_args()
    if args.workers < 1:
        parser.error("at least 1 worker")
    try:
        run(main, args.prefix, args.workers, args.timeout)
    except KeyboardInterrupt:
        sys.exit(130)
