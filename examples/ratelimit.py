"""A rate limiter: so many calls a second, bursts up to a size, and nobody waits beyond his context.

A bucket holds tokens, a ticker puts one in every 1/rate seconds, a call takes one out. The bucket
is a buffered channel: full means that a tick is dropped, empty means that callers wait, first come
first served. Callers that have a deadline wait in a select over the bucket and their context.

    ticker --tick--> fill --token--> [bucket] --token--> wait(ctx) ...

    $ python ratelimit.py --rate 100 --burst 10 --calls 60 --patience 10
    60 calls went through, 0 gave up; 10 at once, the others took 0.50 s
    $ python ratelimit.py --rate 20 --burst 5 --calls 100 --patience 0.5
    15 calls went through, 85 gave up; 5 at once, the others took 0.50 s
"""

import argparse
import sys
import time
from types import TracebackType
from typing import Self

from goroutines import Chan, Group, Ticker, recv, run, select, send
from goroutines.context import Context, background, with_timeout


class Limiter:
    """A context manager: outside of its block no tokens come."""

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._bucket = Chan(object, burst)
        for _ in range(burst):
            self._bucket.send(None)
        self._filler = Group()

    def _fill(self) -> None:
        done = self._filler.context.done()
        with Ticker(self._interval) as ticker:
            while select(recv(ticker.chan), recv(done)).index == 0:
                select(send(self._bucket, None), default=True)

    def allow(self) -> bool:
        """Take a token if there is one."""
        return select(recv(self._bucket), default=True).index == 0

    def wait(self, ctx: Context) -> None:
        """Wait for a token; ctx.err() is raised if ctx ends first."""
        if select(recv(self._bucket), recv(ctx.done())).index == 1:
            ctx.check()

    def __enter__(self) -> Self:
        self._filler.__enter__()
        self._filler.go(self._fill)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._filler.context.cancel()
        self._filler.__exit__(kind, value, trace)


def call(limiter: Limiter, ctx: Context) -> float | None:
    """When it went through; None: it gave up."""
    try:
        limiter.wait(ctx)
    except TimeoutError:
        return None
    return time.monotonic()


def main(rate: float, burst: int, calls: int, patience: float) -> None:
    with Limiter(rate, burst) as limiter, with_timeout(background(), patience) as ctx:
        start = time.monotonic()
        at_once = 0
        while at_once < calls and limiter.allow():
            at_once += 1
        with Group(ctx) as g:
            results = [g.go(call, limiter, g.context) for _ in range(calls - at_once)]
    times = [t for t in (result.value() for result in results) if t is not None]
    took = max(times, default=start) - start
    print(
        f"{at_once + len(times)} calls went through, {len(results) - len(times)} gave up; "
        f"{at_once} at once, the others took {took:.2f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="calls through a rate limiter")
    parser.add_argument("--rate", type=float, default=100.0, help="a second; %(default)s")
    parser.add_argument("--burst", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--calls", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds; %(default)s")
    args = parser.parse_args()
    if args.rate <= 0 or min(args.burst, args.calls) < 1:
        parser.error("every number must be positive")
    try:
        run(main, args.rate, args.burst, args.calls, args.patience)
    except KeyboardInterrupt:
        sys.exit(130)
