"""Many selects on few channels, in both directions, with defaults and time limits."""

import collections

from goroutines import Chan, ChannelClosed, go, gosched, recv, select, send

from .load import amount, crowd, dice, execute, on_all_procs


@on_all_procs
def test_everything_with_everything(procs):
    """Random sends and receives on random channels: as much is received as was sent."""
    rng = dice()
    channels = [Chan(tuple, rng.choice([0, 0, 1, 3])) for _ in range(6)]
    members, n = 24, amount(120)

    def main():
        def body(i):
            mine = rng.child(i)
            sent, got = [], []
            for k in range(n):
                value = (i, k)
                sends = [mine.random() < 0.5 for _ in range(mine.randint(1, 5))]
                chosen = [mine.choice([*channels, None]) for _ in sends]
                cases = [
                    send(c, value) if s else recv(c) for c, s in zip(chosen, sends, strict=True)
                ]
                how = mine.random()
                try:
                    if how < 0.4:
                        result = select(*cases, default=True)
                    elif how < 0.5:
                        result = select(*cases, timeout=0)
                    else:
                        result = select(*cases, timeout=0.002)
                except TimeoutError:
                    continue
                if result.index == -1:
                    gosched()
                elif sends[result.index]:
                    sent.append(value)
                    assert result.value is None and result.ok
                else:
                    got.append(result.value)
                    assert result.ok
            return sent, got

        results = crowd(members, body)
        rest = []
        for c in channels:
            c.close()
            rest.extend(c)
        sent = collections.Counter(v for s, _ in results for v in s)
        got = collections.Counter(v for _, g in results for v in g)
        got.update(rest)
        return sent, got

    sent, got = execute(procs, main)
    assert sent == got
    assert set(sent.values()) <= {1}
    assert sent


@on_all_procs
def test_selects_meet_selects(procs):
    """Both sides select over the same channels in different orders: no deadlock, nothing lost."""
    rng = dice()
    k, n, pairs = rng.randint(2, 8), amount(150), 8

    def main():
        channels = [Chan(int) for _ in range(k)]
        out = Chan(int)

        def sender(i):
            mine = rng.child(i)
            for j in range(n):
                order = mine.sample(channels, k)
                select(*[send(c, i * n + j) for c in order])

        def receiver(i):
            mine = rng.child(-i - 1)
            for _ in range(n):
                order = mine.sample(channels, k)
                out.send(select(*map(recv, order)).value)

        for i in range(pairs):
            go(sender, i)
            go(receiver, i)
        got = sorted(out.recv() for _ in range(n * pairs))
        # Nobody's lost case is still in a line.
        assert all(select(recv(c), default=True).index == -1 for c in channels)
        assert all(select(send(c, 0), default=True).index == -1 for c in channels)
        return got

    assert execute(procs, main) == list(range(n * pairs))


@on_all_procs
def test_a_value_or_quit(procs):
    """The usual loop: work until quit is closed; what was sent was received by somebody."""
    n = amount(1500)

    def main():
        work, quit_, out = Chan(int), Chan(), Chan(list)

        def worker():
            got = []
            while True:
                index, value, _ = select(recv(work), recv(quit_))
                if index == 1:
                    out.send(got)
                    return
                got.append(value)

        for _ in range(10):
            go(worker)
        for i in range(n):
            work.send(i)
        quit_.close()
        return sorted(v for _ in range(10) for v in out.recv())

    assert execute(procs, main) == list(range(n))


@on_all_procs
def test_closing_under_selects(procs):
    rng = dice()

    def main():
        for _ in range(amount(8)):
            channels = [Chan(int, rng.choice([0, 1])) for _ in range(3)]
            out = Chan(object)

            def selects(i, channels=channels, out=out):
                got = 0
                try:
                    while True:
                        cases = [recv(c) for c in channels] + [send(channels[i % 3], 1)]
                        index, _, ok = select(*cases)
                        if not ok:
                            break
                        got += index < 3
                except ChannelClosed:
                    pass
                out.send(got)

            for i in range(8):
                go(selects, i)
            for _ in range(rng.randint(0, 2)):
                gosched()
            for c in channels:
                c.close()
            for _ in range(8):
                out.recv(timeout=50)
        return True

    assert execute(procs, main)
