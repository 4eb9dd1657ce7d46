"""for v in channel: until it is closed and drained."""

import itertools

import pytest
from goroutines import Chan, ChannelClosed, go
from helpers import eventually, in_run

from .support import PLACES, at, closed, full, parked


@pytest.mark.parametrize("capacity", [0, 1, 5])
@pytest.mark.parametrize("place", PLACES)
def test_iteration_ends_with_the_channel(place, capacity):
    def body():
        c = Chan(int, capacity)

        def feeder():
            for i in range(50):
                c.send(i)
            c.close()

        go(feeder)
        return [v for v in c]

    assert at(place, body) == list(range(50))


def test_iterating_over_what_is_closed():
    assert list(closed(1, 2, 3)) == [1, 2, 3]
    assert list(closed()) == []
    assert list(closed(1).receiver) == [1]


def test_falsy_values_do_not_end_it():
    assert list(closed(None, 0, "", False)) == [None, 0, "", False]


def test_an_iterator_is_its_own_iterator():
    c = closed(1, 2)
    it = iter(c)
    assert iter(it) is it
    assert next(it) == 1
    assert next(it) == 2
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(it)


@in_run
def test_two_iterators_share_the_channel():
    c = closed(*range(10))
    a, b = iter(c), iter(c)
    got = [next(a), next(b), next(a)]
    assert got == [0, 1, 2]
    assert list(a) + list(b) == list(range(3, 10))


@in_run
def test_break_leaves_the_rest_in_the_channel():
    c = full(*range(5))
    for v in c:
        if v == 2:
            break
    assert len(c) == 2
    assert c.recv() == 3


@in_run
def test_iteration_blocks_between_values():
    c, log = Chan(int), []

    def body():
        for v in c:
            log.append(v)
        log.append("end")

    go(body)
    parked()
    c.send(1)
    assert eventually(lambda: log == [1])
    parked()
    c.send(2)
    c.close()
    assert eventually(lambda: log == [1, 2, "end"])


@in_run
def test_library_functions_take_channels():
    assert sum(closed(1, 2, 3)) == 6
    assert max(closed(1, 5, 3)) == 5
    assert dict(enumerate(closed("a", "b"))) == {0: "a", 1: "b"}
    assert list(zip(closed(1, 2), closed("a", "b"), strict=True)) == [(1, "a"), (2, "b")]
    assert list(itertools.islice(full(1, 2, 3), 2)) == [1, 2]
    assert list(map(str, closed(1, 2))) == ["1", "2"]
    first, *rest = closed(1, 2, 3)
    assert (first, rest) == (1, [2, 3])
    assert 2 in closed(1, 2, 3)


@in_run
def test_a_sender_view_is_not_iterable():
    with pytest.raises(TypeError):
        iter(Chan().sender)


@in_run
def test_a_channel_is_not_indexable():
    with pytest.raises(TypeError):
        _ = full(1)[0]


@in_run
def test_consumers_share_the_work():
    c, out = Chan(int, 2), Chan(list)
    for _ in range(7):
        go(lambda: out.send(list(c)))
    for i in range(700):
        c.send(i)
    c.close()
    parts = [out.recv() for _ in range(7)]
    assert sorted(itertools.chain(*parts)) == list(range(700))
    assert all(part == sorted(part) for part in parts), "each sees them in order"


@in_run
def test_a_pipeline():
    def stage(source, fn):
        out = Chan(int)

        def body():
            for v in source:
                out.send(fn(v))
            out.close()

        go(body)
        return out.receiver

    source = Chan(int)

    def feeder():
        for i in range(20):
            source.send(i)
        source.close()

    go(feeder)
    c = source.receiver
    for k in range(5):
        c = stage(c, lambda v, k=k: v * 2 + k)
    expected = range(20)
    for k in range(5):
        expected = [v * 2 + k for v in expected]
    assert list(c) == expected


@in_run
def test_an_exception_out_of_the_loop_leaves_the_channel_usable():
    c = full(1, 2, 3)
    with pytest.raises(ZeroDivisionError):
        for v in c:
            v / 0
    assert c.recv() == 2
    c.close()
    assert list(c) == [3]
    with pytest.raises(ChannelClosed):
        c.send(1)
