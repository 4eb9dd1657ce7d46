"""DeadlockError: what is one, what it says, and everything that is none."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import goroutines
import pytest
from goroutines import (
    Chan,
    ChannelClosed,
    DeadlockError,
    GoroutineExit,
    after,
    after_func,
    go,
    gosched,
    lock_os_thread,
    num_goroutine,
    recv,
    run,
    select,
    send,
    sleep,
)
from helpers import eventually, in_run, on_procs, prints, script, told

from .support import attempt, full, hooked, line_of, parked, spawn

HEAD = "all goroutines are asleep - deadlock!"

WAITS = {
    "recv": ("chan receive", lambda: Chan().recv()),
    "recv_ok": ("chan receive", lambda: Chan().recv_ok()),
    "iteration": ("chan receive", lambda: list(Chan())),
    "view": ("chan receive", lambda: Chan().receiver.recv()),
    "buffered recv": ("chan receive", lambda: Chan(int, 3).recv()),
    "timeout inf": ("chan receive", lambda: Chan().recv(timeout=float("inf"))),
    "send": ("chan send", lambda: Chan().send(1)),
    "send to a full channel": ("chan send", lambda: full(1).send(2)),
    "send through a view": ("chan send", lambda: Chan().sender.send(1)),
    "select": ("select", lambda: select(recv(Chan()), send(Chan(), 1))),
    "select of one": ("select", lambda: select(recv(Chan()))),
    "select with itself": ("select", lambda: [select(recv(c), send(c, 1)) for c in [Chan()]]),
    "select without cases": ("select (no cases)", lambda: select()),
}


def test_it_is_a_runtime_error():
    assert issubclass(DeadlockError, RuntimeError)


@pytest.mark.parametrize("n_procs", [1, 2, 4])
@pytest.mark.parametrize("how", WAITS)
def test_main_alone(how, n_procs):
    reason, wait = WAITS[how]
    with pytest.raises(DeadlockError) as caught:
        on_procs(n_procs, wait)
    first, *rest = str(caught.value).splitlines()
    assert first == HEAD
    assert len(rest) == 1 and reason in rest[0]


@pytest.mark.parametrize("n", [1, 10])
@pytest.mark.parametrize("how", WAITS)
def test_main_with_others(how, n):
    def main():
        for _ in range(n):
            go(WAITS[how][1])
        WAITS[how][1]()

    with pytest.raises(DeadlockError) as caught:
        run(main)
    assert str(caught.value).count(WAITS[how][0]) == n + 1
    assert num_goroutine() == 0


def test_selects_of_none_only():
    for wait in (lambda: select(recv(None)), lambda: select(send(None, 1), recv(None))):
        with pytest.raises(DeadlockError, match="select"):
            run(wait)


def test_it_arrives_where_main_waits():
    log = []

    def main():
        try:
            Chan().recv()
        except DeadlockError:
            log.append("caught in main")
        c = Chan()
        go(c.send, "goes on")
        return c.recv()

    assert run(main) == "goes on"
    assert log == ["caught in main"]


def test_several_in_one_run():
    def main():
        return [type(attempt(Chan().recv).error) for _ in range(5)]

    assert run(main) == [DeadlockError] * 5


def test_a_deadlock_of_the_main_thread():
    done = script(
        """
        import goroutines as G
        c = G.Chan()
        G.go(c.recv)
        G.Chan().send(1)
        """
    )
    assert done.returncode == 1, told(done)
    assert f"DeadlockError: {HEAD}" in done.stderr, told(done)


def test_the_others_end_after_a_deadlock():
    log = []

    def main():
        def body():
            try:
                Chan().recv()
            except GoroutineExit:
                log.append("GoroutineExit")
                raise

        for _ in range(3):
            go(body)
        Chan().recv()

    with pytest.raises(DeadlockError):
        run(main)
    assert log == ["GoroutineExit"] * 3


def test_nobody_but_main_gets_it():
    errors = []

    def main():
        def body():
            errors.append(type(attempt(Chan().recv).error))

        go(body)
        return type(attempt(Chan().recv).error)

    assert run(main) is DeadlockError
    assert errors == [GoroutineExit]


# ------------------------------------------------------------------ the report


def receives(c):
    c.recv()


def sends(c):
    c.send(1)


def selects(c):
    select(recv(c), recv(Chan()))


def selects_nothing(_):
    select()


def iterates(c):
    for _ in c:
        pass


REPORTED = {
    receives: "chan receive",
    sends: "chan send",
    selects: "select",
    selects_nothing: "select (no cases)",
    iterates: "chan receive",
}


def test_a_line_for_each_goroutine():
    def the_main():
        for fn in REPORTED:
            go(fn, Chan())
        Chan().recv()

    with pytest.raises(DeadlockError) as caught:
        run(the_main)
    first, *lines = str(caught.value).splitlines()
    assert first == HEAD
    assert len(lines) == len(REPORTED) + 1
    base = os.path.basename(__file__)
    for fn, reason in REPORTED.items():
        (line,) = [x for x in lines if re.search(rf"\b{fn.__name__}\b", x)]
        assert reason in line
        assert re.search(rf"{re.escape(base)}\D+{line_of(fn)}\b", line), line
    (line,) = [x for x in lines if "the_main" in x]
    assert re.search(rf"\D{line_of(the_main, 3)}\b", line), line


def test_the_line_is_the_innermost_frame():
    def outer(c):
        middle(c)

    def middle(c):
        inner(c)

    def inner(c):
        c.recv()

    def main():
        go(outer, Chan())
        Chan().recv()

    with pytest.raises(DeadlockError) as caught:
        run(main)
    text = str(caught.value)
    assert "inner" in text and "middle" not in text and "outer" not in text
    assert re.search(rf"\D{line_of(inner)}\b", text)


@pytest.mark.parametrize("n", [99, 100, 101, 500])
def test_the_first_hundred_are_listed(n):
    def main():
        c = Chan()
        for _ in range(n - 1):
            go(c.recv)
        c.recv()

    with pytest.raises(DeadlockError) as caught:
        run(main)
    lines = str(caught.value).splitlines()[1:]
    assert ["chan receive" in x for x in lines[:100]] == [True] * min(n, 100)
    assert lines[100:] == ([f"  ... and {n - 100} more"] if n > 100 else [])


def test_the_count_of_the_rest_without_run():
    """The main thread waits and is no goroutine; a timer that is stopped has none alive."""
    done = script(
        """
        import goroutines as G
        c = G.Chan()
        for _ in range(130):
            G.go(c.recv)
        timer = G.after_func(600, print)
        timer.stop()
        try:
            c.recv()
        except G.DeadlockError as e:
            print(str(e).splitlines()[100:][-1])
        """
    )
    assert done.stdout == "  ... and 30 more\n", told(done)


def test_a_goroutine_without_python_frames_has_a_line_too():
    """go(c.recv): there is no frame of Python under the wait."""

    def main():
        c = Chan()
        go(c.recv)
        Chan().send(1)

    with pytest.raises(DeadlockError) as caught:
        run(main)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3 and any("chan receive" in x for x in lines)


# ------------------------------------------------------------------ deadlocks after something


def test_after_work():
    def main():
        c, d = Chan(int), Chan(int)
        go(lambda: [d.send(v) for v in c])
        for i in range(100):
            c.send(i)
            assert d.recv() == i
        d.recv()

    with pytest.raises(DeadlockError):
        run(main)


def test_a_range_nobody_closes():
    got = []

    def main():
        c = Chan(int)
        go(lambda: [c.send(i) for i in range(5)])
        for v in c:
            got.append(v)

    with pytest.raises(DeadlockError):
        run(main)
    assert got == list(range(5))


def test_dining_philosophers():
    def main():
        forks = [full(1) for _ in range(5)]
        holding, all_hold = Chan(), Chan()

        def philosopher(i):
            forks[i].recv()
            holding.send(None)
            all_hold.recv_ok()
            forks[(i + 1) % 5].recv()

        for i in range(5):
            go(philosopher, i)
        for _ in range(5):
            holding.recv()
        all_hold.close()
        Chan().recv()

    with pytest.raises(DeadlockError) as caught:
        run(main)
    assert str(caught.value).count("philosopher") == 5


def test_after_the_partner_failed():
    def main():
        c = Chan()

        def body():
            c.send(1 // 0)

        go(body)
        c.recv()

    with hooked() as seen, pytest.raises(DeadlockError):
        run(main)
    assert [s.exc_type for s in seen] == [ZeroDivisionError]


LATE = {
    "a timeout elapsed": lambda: go(attempt, lambda: Chan().recv(timeout=0.15)),
    "a sleeper ended": lambda: go(sleep, 0.15),
    "a blocking call ended": lambda: go(time.sleep, 0.15),
    "a timer fired": lambda: after_func(0.15, int),
    "a computation ended": lambda: go(compute, 0.15),
    "a thread ended": lambda: spawn(time.sleep, 0.15),
    "a timer nobody waits for any more": lambda: go(lambda: after(0.15).recv()),
}


def compute(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.parametrize("what", LATE)
def test_as_soon_as(what):
    def main():
        LATE[what]()
        Chan().recv()

    start = time.monotonic()
    with pytest.raises(DeadlockError):
        run(main)
    assert 0.15 <= time.monotonic() - start < 15


def test_a_stopped_timer_wakes_nobody():
    def main():
        t = goroutines.Timer(600)
        t.stop()
        t.chan.recv()

    with pytest.raises(DeadlockError):
        run(main)


def test_a_stopped_ticker_wakes_nobody():
    def main():
        t = goroutines.Ticker(600)
        t.stop()
        t.chan.recv()

    with pytest.raises(DeadlockError):
        run(main)


def test_a_wired_goroutine_is_asleep_like_any_other():
    def main():
        def body():
            lock_os_thread()
            Chan().recv()

        go(body)
        lock_os_thread()
        Chan().recv()

    with pytest.raises(DeadlockError):
        run(main)


def test_run_works_afterwards():
    for _ in range(10):
        with pytest.raises(DeadlockError):
            run(Chan().recv)
        c = Chan(int, 1)
        c.send(1)
        assert run(c.recv) == 1


# ------------------------------------------------------------------ no deadlock


@in_run
def test_a_timer_will_fire():
    assert isinstance(after(0.1).recv(), float)


@in_run
def test_a_ticker_ticks():
    with goroutines.Ticker(0.05) as t:
        for _ in range(3):
            t.chan.recv()


@in_run
def test_a_sleeper_will_send():
    c = Chan(int)
    go(lambda: [sleep(0.1), c.send(1)])
    assert c.recv() == 1


@in_run
def test_a_wait_with_a_timeout_is_no_deadlock():
    with pytest.raises(TimeoutError):
        Chan().recv(timeout=0.1)
    with pytest.raises(TimeoutError):
        select(timeout=0.1)


@in_run
def test_another_goroutine_waits_with_a_timeout_and_will_send():
    c = Chan(str)

    def body():
        try:
            Chan().recv(timeout=0.1)
        except TimeoutError:
            c.send("elapsed")

    go(body)
    assert c.recv() == "elapsed"


@in_run
def test_a_blocking_call_will_return():
    c = Chan(str)
    go(lambda: [time.sleep(0.15), c.send("slept")])
    assert c.recv() == "slept"
    r, w = os.pipe()
    go(lambda: c.send(os.read(r, 5).decode()))
    threading.Timer(0.1, os.write, [w, b"piped"]).start()
    assert c.recv() == "piped"
    os.close(r)
    os.close(w)


@in_run
def test_a_subprocess_will_end():
    c = Chan(int)
    command = [sys.executable, "-c", "import time; time.sleep(0.2)"]
    go(lambda: c.send(subprocess.run(command, check=True).returncode))
    assert c.recv() == 0


@in_run
def test_a_computation_will_send():
    c = Chan(int)
    go(lambda: [compute(0.15), c.send(1)])
    assert c.recv() == 1


@in_run
def test_a_thread_that_is_somewhere_else_might_send():
    c, event = Chan(str), threading.Event()
    thread = spawn(lambda: [event.wait(), c.send("thread")])
    timer = threading.Timer(0.2, event.set)
    timer.start()
    assert c.recv() == "thread"
    thread.join(20)
    timer.join(20)


@in_run
def test_main_computes_while_all_others_sleep_for_good():
    for _ in range(5):
        go(Chan().recv)
        go(select)
    parked(5)
    compute(0.2)
    sleep(0.05)
    assert num_goroutine() == 11


def test_no_deadlock_without_a_main_that_waits():
    c = Chan()
    for _ in range(3):
        go(c.recv_ok)
    parked(3)
    time.sleep(0.2)
    assert num_goroutine() == 3
    c.close()
    assert eventually(lambda: num_goroutine() == 0)


@pytest.mark.parametrize("n_procs", [1, 2, 8])
def test_no_false_alarm_in_quick_succession(n_procs):
    """Everybody sleeps for a moment, again and again, but never all at once for good."""

    def main():
        for i in range(300):
            a, b = Chan(int), Chan(int)
            go(lambda a=a, b=b: b.send(a.recv() + 1))
            go(a.send, i)
            assert b.recv() == i + 1
            if i % 10 == 0:
                sleep(0.0001)
            if i % 25 == 0:
                go(lambda a=a, i=i: [time.sleep(0.001), a.send(i)])
                assert a.recv() == i

    on_procs(n_procs, main)


@pytest.mark.parametrize("n_procs", [1, 4])
def test_no_false_alarm_with_tiny_timeouts(n_procs):
    def main():
        over = Chan()

        def body():
            for _ in range(100):
                with pytest.raises(TimeoutError):
                    Chan().recv(timeout=0.0002)
            over.send(None)

        for _ in range(8):
            go(body)
        for _ in range(8):
            over.recv()

    on_procs(n_procs, main)


def test_no_false_alarm_with_threads_that_come_and_go():
    def main():
        c = Chan(int)
        for i in range(100):
            spawn(c.send, i)
            assert c.recv() == i

    run(main)


def test_no_false_alarm_when_a_thread_starts_goroutines():
    def main():
        c = Chan(int)

        def body():
            time.sleep(0.02)
            go(c.send, 1)

        for _ in range(10):
            thread = spawn(body)
            assert c.recv() == 1
            thread.join()

    run(main)


def test_a_signal_handler_might_wake_somebody():
    prints(
        """
        import signal
        import goroutines as G
        c = G.Chan(int, 1)
        signal.signal(signal.SIGALRM, lambda *args: c.send(1))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        print(G.run(c.recv))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        print(c.recv())
        """,
        "1\n1",
    )


NATIVE = """
import ctypes, signal, sys, threading, time
import goroutines as G
libc = ctypes.CDLL(None)
ROUTINE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
kept = []

