"""Tokio's ping_pong: each of a thousand tasks starts one more and asks it a question."""

import asyncio

from measure import benchmark

AT_A_TIME = 1000


async def answer(question: asyncio.Future[int], reply: asyncio.Future[int]) -> None:
    reply.set_result(await question)


async def ask() -> None:
    loop = asyncio.get_running_loop()
    question, reply = loop.create_future(), loop.create_future()
    other = asyncio.create_task(answer(question, reply))
    question.set_result(1)
    await reply
    await other


async def a_thousand() -> None:
    await asyncio.gather(*[ask() for _ in range(AT_A_TIME)])


async def ping_pong(n: int) -> None:
    for _ in range(n // AT_A_TIME):
        await a_thousand()


if __name__ == "__main__":
    benchmark("ping pong many", ping_pong)
