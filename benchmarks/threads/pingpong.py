"""A value goes to another thread and back, over two queues: one round trip."""

from queue import SimpleQueue
from threading import Thread

from measure import benchmark


def echo(there: SimpleQueue[int], back: SimpleQueue[int], n: int) -> None:
    for _ in range(n):
        back.put(there.get())


def pingpong(n: int) -> None:
    there, back = SimpleQueue[int](), SimpleQueue[int]()
    Thread(target=echo, args=(there, back, n)).start()
    for _ in range(n):
        there.put(1)
        back.get()


if __name__ == "__main__":
    benchmark("round trip", pingpong)
