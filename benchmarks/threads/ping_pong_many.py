"""Tokio's ping_pong: each of a thousand threads starts one more and asks it a question."""

from queue import SimpleQueue
from threading import Thread

from measure import benchmark

AT_A_TIME = 1000


def answer(question: SimpleQueue[int], reply: SimpleQueue[int]) -> None:
    reply.put(question.get())


def ask() -> None:
    question, reply = SimpleQueue[int](), SimpleQueue[int]()
    Thread(target=answer, args=(question, reply)).start()
    question.put(1)
    reply.get()


def a_thousand() -> None:
    threads = [Thread(target=ask) for _ in range(AT_A_TIME)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ping_pong(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        a_thousand()


if __name__ == "__main__":
    benchmark("ping pong many", ping_pong)
