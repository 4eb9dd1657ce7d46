"""Tokio's ping_pong: each of a thousand goroutines starts one more and asks it a question."""

from goroutines import Chan, go
from measure import benchmark

AT_A_TIME = 1000


def answer(question: Chan[int], reply: Chan[int]) -> None:
    reply.send(question.recv())


def ask(done: Chan[None]) -> None:
    question, reply = Chan(int, 1), Chan(int, 1)
    go(answer, question, reply)
    question.send(1)
    reply.recv()
    done.send(None)


def a_thousand() -> None:
    done: Chan[None] = Chan(capacity=AT_A_TIME)
    for _ in range(AT_A_TIME):
        go(ask, done)
    for _ in range(AT_A_TIME):
        done.recv()


def ping_pong(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        a_thousand()


if __name__ == "__main__":
    benchmark("ping pong many", ping_pong)
