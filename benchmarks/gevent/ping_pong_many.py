"""Tokio's ping_pong: each of a thousand greenlets starts one more and asks it a question."""

import gevent
from gevent.event import AsyncResult
from measure import benchmark

AT_A_TIME = 1000


def answer(question: AsyncResult, reply: AsyncResult) -> None:
    reply.set(question.get())


def ask() -> None:
    question, reply = AsyncResult(), AsyncResult()
    gevent.spawn(answer, question, reply)
    question.set(1)
    reply.get()


def a_thousand() -> None:
    gevent.joinall([gevent.spawn(ask) for _ in range(AT_A_TIME)])


def ping_pong(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        a_thousand()


if __name__ == "__main__":
    benchmark("ping pong many", ping_pong)
