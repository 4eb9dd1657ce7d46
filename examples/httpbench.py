"""A load generator for HTTP: a goroutine with an `http.client` connection for each client.

    hand_out --tickets--> client --samples--> main
                          client
                          ...

A ticket is the right to make one request, so however many clients there are, together they make no
more than was asked for. A connection stays open as long as the server lets it; an error costs it,
and is counted. Ctrl-C ends the run early, with the report on what there is.

    $ python httpbench.py http://127.0.0.1:8000/ --clients 100 --requests 3000
    3000 requests in 1.63 s, 1839 a second, 0.0 MB, by 100 clients on 6 OS threads
    200: 2998, RemoteDisconnected: 2
    latency: 47.1 ms (median), 73.6 ms (90 %), 112.8 ms (99 %), 153.3 ms (worst)
"""

import argparse
import sys
import time
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from goroutines import Chan, RecvChan, SendChan, debug, go, patch, run

CONNECTIONS = {"http": HTTPConnection, "https": HTTPSConnection}


class Sample(NamedTuple):
    outcome: str  # the status, or the name of the exception
    size: int
    seconds: float


def hand_out(count: int, tickets: SendChan[int]) -> None:
    for number in range(count):
        tickets.send(number)
    tickets.close()


def get(conn: HTTPConnection, target: str) -> tuple[str, int]:
    try:
        conn.request("GET", target)
        response = conn.getresponse()
        return str(response.status), len(response.read())
    except (OSError, HTTPException) as error:
        conn.close()  # the next request opens it again
        return type(error).__name__, 0


def client(url: SplitResult, tickets: RecvChan[int], samples: SendChan[Sample]) -> None:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    with closing(CONNECTIONS[url.scheme](url.netloc, timeout=30)) as conn:
        for _ in tickets:
            began = time.perf_counter()
            outcome, size = get(conn, target)
            samples.send(Sample(outcome, size, time.perf_counter() - began))


def report(samples: list[Sample], clients: int, seconds: float) -> None:
    megabytes = sum(sample.size for sample in samples) / 1e6
    print(
        f"{len(samples)} requests in {seconds:.2f} s, {len(samples) / seconds:.0f} a second, "
        f"{megabytes:.1f} MB, by {clients} clients on {debug.stats().threads} OS threads"
    )
    outcomes = Counter(sample.outcome for sample in samples)
    print(", ".join(f"{outcome}: {times}" for outcome, times in outcomes.most_common()))
    ranked = sorted(sample.seconds * 1e3 for sample in samples)
    median, most, nearly_all = (ranked[int(len(ranked) * part)] for part in (0.5, 0.9, 0.99))
    print(
        f"latency: {median:.1f} ms (median), {most:.1f} ms (90 %), {nearly_all:.1f} ms (99 %), "
        f"{ranked[-1]:.1f} ms (worst)"
    )


def main(url: SplitResult, clients: int, requests: int) -> int:
    tickets, samples = Chan(int), Chan(Sample)
    go(hand_out, requests, tickets.sender)
    for _ in range(clients):
        go(client, url, tickets.receiver, samples.sender)
    seen, began, code = list[Sample](), time.perf_counter(), 0
    try:
        while len(seen) < requests:
            seen.append(samples.recv())
    except KeyboardInterrupt:
        code = 130
    if seen:
        report(seen, clients, time.perf_counter() - began)
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="put load on an HTTP server")
    parser.add_argument("url", type=urlsplit)
    parser.add_argument("--clients", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=5000, help="default: %(default)s")
    args = parser.parse_args()
    if args.url.scheme not in CONNECTIONS or not args.url.netloc:
        parser.error("the URL must begin with http://HOST or https://HOST")
    if min(args.clients, args.requests) < 1:
        parser.error("every number must be at least 1")
    patch.all()
    try:
        sys.exit(run(main, args.url, args.clients, args.requests))
    except KeyboardInterrupt:
        sys.exit(130)
