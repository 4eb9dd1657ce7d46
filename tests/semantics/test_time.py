"""sleep, after, Timer, Ticker, after_func."""

import gc
import math
import threading
import time
import weakref
from decimal import Decimal
from fractions import Fraction

import pytest
from goroutines import (
    Chan,
    RecvChan,
    Ticker,
    Timer,
    after,
    after_func,
    go,
    gosched,
    num_goroutine,
    recv,
    run,
    select,
    sleep,
)
from helpers import eventually, in_run, on_procs, prints, procs, slack

from .support import PLACES, Closed, Nothing, at, hooked, parked, take

# ------------------------------------------------------------------ sleep and gosched


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.2])
def test_sleep_takes_at_least_its_time(place, seconds):
    def body():
        start = time.monotonic()
        assert sleep(seconds) is None
        return time.monotonic() - start

    assert seconds <= at(place, body) < seconds + 5


@pytest.mark.parametrize("seconds", [0, 0.0, -1, -0.5, -math.inf])
@pytest.mark.parametrize("place", PLACES)
def test_a_sleep_of_nothing_is_a_yield(place, seconds):
    def body():
        start = time.monotonic()
        sleep(seconds)
        return time.monotonic() - start

    assert at(place, body) < 5


@pytest.mark.parametrize("yields", [gosched, lambda: sleep(0), lambda: sleep(-1)])
@in_run
def test_yielding_lets_others_run_on_one_p(yields):
    with procs(1):
        log = []
        for i in range(10):
            go(log.append, i)
        end = time.monotonic() + 10
        while len(log) < 10 and time.monotonic() < end:
            yields()
    assert sorted(log) == list(range(10))


@pytest.mark.parametrize("seconds", ["1", None, [], 1j], ids=repr)
@in_run
def test_sleep_wants_a_number(seconds):
    with pytest.raises(TypeError):
        sleep(seconds)


@in_run
def test_sleep_of_nan():
    with pytest.raises(ValueError):
        sleep(math.nan)


@in_run
def test_sleepers_wake_in_order():
    out = Chan(int, 10)

    def body(i):
        sleep(slack(0.05) * i)
        out.send(i)

    for i in (3, 1, 4, 2, 5):
        go(body, i)
    assert [out.recv() for _ in range(5)] == [1, 2, 3, 4, 5]


@in_run
def test_sleeping_goroutines_need_no_threads():
    import os

    before = len(os.listdir("/proc/self/task"))
    for _ in range(1000):
        go(sleep, 30)
    parked(1000, "sleep")
    assert len(os.listdir("/proc/self/task")) - before < 10


@in_run
def test_a_thousand_sleep_at_the_same_time():
    over = Chan()
    start = time.monotonic()
    for _ in range(1000):
        go(lambda: [sleep(0.2), over.send(None)])
    for _ in range(1000):
        over.recv()
    assert 0.2 <= time.monotonic() - start < 10


@pytest.mark.parametrize("n_procs", [1, 4])
def test_a_sleeper_wakes_though_all_others_compute(n_procs):
    def main():
        stop = []

        def computes():
            while not stop:
                pass

        for _ in range(3):
            go(computes)
        start = time.monotonic()
        sleep(0.05)
        stop.append(1)
        return time.monotonic() - start

    assert 0.05 <= on_procs(n_procs, main) < 10


# ------------------------------------------------------------------ after


@pytest.mark.parametrize("place", PLACES)
def test_after(place):
    def body():
        start = time.monotonic()
        c = after(0.05)
        assert isinstance(c, RecvChan)
        assert take(c) is Nothing or time.monotonic() - start >= 0.05
        instant = c.recv()
        now = time.monotonic()
        assert isinstance(instant, float) and start + 0.05 <= instant <= now
        return take(c)

    assert at(place, body) is Nothing


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
@in_run
def test_after_nothing_fires_at_once(seconds):
    assert isinstance(after(seconds).recv(timeout=20), float)


@in_run
def test_after_infinity_never_fires():
    assert take(after(math.inf)) is Nothing
    assert take(after(1e300)) is Nothing


@pytest.mark.parametrize("make", [after, Timer, Ticker, lambda s: after_func(s, print)])
@in_run
def test_nan_and_what_is_no_number(make):
    with pytest.raises(ValueError):
        make(math.nan)
    for thing in ("1", None, []):
        with pytest.raises(TypeError):
            make(thing)


