"""A tree of N contexts, ten below each, is cancelled at its root: one context."""

from goroutines import run
from goroutines.context import CancelContext, background, with_cancel
from measure import ARGUMENTS, timed, warm_up

BELOW = 10


def tree(n: int) -> list[CancelContext]:
    """The root first. Who calls keeps all: a context is collected when nobody refers to it."""
    contexts = [with_cancel(background())]
    for i in range(1, n):
        contexts.append(with_cancel(contexts[(i - 1) // BELOW]))
    return contexts


def main() -> None:
    n = ARGUMENTS[0]
    small, large = tree(warm_up(n)), tree(n)
    small[0].cancel()
    with timed("cancel", n):
        large[0].cancel()


if __name__ == "__main__":
    run(main)
