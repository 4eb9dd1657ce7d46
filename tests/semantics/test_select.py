"""select: one of several cases, a default, a time limit; fair, and all or nothing."""

import gc
import itertools
import math
import sys
import threading
import time
import warnings
import weakref

import pytest
from goroutines import (
    Chan,
    ChannelClosed,
    Selected,
    after,
    go,
    gosched,
    num_goroutine,
    recv,
    run,
    select,
    send,
    sleep,
)
from helpers import eventually, in_run, on_procs, script

from .support import PLACES, Nothing, at, attempt, closed, full, offer, parked, spawn, take

# ------------------------------------------------------------------ the result


def test_selected_is_a_named_tuple():
    got = select(recv(full("v")))
    assert type(got) is Selected and isinstance(got, tuple)
    assert Selected._fields == ("index", "value", "ok")
    assert (got.index, got.value, got.ok) == tuple(got) == (0, "v", True)
    index, value, ok = got
    assert (index, value, ok) == (0, "v", True)


RESULTS = {
    "receive": (lambda: select(recv(full(5))), (0, 5, True)),
    "receive of None": (lambda: select(recv(full(None))), (0, None, True)),
    "send": (lambda: select(send(Chan(int, 1), 5)), (0, None, True)),
    "closed": (lambda: select(recv(closed())), (0, None, False)),
    "closed, not drained": (lambda: select(recv(closed(1))), (0, 1, True)),
    "default": (lambda: select(recv(Chan()), default=True), (-1, None, False)),
    "default alone": (lambda: select(default=True), (-1, None, False)),
    "default, but ready": (lambda: select(recv(full(5)), default=True), (0, 5, True)),
    "the second": (lambda: select(recv(Chan()), recv(full(5))), (1, 5, True)),
    "the last": (lambda: select(recv(None), recv(Chan()), send(Chan(int, 1), 1)), (2, None, True)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", RESULTS)
def test_results(what, place):
    op, expected = RESULTS[what]
    got = at(place, op)
    assert got == expected
    assert type(got.ok) is bool and type(got.index) is int


@in_run
def test_match():
    jobs, quit_ = full("job"), Chan()

    def step():
        match select(recv(jobs), recv(quit_), default=True):
            case 0, job, True:
                return job
            case 1, _, _:
                return "quit"
            case -1, _, _:
                return "nothing"

    assert step() == "job"
    assert step() == "nothing"
    quit_.close()
    assert step() == "quit"


def test_the_options_are_keywords():
    with pytest.raises(TypeError):
        select(recv(Chan()), True)
    with pytest.raises(TypeError):
        select(recv(Chan()), 5)


def test_an_unknown_keyword():
    with pytest.raises(TypeError):
        select(recv(full(1)), wait=True)


@pytest.mark.parametrize("thing", [5, "chan", [], object(), Chan], ids=type)
def test_what_is_no_channel(thing):
    with pytest.raises(TypeError):
        select(recv(thing), default=True)
    with pytest.raises(TypeError):
        select(send(thing, 1), default=True)


@pytest.mark.parametrize(
    "case", [Chan(), None, (Chan(), 1), "case"], ids=["chan", "None", "tuple", "str"]
)
def test_what_is_no_case(case):
    with pytest.raises(TypeError):
        select(case, default=True)


def test_a_bare_channel_gets_advice():
    with pytest.raises(TypeError, match="recv"):
        select(Chan())


def test_cases_are_ordinary_objects():
    case = recv(full(1, 2))
    assert "recv" in repr(case)
    assert "send" in repr(send(None, 3))
    assert select(case).value == 1
    assert select(case).value == 2, "a case may be used again"


@in_run
def test_a_case_may_be_used_in_several_selects_at_once():
    c, out = Chan(int), Chan(int)
    case = recv(c)
    for _ in range(10):
        go(lambda: out.send(select(case, recv(Chan())).value))
    parked(10, "select")
    for i in range(10):
        c.send(i)
    assert sorted(out.recv() for _ in range(10)) == list(range(10))


@in_run
def test_the_same_case_twice_in_one_select():
    case = recv(full(1))
    assert select(case, case).value == 1
    c = Chan(int)
    case = recv(c)
    go(c.send, 5)
    assert select(case, case).value == 5


# ------------------------------------------------------------------ default


@pytest.mark.parametrize("others", list(itertools.product([False, True], repeat=4)), ids=str)
def test_default_when_nothing_is_ready(others):
    makers = [
        lambda: recv(Chan()),
        lambda: send(Chan(), 1),
        lambda: recv(None),
        lambda: send(None, 1),
    ]
    filled = full(1)
    cases = [send(filled, 2)] + [m() for m, on in zip(makers, others, strict=True) if on]
    assert select(*cases, default=True) == (-1, None, False)
    assert take(filled) == 1 and take(filled) is Nothing


@pytest.mark.parametrize("where", range(5))
def test_what_is_ready_beats_the_default(where):
    for make in (lambda: recv(full("x")), lambda: send(Chan(str, 1), "x"), lambda: recv(closed())):
        cases = [recv(Chan()), send(Chan(), 1), recv(None), send(full(1), 2)]
        cases.insert(where, make())
        assert select(*cases, default=True).index == where


@in_run
def test_a_default_meets_one_that_waits():
    c, out = Chan(int), Chan(object, 5)
    go(lambda: out.send(c.recv()))
    parked()
    assert select(send(c, 7), default=True) == (0, None, True)
    assert out.recv() == 7
    go(c.send, 8)
    parked(1, "chan send")
    assert select(recv(c), default=True) == (0, 8, True)


def test_default_does_not_let_others_run_away_with_time():
    c = Chan()
    start = time.monotonic()
    for _ in range(10_000):
        select(recv(c), default=True)
    assert time.monotonic() - start < 10


def test_default_and_timeout_together():
    """The default is there at once, so the time limit never elapses; or it is refused."""
    outcome = attempt(lambda: select(recv(Chan()), default=True, timeout=60))
    assert outcome.value == (-1, None, False) or isinstance(outcome.error, (TypeError, ValueError))


# ------------------------------------------------------------------ waiting

EVENTS = ["send", "buffered send", "recv", "close", "close under a send"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("position", [0, 1, 3])
def test_a_waiting_select_is_woken_by(event, position, place):
    def body():
        channels = [Chan(int, 1 if event == "buffered send" else 0) for _ in range(4)]
        chosen, out = channels[position], Chan(object, 1)
        sends = event in ("recv", "close under a send")
        cases = [send(c, 77) if sends and c is chosen else recv(c) for c in channels]

        def other():
            sleep(0.02)
            if event in ("send", "buffered send"):
                chosen.send(55)
            elif event == "recv":
                out.send(chosen.recv())
            else:
                chosen.close()

        go(other)
        outcome = attempt(lambda: select(*cases))
        if event == "recv":
            assert out.recv() == 77
        if event == "close under a send":
            return type(outcome.error)
        for c in channels:
            if c is not chosen and not c.capacity:
                assert not offer(c, 1), "a case that lost is still in line"
        return tuple(outcome.unwrap())

    assert (
        at(place, body)
        == {
            "send": (position, 55, True),
            "buffered send": (position, 55, True),
            "recv": (position, None, True),
            "close": (position, None, False),
            "close under a send": ChannelClosed,
        }[event]
    )


WAITS_FOR_EVER = {
    "no case": lambda: select(),
    "None": lambda: select(recv(None)),
    "None twice": lambda: select(send(None, 1), recv(None)),
    "empty": lambda: select(recv(Chan())),
    "full": lambda: select(send(full(1), 2)),
    "itself": lambda: [select(send(c, 1), recv(c)) for c in [Chan()]],
    "itself in pairs": lambda: [select(send(c, 1), recv(c), recv(c), send(c, 2)) for c in [Chan()]],
    "timeout=None": lambda: select(recv(Chan()), timeout=None),
    "timeout=inf": lambda: select(recv(Chan()), timeout=math.inf),
    "default=False": lambda: select(recv(Chan()), default=False),
}


@pytest.mark.parametrize("what", WAITS_FOR_EVER)
@in_run
def test_waits_for_ever(what):
    log = []

    def body():
        WAITS_FOR_EVER[what]()
        log.append("went on")

    go(body)
    sleep(0.03)
    assert log == []
    assert num_goroutine() == 2


@in_run
def test_the_same_channel_in_both_directions_never_meets_itself():
    c, out = Chan(int), Chan(object, 3)
    go(lambda: out.send(select(send(c, 1), recv(c))))
    parked(1, "select")
    assert take(c) == 1
    assert out.recv() == (0, None, True)
    go(lambda: out.send(select(send(c, 1), recv(c))))
    parked(1, "select")
    assert offer(c, 9)
    assert out.recv() == (1, 9, True)


@in_run
def test_two_selects_on_the_same_two_channels_meet():
    for _ in range(200):
        a, b, out = Chan(str), Chan(str), Chan(object)
        go(lambda a=a, b=b, out=out: out.send(select(send(a, "A"), send(b, "B")).index))
        go(lambda a=a, b=b, out=out: out.send(select(recv(b), recv(a))))
        got = [out.recv(), out.recv()]
        (index,) = [g for g in got if isinstance(g, int)]
        (received,) = [g for g in got if not isinstance(g, int)]
        assert received == (1 - index, "AB"[index], True)


@in_run
def test_selects_that_list_channels_in_opposite_order_do_not_deadlock():
    channels = [Chan(int) for _ in range(6)]
    over = Chan()

    def player(order, n):
        for i in range(n):
            select(*[send(c, i) if k % 2 else recv(c) for k, c in enumerate(order)])
        over.send(None)

    # As many sends as receives in all, however they pair: each step of one is a step of another.
    def pump():
        while True:
            for c in channels:
                select(recv(c), default=True)
                select(send(c, 0), default=True)
            gosched()

    go(pump)
    for k in range(6):
        go(player, channels[k:] + channels[:k], 100)
        go(player, (channels[k:] + channels[:k])[::-1], 100)
    for _ in range(12):
        over.recv(timeout=50)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 64, 65, 500])
@in_run
def test_any_number_of_cases(n):
    channels = [Chan(int) for _ in range(n)]
    for target in {0, n // 2, n - 1}:
        go(channels[target].send, target)
        assert select(*map(recv, channels)) == (target, target, True)
        assert select(*map(recv, channels), default=True).index == -1


@in_run
def test_none_switches_a_case_off():
    a, b = closed(1, 2), closed(3, 4)
    cases, got = [a, b], []
    while any(cases):
        index, value, ok = select(*map(recv, cases))
        if ok:
            got.append(value)
        else:
            cases[index] = None
    assert sorted(got) == [1, 2, 3, 4]


@in_run
def test_a_merge():
    def feed(c, values):
        for v in values:
            c.send(v)
        c.close()

    a, b, got = Chan(int), Chan(int), []
    go(feed, a, range(0, 100, 2))
    go(feed, b, range(1, 100, 2))
    left = {0: a, 1: b}
    while left:
        index, value, ok = select(recv(left.get(0)), recv(left.get(1)))
        if ok:
            got.append(value)
        else:
            del left[index]
    assert sorted(got) == list(range(100))
    assert [v for v in got if v % 2 == 0] == list(range(0, 100, 2))


# ------------------------------------------------------------------ closed channels


def test_a_ready_send_on_a_closed_channel_raises():
    with pytest.raises(ChannelClosed):
        select(send(closed(), 1))
    with pytest.raises(ChannelClosed):
        select(send(closed(), 1), default=True)
    with pytest.raises(ChannelClosed):
        select(recv(Chan()), send(closed(), 1), timeout=0)


def test_a_send_on_a_closed_channel_is_one_of_the_ready_cases():
    outcomes = set()
    for _ in range(500):
        outcome = attempt(lambda: select(send(closed(), 1), recv(full("v"))))
        outcomes.add(type(outcome.error))
        if outcome.error is None:
            assert outcome.value == (1, "v", True)
    assert outcomes == {ChannelClosed, type(None)}


# ------------------------------------------------------------------ values


@in_run
def test_types_are_checked_before_anything_happens():
    ready, ints = full("v"), Chan(int, 1)
    for keywords in ({}, {"default": True}, {"timeout": 0}, {"timeout": 60}):
        for cases in (
            lambda: [recv(ready), send(ints, "text")],
            lambda: [send(ints, None), recv(ready)],
            lambda: [send(ints, 1), send(ints, "text")],
        ):
            with pytest.raises(TypeError):
                select(*cases(), **keywords)
    assert len(ready) == 1 and len(ints) == 0


@in_run
def test_only_the_value_of_the_chosen_case_is_sent():
    channels = [Chan(int, 1) for _ in range(4)]
    index = select(*[send(c, i) for i, c in enumerate(channels)]).index
    assert [len(c) for c in channels] == [int(i == index) for i in range(4)]
    assert channels[index].recv() == index


def test_a_case_holds_its_value_only_as_long_as_it_lives():
    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)
    case = send(Chan(object), thing)
    del thing
    select(case, default=True)
    assert ref() is not None
    del case
    gc.collect()
    assert ref() is None


# ------------------------------------------------------------------ timeouts


@pytest.mark.parametrize("place", PLACES)
def test_a_timeout_elapses(place):
    def body():
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            select(recv(Chan()), send(Chan(), 1), recv(None), timeout=0.05)
        return time.monotonic() - start

    assert 0.05 <= at(place, body) < 5


@in_run
def test_a_timeout_leaves_no_case_in_line():
    a, b = Chan(int), Chan(int)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            select(recv(a), send(b, 1), timeout=0.002)
    assert not offer(a, 1)
    assert take(b) is Nothing


@in_run
def test_after_as_a_case():
    start = time.monotonic()
    index, value, ok = select(recv(Chan()), recv(after(0.05)))
    assert (index, ok) == (1, True) and isinstance(value, float)
    assert time.monotonic() - start >= 0.05


# ------------------------------------------------------------------ fairness


def chi_square(counts):
    expected = sum(counts) / len(counts)
    return sum((n - expected) ** 2 / expected for n in counts)


def generous(k):
    """Chi-square of k - 1 degrees of freedom is above this once in 10^9 (Wilson-Hilferty)."""
    d = k - 1
    return d * (1 - 2 / (9 * d) + 6.0 * math.sqrt(2 / (9 * d))) ** 3


READY = {
    "buffered receive": lambda: recv(full(1)),
    "closed receive": lambda: recv(closed()),
    "buffered send": lambda: send(Chan(int, 1), 1),
}


@pytest.mark.parametrize("k", [2, 3, 4, 7, 16])
@pytest.mark.parametrize("what", READY)
def test_the_choice_is_uniform(what, k):
    counts = [0] * k
    for _ in range(250 * k):
        counts[select(*[READY[what]() for _ in range(k)]).index] += 1
    assert chi_square(counts) < generous(k), counts


def test_the_choice_is_uniform_among_the_ready_only():
    counts = {1: 0, 3: 0, 4: 0}
    for _ in range(1500):
        got = select(recv(Chan()), recv(full(1)), recv(None), send(Chan(int, 1), 1), recv(closed()))
        counts[got.index] += 1
    assert chi_square(list(counts.values())) < generous(3), counts


def test_one_choice_does_not_depend_on_the_one_before():
    pairs = [0] * 9
    last = 0
    a = [closed() for _ in range(3)]
    for _ in range(4500):
        index = select(*map(recv, a)).index
        pairs[3 * last + index] += 1
        last = index
    assert chi_square(pairs) < generous(9), pairs


@in_run
def test_the_choice_is_uniform_among_waiting_senders():
    channels = [Chan(int) for _ in range(4)]
    for i, c in enumerate(channels):

        def feeder(i=i, c=c):
            while True:
                c.send(i)

        go(feeder)
    parked(4, "chan send")
    counts = [0] * 4
    for _ in range(1200):
        index, value, _ = select(*map(recv, channels))
        assert value == index
        counts[index] += 1
        for _ in range(4):  # lets the feeder that was served wait again
            gosched()
    assert min(counts) > 100, counts


def test_different_processes_choose_differently():
    source = """
        import goroutines as G
        c = G.Chan()
        c.close()
        print("".join(str(G.select(*[G.recv(c)] * 8).index) for _ in range(64)))
        """
    runs = {script(source).stdout for _ in range(3)}
    assert len(runs) == 3


# ------------------------------------------------------------------ atomicity


@pytest.mark.parametrize("n_procs", [1, 2, 4])
def test_each_value_goes_to_exactly_one_channel(n_procs):
    n = 2000

    def main():
        channels, out, left = [Chan(int) for _ in range(4)], Chan(int), Chan()

        def sender():
            for i in range(n):
                select(*[send(c, i) for c in channels])
            for c in channels:
                c.close()

        def drain(c):
            for v in c:
                out.send(v)
            left.send(None)

        def closer():
            for _ in channels:
                left.recv()
            out.close()

        go(sender)
        for c in channels:
            go(drain, c)
        go(closer)
        return sorted(out)

    assert on_procs(n_procs, main) == list(range(n))


@pytest.mark.parametrize("n_procs", [1, 2, 4])
def test_each_select_takes_exactly_one_value(n_procs):
    n = 500

    def main():
        channels, out = [Chan(int) for _ in range(3)], Chan(int)

        def feeder(k):
            for i in range(n):
                channels[k].send(k * n + i)

        def receiver():
            while True:
                out.send(select(*map(recv, channels)).value)

        for k in range(3):
            go(feeder, k)
        for _ in range(5):
            go(receiver)
        return sorted(out.recv() for _ in range(3 * n))

    assert on_procs(n_procs, main) == list(range(3 * n))


def test_goroutines_and_threads_select_on_the_same_channels():
    a, b, out = Chan(int), Chan(int), Chan(int, 1000)
    n = 200

    def receiver():
        while True:
            index, value, ok = select(recv(a), recv(b))
            if not ok:
                return
            out.send(value)

    def main():
        threads = [spawn(receiver) for _ in range(3)]
        for _ in range(3):
            go(receiver)
        for i in range(n):
            select(send(a, i), send(b, i))
        got = sorted(out.recv() for _ in range(n))
        a.close()
        b.close()
        return threads, got

    threads, got = run(main)
    for t in threads:
        t.join(20)
    assert got == list(range(n))
    assert not any(isinstance(t, threading.Thread) and t.is_alive() for t in threads)


# ------------------------------------------------------------------ dropped cases


def warned(action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
        gc.collect()
    return [w for w in caught if issubclass(w.category, RuntimeWarning)]


def ignore(*_cases):
    """Takes cases and lets them go."""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["recv", "send", "recv of a view", "send of a view"])
def test_a_dropped_case_warns(kind, place):
    def body():
        c = Chan(int, 2)
        make = {
            "recv": lambda: ignore(recv(c)),
            "send": lambda: ignore(send(c, 1)),
            "recv of a view": lambda: ignore(recv(c.receiver)),
            "send of a view": lambda: ignore(send(c.sender, 1)),
        }[kind]
        found = warned(make)
        assert len(c) == 0, "nothing was sent"
        return [str(w.message) for w in found]

    method = kind.split()[0]
    assert at(place, body) == [f"select case was never used; did you mean ch.{method}()?"]


def test_a_dropped_case_in_a_cycle_warns():
    def cycle():
        box = [recv(Chan())]
        box.append(box)

    assert len(warned(cycle)) == 1


def test_each_dropped_case_warns():
    assert len(warned(lambda: ignore(recv(Chan()), send(Chan(), 1), recv(Chan())))) == 3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_cases_beside_a_wrong_argument_do_not_warn(place):
    def wrong():
        cases = [recv(Chan()), send(Chan(), 1)]
        cases.insert(place, Chan())
        with pytest.raises(TypeError, match="Chan"):
            select(*cases)

    assert warned(wrong) == []


def test_cases_that_are_made_again_and_again_warn_again_and_again():
    """Dead cases are used again: what one has been through must not show in the next."""

    def used():
        select(*[recv(Chan()) for _ in range(50)], default=True)

    for _ in range(3):
        used()
        assert len(warned(lambda: ignore(*[send(Chan(), 1) for _ in range(50)]))) == 50
        assert warned(used) == []


def test_a_dead_case_holds_neither_channel_nor_value():
    class Thing:
        pass

    ch, thing = Chan(Thing), Thing()
    channel, value = weakref.ref(ch), weakref.ref(thing)
    select(send(ch, thing), default=True)
    del ch, thing
    gc.collect()
    assert channel() is None and value() is None
    assert repr(recv(None)) == "recv(None)"


def test_a_dropped_case_of_none_does_not_warn():
    assert warned(lambda: ignore(recv(None), send(None, 1))) == []


def test_the_warning_may_be_turned_into_an_error_without_harm():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before, seen = sys.unraisablehook, []
        sys.unraisablehook = lambda args: seen.append(args.exc_type)
        try:
            ignore(recv(Chan()))
            gc.collect()
        finally:
            sys.unraisablehook = before
    assert seen == [RuntimeWarning]


USED = {
    "ready": lambda: select(recv(full(1))),
    "not chosen": lambda: select(recv(full(1)), recv(full(2)), send(Chan(), 1)),
    "default": lambda: select(recv(Chan()), send(Chan(), 1), default=True),
    "closed send": lambda: attempt(lambda: select(send(closed(), 1), recv(Chan()))) and None,
    "wrong type": lambda: attempt(lambda: select(recv(Chan()), send(Chan(int), "x"))) and None,
    "elapsed": lambda: attempt(lambda: select(recv(Chan()), timeout=0.001)) and None,
    "polled": lambda: attempt(lambda: select(recv(Chan()), timeout=0)) and None,
    "with None": lambda: select(recv(None), recv(full(1))),
}


@pytest.mark.parametrize("how", USED)
def test_a_case_that_reached_a_select_does_not_warn(how):
    assert warned(USED[how]) == []


def test_cases_of_goroutines_that_the_end_of_run_took_do_not_warn():
    def main():
        for _ in range(5):
            go(lambda: select(recv(Chan()), send(Chan(), 1)))
        parked(5, "select")

    assert warned(lambda: run(main)) == []


@in_run
def test_nothing_stays_behind_after_many_selects():
    quiet, busy = Chan(int), Chan(int)

    def feeder():
        for i in range(2000):
            busy.send(i)
        busy.close()

    go(feeder)
    while select(recv(quiet), recv(busy)).ok:
        pass
    assert not offer(quiet, 1)
    assert eventually(lambda: num_goroutine() == 1)
