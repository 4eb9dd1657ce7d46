"""Ping a flaky host: a select over a ticker and the answers, with a timeout for each question.

The host is simulated by goroutines: it answers after a delay, or never. A question carries its own
reply channel. The main loop does not wait for an answer before it asks again, as ping does not: it
selects on the ticker and on the outcomes, and stops the ticker's case by a channel of None.

    $ python ping.py --seed 2 --count 5
    seq=0 time=23.9 ms
    seq=2 time=18.6 ms
    seq=3 time=8.0 ms
    seq=4 time=15.4 ms
    seq=1 timeout
    5 sent, 4 received, 20% loss
    rtt min/avg/max = 8.0/16.5/23.9 ms

The seed decides which questions are lost and how long each answer takes; the times are measured.
"""

import argparse
import random
import sys
import time
from typing import NamedTuple

from goroutines import Chan, RecvChan, SendChan, Ticker, after, go, recv, run, select, send, sleep

TIMEOUT = 0.25
SLOWEST = 0.025
LOSS = 0.25


class Question(NamedTuple):
    seq: int
    reply: SendChan[int]


class Outcome(NamedTuple):
    seq: int
    rtt: float | None  # None: no answer in time


def host(questions: RecvChan[Question], luck: random.Random) -> None:
    for question in questions:
        lost, delay = luck.random() < LOSS, luck.random() * SLOWEST
        if not lost:
            go(answer, question, delay)


def answer(question: Question, delay: float) -> None:
    sleep(delay)
    question.reply.send(question.seq)


def ask(seq: int, questions: SendChan[Question], outcomes: SendChan[Outcome]) -> None:
    began = time.monotonic()
    reply = Chan(int, 1)  # room for one: a late answer finds nobody, and must not wait for ever
    timeout = after(TIMEOUT)
    answered = (
        select(send(questions, Question(seq, reply.sender)), recv(timeout)).index == 0
        and select(recv(reply), recv(timeout)).index == 0
    )
    outcomes.send(Outcome(seq, time.monotonic() - began if answered else None))


def main(count: int, interval: float, seed: int) -> None:
    questions, outcomes = Chan(Question), Chan(Outcome)
    go(host, questions.receiver, random.Random(seed))
    sent, heard, rtts = 0, 0, list[float]()
    with Ticker(interval) as ticker:
        while heard < count:
            match select(recv(ticker.chan if sent < count else None), recv(outcomes)):
                case 0, _, _:
                    go(ask, sent, questions.sender, outcomes.sender)
                    sent += 1
                case 1, Outcome(seq, None), _:
                    heard += 1
                    print(f"seq={seq} timeout", flush=True)
                case 1, Outcome(seq, float() as rtt), _:
                    heard += 1
                    rtts.append(rtt)
                    print(f"seq={seq} time={rtt * 1e3:.1f} ms", flush=True)
    print(f"{sent} sent, {len(rtts)} received, {1 - len(rtts) / sent:.0%} loss")
    if rtts:
        fastest, mean, slowest = min(rtts), sum(rtts) / len(rtts), max(rtts)
        print(f"rtt min/avg/max = {fastest * 1e3:.1f}/{mean * 1e3:.1f}/{slowest * 1e3:.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="ping a simulated, flaky host")
    parser.add_argument("--count", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--interval", type=float, default=0.05, help="default: %(default)s s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    args = parser.parse_args()
    if args.count < 1 or not args.interval > 0:
        parser.error("--count must be at least 1, --interval above 0")
    try:
        run(main, args.count, args.interval, args.seed)
    except KeyboardInterrupt:
        sys.exit(130)
