"""A short program that uses every part of the binding: for scripts/valgrind.sh."""

import gc
import time

import goroutines as G

N = 20


def channels() -> None:
    for capacity in (0, 1, 8):
        ch = G.Chan(int, capacity)

        def send(ch: G.Chan[int] = ch) -> None:
            for i in range(N):
                ch.send(i)
            ch.close()

        G.go(send)
        assert sum(ch) == N * (N - 1) // 2


def by_value() -> None:
    ch = G.Chan(capacity=1, by_value=True)
    ch.send([1, {2: [3]}, ch])
    assert ch.recv_ok()[1]


def selects() -> None:
    a, b = G.Chan(int), G.Chan(int, 2)
    G.go(lambda: [a.send(i) for i in range(N)])
    for _ in range(N):
        G.select(G.recv(a), G.send(b, 1) if len(b) < 2 else G.recv(b), G.recv(None), timeout=10)
    assert G.select(G.recv(G.Chan()), default=True).index == -1


def timers() -> None:
    fired = G.Chan(int, N)
    kept = [G.after_func(0.001 * i, fired.send, i) for i in range(10)]
    kept[9].stop()
    kept[8].reset(0.001)
    for _ in range(9):
        fired.recv(timeout=20)
    with G.Ticker(0.001) as ticker:
        ticker.chan.recv(timeout=20)
    G.after(0.001).recv(timeout=20)
    try:
        G.Chan().recv(timeout=0.001)
    except TimeoutError:
        pass


def ends() -> None:
    """Goroutines that end in all kinds of ways, with other stacks, with blocking calls."""

    def fails() -> None:
        raise ValueError

    before, G.excepthook = G.excepthook, lambda args: None
    for size in (1 << 20, 0):
        G.stack_size(size)
        for fn in (fails, G.goexit, G.lock_os_thread, int):
            G.go(fn)
        for _ in range(3):
            G.go(time.sleep, 0.01)
        G.sleep(0.05)
    G.excepthook = before


def garbage() -> None:
    for _ in range(N):
        ch = G.Chan(list, 3)
        ch.send([ch, ch.sender, ch.receiver])
        del ch
    gc.collect()


def looks() -> None:
    G.debug.stats()
    assert "in main" in G.debug.stacks()


def main() -> None:
    for _ in range(N):
        G.go(G.select)
    G.go(sorted, [2, 1], key=lambda x: G.Chan().recv())
    for part in (channels, by_value, selects, timers, ends, garbage, looks):
        part()


def deadlock() -> None:
    try:
        G.run(G.Chan().recv)
    except G.DeadlockError:
        return
    raise AssertionError("no DeadlockError")


if __name__ == "__main__":
    for procs in (1, 4):
        G.gomaxprocs(procs)
        G.run(main)
    deadlock()
    channels()  # on the main thread
    for _ in range(5):
        G.go(G.select)
    G.go(time.sleep, 600)
    print("over")
