"""Tokio's ping_pong: each of a thousand tasks starts one more and asks it a question."""

import trio
from measure import benchmark

AT_A_TIME = 1000


async def answer(
    question: trio.MemoryReceiveChannel[int], reply: trio.MemorySendChannel[int]
) -> None:
    await reply.send(await question.receive())


async def ask(nursery: trio.Nursery) -> None:
    to_question, question = trio.open_memory_channel[int](1)
    to_reply, reply = trio.open_memory_channel[int](1)
    nursery.start_soon(answer, question, to_reply)
    await to_question.send(1)
    await reply.receive()


async def a_thousand() -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(AT_A_TIME):
            nursery.start_soon(ask, nursery)


async def ping_pong(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        await a_thousand()


if __name__ == "__main__":
    benchmark("ping pong many", ping_pong)