@in_run
def test_many_afters():
    start = time.monotonic()
    channels = [after(0.02 + i % 30 / 200) for i in range(3000)]
    instants = [c.recv(timeout=30) for c in channels]
    for i, instant in enumerate(instants):
        assert instant >= start + 0.02 + i % 30 / 200


# ------------------------------------------------------------------ Timer


@in_run
def test_a_timer_fires_once():
    start = time.monotonic()
    t = Timer(0.03)
    assert isinstance(t.chan, RecvChan) and t.chan == t.chan
    assert t.chan.recv() >= start + 0.03
    with pytest.raises(TimeoutError):
        t.chan.recv(timeout=0.03)


@in_run
def test_stop():
    t = Timer(60)
    assert t.stop() is True, "it was running"
    assert t.stop() is False, "it was stopped"
    assert take(t.chan) is Nothing
    t = Timer(0.005)
    t.chan.recv()
    assert t.stop() is False, "it had fired"


@in_run
def test_a_stopped_timer_does_not_fire():
    timers = [Timer(0.03) for _ in range(50)]
    assert all(t.stop() for t in timers)
    sleep(0.06)
    assert all(take(t.chan) is Nothing for t in timers)


@in_run
def test_stop_leaves_no_stale_value():
    for _ in range(20):
        t = Timer(0.001)
        sleep(0.004)
        t.stop()
        assert take(t.chan) is Nothing


@in_run
def test_reset():
    t = Timer(60)
    start = time.monotonic()
    assert t.reset(0.02) is True, "it was running"
    assert t.chan.recv(timeout=20) >= start + 0.02
    start = time.monotonic()
    assert t.reset(0.02) is False, "it had fired"
    assert t.chan.recv(timeout=20) >= start + 0.02
    t.stop()
    assert t.reset(0.001) is False, "it was stopped"
    t.chan.recv(timeout=20)


@in_run
def test_reset_leaves_no_stale_value():
    for _ in range(20):
        t = Timer(0.001)
        sleep(0.004)
        t.reset(60)
        assert take(t.chan) is Nothing
        t.stop()


@in_run
def test_reset_to_later_moves_it():
    t = Timer(0.05)
    start = time.monotonic()
    t.reset(0.25)
    assert t.chan.recv() >= start + 0.25


@in_run
def test_reset_to_earlier_moves_it():
    t, start = Timer(600), time.monotonic()
    sleep(0.01)
    t.reset(0.01)
    t.chan.recv(timeout=30)
    assert time.monotonic() - start < 20


@in_run
def test_reset_again_and_again_while_it_fires():
    t = Timer(0.0001)
    for i in range(300):
        t.reset(0.0001 * (i % 4))
        if i % 7 == 0:
            gosched()
    t.reset(0.01)
    t.chan.recv(timeout=20)
    assert take(t.chan) is Nothing


@in_run
def test_one_receiver_of_many_gets_the_value():
    t, out = Timer(0.05), Chan(str)

    def body():
        try:
            t.chan.recv(timeout=0.5)
        except TimeoutError:
            out.send("timeout")
        else:
            out.send("value")

    for _ in range(6):
        go(body)
    assert sorted(out.recv() for _ in range(6)) == ["timeout"] * 5 + ["value"]


@in_run
def test_stop_races_with_firing():
    for i in range(300):
        t = Timer(0.0005)
        sleep(0.0001 * (i % 10))
        if t.stop():
            assert take(t.chan) is Nothing
    sleep(0.002)


@in_run
def test_stop_from_another_goroutine_wakes_nobody():
    t, out = Timer(60), Chan(str, 1)
    go(lambda: out.send("woken" if t.chan.recv_ok() else ""))
    parked()
    t.stop()
    sleep(0.02)
    assert len(out) == 0


# ------------------------------------------------------------------ Ticker


@in_run
def test_a_ticker_ticks():
    ticker = Ticker(0.02)
    assert isinstance(ticker.chan, RecvChan)
    start = time.monotonic()
    instants = [ticker.chan.recv(timeout=20) for _ in range(5)]
    ticker.stop()
    assert instants == sorted(instants)
    assert time.monotonic() - start >= 0.09
    assert all(isinstance(i, float) for i in instants)


