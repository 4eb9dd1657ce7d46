"""A tree of N tasks with a nursery each, ten below each, is cancelled at its root: one task."""

import trio
import trio.testing
from measure import ARGUMENTS, run, timed, warm_up

BELOW = 10


async def node(number: int, n: int) -> None:
    first = BELOW * number + 1
    async with trio.open_nursery() as nursery:
        for child in range(first, min(first + BELOW, n)):
            nursery.start_soon(node, child, n)
        await trio.sleep_forever()


async def tree(n: int, scope: trio.CancelScope, ended: trio.Event) -> None:
    with scope:
        await node(0, n)
    ended.set()


async def start(nursery: trio.Nursery, n: int) -> tuple[trio.CancelScope, trio.Event]:
    scope, ended = trio.CancelScope(), trio.Event()
    nursery.start_soon(tree, n, scope, ended)
    await trio.testing.wait_all_tasks_blocked()
    return scope, ended


async def cancel(scope: trio.CancelScope, ended: trio.Event) -> None:
    scope.cancel()
    await ended.wait()


async def main() -> None:
    n = ARGUMENTS[0]
    async with trio.open_nursery() as nursery:
        small, large = await start(nursery, warm_up(n)), await start(nursery, n)
        await cancel(*small)
        with timed("cancel", n):
            await cancel(*large)


if __name__ == "__main__":
    run(main)
