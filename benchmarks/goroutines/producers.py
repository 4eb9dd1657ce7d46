"""P producers send on one unbuffered channel, one goroutine receives: one value.

python producers.py N P
"""

from goroutines import Chan, go, run
from measure import ARGUMENTS, timed


def produce(ch: Chan[int], n: int) -> None:
    for _ in range(n):
        ch.send(1)


def produced(n: int, producers: int) -> None:
    ch = Chan(int)
    for _ in range(producers):
        go(produce, ch, n // producers)
    for _ in range(n // producers * producers):
        ch.recv()


def main() -> None:
    n, producers = ARGUMENTS
    produced(n // 10, producers)
    with timed(f"{producers} producers", n):
        produced(n, producers)


if __name__ == "__main__":
    run(main)