@pytest.mark.parametrize("seconds", [0, -1, -0.0, Fraction(0), Decimal(-1), float("-inf")])
def test_a_ticker_of_nothing(seconds):
    with pytest.raises(ValueError):
        Ticker(seconds)


@pytest.mark.parametrize("make", [Timer, Ticker, after, lambda s: after_func(s, print)])
def test_timers_can_be_referred_to_weakly(make):
    timer = make(3600)
    ref = weakref.ref(timer)
    assert ref() is timer
    if isinstance(timer, (Timer, Ticker)):
        timer.stop()
    del timer
    gc.collect()
    assert ref() is None


@in_run
def test_reset_of_a_ticker_of_nothing():
    with Ticker(60) as ticker:
        with pytest.raises(ValueError):
            ticker.reset(0)


@in_run
def test_ticks_are_dropped_for_a_slow_receiver():
    with Ticker(0.005) as ticker:
        sleep(0.15)
        got = 0
        while take(ticker.chan) is not Nothing:
            got += 1
    assert got <= 2, "at most one tick is kept (and one may come while we look)"
    assert got >= 1


@in_run
def test_a_stopped_ticker():
    ticker = Ticker(0.003)
    ticker.chan.recv()
    assert ticker.stop() is None
    take(ticker.chan)
    sleep(0.03)
    assert take(ticker.chan) is Nothing
    ticker.stop()
    assert take(ticker.chan) is not Closed, "stop does not close the channel"


@in_run
def test_the_context_manager_stops_it():
    with Ticker(0.003) as ticker:
        ticker.chan.recv()
    take(ticker.chan)
    sleep(0.03)
    assert take(ticker.chan) is Nothing
    with pytest.raises(KeyError):
        with Ticker(0.003) as ticker:
            raise KeyError
    sleep(0.02)
    take(ticker.chan)
    assert take(ticker.chan) is Nothing


@in_run
def test_reset_of_a_ticker():
    ticker = Ticker(600)
    ticker.reset(0.005)
    for _ in range(3):
        ticker.chan.recv(timeout=20)
    ticker.reset(600)
    take(ticker.chan)
    sleep(0.03)
    assert take(ticker.chan) is Nothing
    ticker.stop()
    ticker.reset(0.005)
    ticker.chan.recv(timeout=20)
    ticker.stop()


@in_run
def test_a_ticker_keeps_its_pace_though_the_receiver_is_late_now_and_then():
    period = 0.05
    with Ticker(period) as ticker:
        first = ticker.chan.recv()
        sleep(period * 0.6)
        second = ticker.chan.recv()
    # The second tick is due one period after the first, not after the late receive.
    assert second - first >= period * 0.5


@in_run
def test_several_tickers():
    counts = {"fast": 0, "slow": 0}
    with Ticker(0.01) as fast, Ticker(0.05) as slow:
        while counts["slow"] < 3:
            counts["fast" if select(recv(fast.chan), recv(slow.chan)).index == 0 else "slow"] += 1
    assert counts["fast"] > counts["slow"]


# ------------------------------------------------------------------ after_func


@pytest.mark.parametrize("place", PLACES)
def test_after_func(place):
    def body():
        out = Chan(tuple, 1)
        start = time.monotonic()
        t = after_func(0.03, lambda *args: out.send((args, time.monotonic() - start)), 1, "two")
        assert isinstance(t, Timer)
        args, took = out.recv(timeout=20)
        assert args == (1, "two")
        return took

    assert at(place, body) >= 0.03


@in_run
def test_after_func_runs_in_a_goroutine_of_its_own():
    gate, over = Chan(), Chan()
    for _ in range(5):
        after_func(0.001, lambda: [gate.recv(), over.send(None)])
    parked(5)
    assert num_goroutine() == 6
    for _ in range(5):
        gate.send(None)
    for _ in range(5):
        over.recv()


@in_run
def test_after_func_stopped_in_time():
    log = []
    t = after_func(0.05, log.append, 1)
    assert t.stop() is True
    assert t.stop() is False
    sleep(0.08)
    assert log == []