def native(fn):
    def body(_):
        fn()
    routine, thread = ROUTINE(body), ctypes.c_ulong()
    kept.append(routine)
    assert libc.pthread_create(ctypes.byref(thread), None, routine, None) == 0
    return thread
"""


@pytest.mark.hang(180)
def test_threads_that_python_starts_are_not_taken_for_native_ones():
    """One has a state before it is counted: many that start at once must not look like more."""
    prints(
        """
        import _thread, sys, time
        import goroutines as G
        usual = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)

        def body(ch, ended):
            ch.recv()
            ended.append(1)

        for _ in range(50):
            ch, ended = G.Chan(), []
            for _ in range(20):
                _thread.start_new_thread(body, (ch, ended))
            for _ in range(20):
                ch.send(1)
            while len(ended) < 20:
                time.sleep(0.001)
        sys.setswitchinterval(usual)
        try:
            G.run(G.select)
        except G.DeadlockError:
            print("found")
        """,
        "found",
        timeout=150,
    )


def test_a_native_thread_that_called_once_may_call_again():
    prints(
        NATIVE
        + """
c = G.Chan(str)

def body():
    c.send("first")
    libc.usleep(400_000)
    c.send("second")

def main():
    thread = native(body)
    got = [c.recv(), c.recv()]
    libc.pthread_join(thread, None)
    return got

