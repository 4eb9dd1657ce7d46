"""close against send, receive, select, iteration and other closes."""

from goroutines import Chan, ChannelClosed, go, gosched, recv, select, send, sleep

from .load import amount, crowd, dice, execute, on_all_procs


def wander(rng):
    for _ in range(rng.randint(0, 3)):
        gosched()


@on_all_procs
def test_sends_that_succeeded_are_received(procs):
    """A send either raises ChannelClosed or its value comes out, never both, never neither."""
    rng = dice()

    def main():
        for _ in range(amount(60)):
            c, received = Chan(tuple, rng.choice([0, 0, 1, 4])), Chan(list)

            def consumer(c=c, received=received):
                received.send(list(c))

            go(consumer)
            go(consumer)

            def sender(i, c=c):
                sent = []
                try:
                    for k in range(20):
                        if i % 2:
                            c.send((i, k))
                        else:
                            select(send(c, (i, k)), recv(None))
                        sent.append((i, k))
                except ChannelClosed:
                    pass
                return sent

            def closer(c=c):
                wander(rng)
                c.close()

            go(closer)
            sent = [v for part in crowd(6, sender) for v in part]
            got = received.recv(timeout=50) + received.recv(timeout=50)
            assert sorted(sent) == sorted(got)
        return True

    assert execute(procs, main)


@on_all_procs
def test_one_close_of_many_succeeds(procs):
    def main():
        for _ in range(amount(100)):
            c = Chan()

            def closes(i, c=c):
                try:
                    c.close()
                except ChannelClosed:
                    return 0
                return 1

            assert sum(crowd(8, closes)) == 1
            assert c.closed
        return True

    assert execute(procs, main)


@on_all_procs
def test_everybody_is_woken(procs):
    rng = dice()

    def main():
        for _ in range(amount(30)):
            c, quit_ = Chan(int, rng.choice([0, 2])), Chan()

            def waits(i, c=c, quit_=quit_):
                how = i % 6
                try:
                    if how == 0:
                        return len(list(c))
                    if how == 1:
                        return c.recv_ok()[1]
                    if how == 2:
                        return c.recv()
                    if how == 3:
                        return select(recv(c), recv(quit_)).ok
                    if how == 4:
                        return c.recv(timeout=100)
                    for k in range(10):
                        c.send(k)
                    return "sent"
                except ChannelClosed:
                    return "closed"

            def closer(c=c):
                sleep(0.0005 * rng.randint(0, 3))
                c.close()

            go(closer)
            assert len(crowd(30, waits)) == 30
        return True

    assert execute(procs, main)


@on_all_procs
def test_channels_that_are_dropped_while_they_are_closed(procs):
    def main():
        def body(i):
            for _ in range(amount(20)):
                c = Chan(object, 2)
                go(lambda c=c: c.recv_ok())
                c.send([c])
                c.close()
                del c
            return i

        return sum(crowd(20, body))

    assert execute(procs, main) == 190