@in_run
def test_after_func_reset():
    out = Chan(int, 5)
    t = after_func(600, out.send, 1)
    assert t.reset(0.005) is True
    assert out.recv(timeout=20) == 1
    assert t.reset(0.005) is False
    assert out.recv(timeout=20) == 1, "it is called once more"
    assert t.stop() is False


@in_run
def test_an_exception_in_after_func_goes_to_the_hook():
    with hooked() as seen:
        after_func(0.001, lambda: 1 // 0)
        assert eventually(lambda: seen)
    assert seen[0].exc_type is ZeroDivisionError


@in_run
def test_after_func_wants_a_function():
    with pytest.raises(TypeError, match="callable"):
        after_func(60, None)

    async def coroutine_function():
        pass

    with pytest.raises(TypeError):
        after_func(60, coroutine_function)


def test_timers_that_are_not_due_do_not_hold_up_the_end_of_run():
    start = time.monotonic()

    def main():
        after_func(600, print, "never")
        Timer(600)
        return after(600)

    run(main)
    assert time.monotonic() - start < 20


@in_run
def test_after_func_started_by_a_timer():
    out = Chan(int, 1)

    def step(n):
        if n == 0:
            out.send(0)
        else:
            after_func(0.001, step, n - 1)

    step(20)
    assert out.recv(timeout=30) == 0


# ------------------------------------------------------------------ garbage


@pytest.mark.parametrize("make", [lambda: Timer(600), lambda: Ticker(600), lambda: Ticker(0.01)])
@in_run
def test_unreferenced_timers_are_collected(make):
    def alive():
        gc.collect()
        return sum(isinstance(o, Timer | Ticker) for o in gc.get_objects())

    before = alive()
    kept = [make() for _ in range(20)]
    assert alive() == before + 20
    del kept
    assert eventually(lambda: alive() <= before)


@in_run
def test_unreferenced_timers_cost_no_memory():
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    def churn():
        for _ in range(5000):
            after(3600)
            Timer(3600)
        gc.collect()

    churn()
    before = resident()
    for _ in range(10):
        churn()
    assert resident() - before < 24 << 20


@in_run
def test_a_timer_is_not_collected_while_somebody_waits_for_it():
    out = Chan(float, 1)
    go(lambda: out.send(Timer(0.1).chan.recv()))
    for _ in range(5):
        gc.collect()
        sleep(0.005)
    assert isinstance(out.recv(timeout=20), float)


@in_run
def test_a_timer_is_not_collected_while_its_channel_is_in_a_select():
    def waits():
        return select(recv(Chan()), recv(after(0.1)))

    out = Chan(object, 1)
    go(lambda: out.send(waits().index))
    parked(1, "select")
    gc.collect()
    assert out.recv(timeout=20) == 1


@in_run
def test_a_function_to_be_called_is_not_collected():
    out = Chan(str, 1)
    after_func(0.05, out.send, "called")
    for _ in range(3):
        gc.collect()
    assert out.recv(timeout=20) == "called"


@in_run
def test_what_a_stopped_after_func_refers_to_is_released():
    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)
    t = after_func(600, print, thing)
    t.stop()
    del t, thing
    assert eventually(lambda: [gc.collect(), ref() is None][1])


def test_timers_serve_foreign_threads():
    out = Chan(float, 10)
    threads = [threading.Thread(target=lambda: out.send(after(0.02).recv())) for _ in range(5)]
    for t in threads:
        t.start()
    assert all(isinstance(out.recv(timeout=20), float) for _ in range(5))
    for t in threads:
        t.join(20)


def test_timers_are_members_of_no_run():
    """A timer made before run is there in it."""
    c = after(0.05)
    assert isinstance(run(c.recv), float)


@in_run
def test_timers_tell_what_they_are():
    assert "Timer" in repr(Timer(60))
    ticker = Ticker(60)
    assert "Ticker" in repr(ticker)
    ticker.stop()


def test_a_timer_is_stopped_while_the_interpreter_ends():
    """By a finalizer, after the thread state of its prepared goroutine is gone."""
    prints(
        """
        import goroutines

        class Owner:
            def __init__(self):
                self.timers = [goroutines.after_func(600, print) for _ in range(100)]

            def __del__(self):
                for timer in self.timers:
                    timer.stop()

        owner = Owner()
        owner.self = owner
        kept = [owner, Owner()]
        """,
        "",
    )