print(G.run(main))
""",
        "['first', 'second']",
    )


FOREVER = {
    "run, recv": "G.run(G.Chan().recv)",
    "run, select": "G.run(lambda: G.select(G.recv(G.Chan()), G.send(G.Chan(), 1)))",
    "run, with another": "G.run(lambda: [G.go(G.Chan().recv), G.select()])",
    "main thread": "G.Chan().recv()",
    "main thread, with another": "G.go(G.select); G.Chan().send(1)",
}

# A real alarm ends the program: no handler of Python's.
ALARM = """
import signal
import goroutines as G
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.setitimer(signal.ITIMER_REAL, 1.0)
"""
# Where the error is to come first.
LATE_ALARM = ALARM.replace("1.0", "20.0")


@pytest.mark.parametrize("where", FOREVER)
def test_detection_turned_off(where):
    done = script(ALARM + FOREVER[where], env={"GOROUTINES_DEADLOCK": "0"})
    assert done.returncode == -signal.SIGALRM, told(done)
    assert "Deadlock" not in done.stderr


@pytest.mark.parametrize("value", ["1", ""])
@pytest.mark.parametrize("where", FOREVER)
def test_detection_not_turned_off(where, value):
    done = script(LATE_ALARM + FOREVER[where], env={"GOROUTINES_DEADLOCK": value})
    assert done.returncode == 1, told(done)
    assert HEAD in done.stderr, told(done)


@pytest.mark.parametrize("where", ["run, recv", "main thread"])
def test_a_handler_of_ones_own_turns_it_off(where):
    done = script(ALARM + "signal.signal(signal.SIGUSR1, lambda *args: None)\n" + FOREVER[where])
    assert done.returncode == -signal.SIGALRM, told(done)


HANDLERS = {
    "default_int_handler": "signal.signal(signal.SIGINT, signal.default_int_handler)",
    "SIG_DFL": "signal.signal(signal.SIGTERM, signal.SIG_DFL)",
    "SIG_IGN": "signal.signal(signal.SIGUSR2, signal.SIG_IGN)",
    "taken back": "signal.signal(signal.SIGUSR1, signal.signal(signal.SIGUSR1, lambda *a: None))",
}


@pytest.mark.parametrize("which", HANDLERS)
@pytest.mark.parametrize("where", ["run, recv", "main thread"])
def test_pythons_own_handlers_do_not_count(where, which):
    done = script(LATE_ALARM + HANDLERS[which] + "\n" + FOREVER[where])
    assert done.returncode == 1 and HEAD in done.stderr, told(done)


@pytest.mark.parametrize("off", ["GOROUTINES_DEADLOCK=0", "a handler", "one left behind in C"])
def test_the_second_delivery_at_the_end_of_run_comes_all_the_same(off):
    prelude = {
        "GOROUTINES_DEADLOCK=0": "",
        "a handler": "signal.signal(signal.SIGUSR1, lambda *args: None)",
        "one left behind in C": "G.go(time.sleep, 600)",
    }[off]
    prints(
        f"""
        import signal, time
        import goroutines as G
        log = []
        {prelude}
        def main():
            def stubborn():
                for _ in range(3):
                    try:
                        G.select()
                    except G.GoroutineExit:
                        log.append("again")
            G.go(stubborn)
            while "[select (no " "cases)" not in G.debug.stacks():
                G.sleep(0.01)
        G.run(main)
        print(log)
        """,
        "['again', 'again', 'again']",
        env={"GOROUTINES_DEADLOCK": "0"} if off.startswith("GOROUTINES") else None,
    )


def test_a_closed_channel_is_no_deadlock():
    def main():
        c = Chan()
        go(c.close)
        return c.recv()

    with pytest.raises(ChannelClosed):
        run(main)


def test_all_yield_and_nobody_sleeps():
    def main():
        stop = []

        def spins():
            while not stop:
                gosched()

        for _ in range(3):
            go(spins)
        for _ in range(300):
            gosched()
        stop.append(1)

    run(main)
