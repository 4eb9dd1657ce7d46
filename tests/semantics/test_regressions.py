"""One test for each bug that a hostile reading has found: what it did is told in the test."""

import contextvars
import signal
import threading
import time
from typing import Any

import goroutines as G
import pytest
from goroutines import Chan, after_func, go, run
from helpers import eventually, in_run, prints, script, told

DEBUG_MALLOC = {"PYTHONMALLOC": "debug"}


class Boom(Exception):
    pass


# ---- waits within waits ----


def test_a_signal_handler_waits_while_its_thread_waits():
    """Both waits were written down in the same place: a crash, or the wrong result."""
    prints(
        """
        import signal, threading
        import goroutines as G

        inner, outer = G.Chan(), G.Chan()

        def handler(*_):
            G.go(inner.send, "inner")
            print(inner.recv(timeout=10))
            threading.Thread(target=outer.send, args=["outer"]).start()

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        print(outer.recv(timeout=10))
        """,
        "inner\nouter",
        env=DEBUG_MALLOC,
    )


@pytest.mark.parametrize("wait", ["send", "recv", "select a send", "select a receive"])
def test_a_handler_that_closes_the_channel_and_raises(wait: str):
    """ChannelClosed won, and what the handler had raised came out of a later wait."""
    ch: Chan[int] = Chan(int)
    waits: dict[str, Any] = {
        "send": lambda: ch.send(1, timeout=10),
        "recv": lambda: ch.recv(timeout=10),
        "select a send": lambda: G.select(G.send(ch, 1), timeout=10),
        "select a receive": lambda: G.select(G.recv(ch), timeout=10),
    }

    def handler(*_: object) -> None:
        ch.close()
        raise Boom

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Boom):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            waits[wait]()
    finally:
        signal.signal(signal.SIGALRM, before)
    later: Chan[int] = Chan(int)
    threading.Thread(target=lambda: later.send(7, timeout=10)).start()
    assert later.recv(timeout=10) == 7


# ---- after_func ----


@pytest.mark.parametrize("use", ["timer.stop()", "timer.reset(0.01)", "G.run(int)", "del timer"])
def test_fork_with_an_armed_after_func(use: str):
    """The child cleared the thread state of a goroutine that did not exist there any more."""
    prints(
        f"""
        import os, warnings
        import goroutines as G

        warnings.simplefilter("ignore", DeprecationWarning)
        timer = G.after_func(100, int)
        pid = os.fork()
        if pid == 0:
            {use}
            G.run(lambda: G.sleep(0.05))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), timer.stop())
        """,
        "0 True",
        env=DEBUG_MALLOC,
    )


def test_a_timer_is_dropped_while_those_that_have_fired_are_cleaned_up():
    """The list of armed timers was walked over a freed one."""
    prints(
        """
        import goroutines as G

        class Stops:
            def __del__(self):
                timers.pop().stop()

        timers = [G.after_func(100, int)]
        fired = G.Chan()
        G.after_func(0.01, lambda it: fired.send(1), Stops())
        fired.recv()
        G.sleep(0.05)
        for _ in range(50):
            G.after_func(100, int)
        print("alive")
        """,
        "alive",
        env=DEBUG_MALLOC,
    )


def test_reset_of_an_after_func_within_its_reset():
    """It was armed twice, and what was left of it fired after it had been freed."""
    prints(
        """
        import contextvars, gc
        import goroutines as G

        var = contextvars.ContextVar("var")

        class Resets:
            def __init__(self, box):
                self.box = box
            def __del__(self):
                self.box[0].reset(0.02)

        def one():
            box = []
            var.set(Resets(box))
            box.append(G.after_func(100, int))
            var.set(None)
            box[0].reset(0.03)
            box[0].stop()
            box.clear()

        for _ in range(100):
            one()
        gc.collect()
        G.sleep(0.1)
        print(G.num_goroutine())
        """,
        "0",
        env=DEBUG_MALLOC,
    )


def test_many_armed_after_funcs_cost_each_other_nothing():
    """Arming one looked at all the others."""

    def armed(n: int) -> list[G.Timer]:
        return [after_func(3600, int) for _ in range(n)]

    def stop(timers: list[G.Timer]) -> None:
        for timer in timers:
            timer.stop()

    def seconds_for_some() -> float:
        begin = time.perf_counter()
        stop(armed(500))
        return time.perf_counter() - begin

    alone = min(seconds_for_some() for _ in range(5))
    others = armed(20_000)
    beside = min(seconds_for_some() for _ in range(5))
    stop(others)
    assert beside < 5 * alone


@in_run
def test_what_an_after_func_has_called_is_let_go():
    """Function and arguments were kept until the next after_func()."""
    gone = threading.Event()

    class Tells:
        def __del__(self) -> None:
            gone.set()

    after_func(0.001, lambda _: None, Tells())
    assert eventually(gone.is_set)


# ---- by value ----


def test_a_deepcopy_method_may_use_the_memo_as_it_likes():
    """A key that is no id of an object was taken for one: a crash."""
    prints(
        """
        import copy
        import goroutines as G

        class Asks:
            def __deepcopy__(self, memo):
                keys = (0, 12345, -1, "a", (), 1 << 70)
                assert all(memo.get(key, "none") == "none" for key in keys)
                assert not any(key in memo for key in keys)
                memo["mine"] = 1
                return [memo["mine"], "mine" in memo, copy.deepcopy(inside, memo) is inside]

        inside = G.Chan()
        ch = G.Chan(capacity=1, by_value=True)
        ch.send([Asks(), inside, copy])
        (found, same, module) = ch.recv()
        print(found, same is inside, module is copy)
        """,
        "[1, True, True] True True",
    )


# ---- the end of run() ----


def test_what_cleanup_starts_does_not_keep_run_from_returning():
    """A goroutine that slept in a loop, started in a `finally`, kept it for ever."""
    prints(
        """
        import goroutines as G

        def beat():
            while True:
                G.sleep(0.005)

        def worker():
            try:
                G.Chan().recv()
            finally:
                G.go(beat)
                G.after_func(0.001, beat)
                G.sleep(0.01)

        def main():
            G.go(worker)
            G.sleep(0.02)
            return "over"

        print(G.run(main), G.num_goroutine())
        """,
        "over 0",
    )


def test_the_interrupt_of_an_abandoned_main_is_raised_once():
    """When that main came back at last, its KeyboardInterrupt went to the next run()."""
    done = script(
        """
        import os, signal, threading, time
        import goroutines as G

        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            G.run(lambda: time.sleep(1))
        except KeyboardInterrupt:
            print("interrupted")
        print(G.run(lambda: G.sleep(1.5)))
        """
    )
    assert (done.returncode, done.stdout.split()) == (0, ["interrupted", "None"]), told(done)
    assert "KeyboardInterrupt" not in done.stderr, told(done)


@pytest.mark.parametrize("turn", range(3))
def test_daemon_threads_that_wait_when_the_interpreter_ends(turn: int):
    """Ended by the interpreter, they left their waits in the channels' queues: a crash."""
    prints(
        """
        import sys, threading, time
        import goroutines as G

        first, second = ([G.Chan() for _ in range(20)] for _ in range(2))

        def waits(i):
            G.select(G.recv(first[i]), G.recv(second[i]))

        def times_out(i):
            try:
                second[i].recv(timeout=0.2)
            except TimeoutError:
                pass  # the machine was slow

        for i in range(20):
            for body in (waits, times_out):
                threading.Thread(target=body, args=[i], daemon=True).start()

        class AtTheEnd:
            used = first, second, time.sleep, (G.ChannelClosed, TimeoutError), sys.stdout

            def __del__(self):
                first, second, sleep, errors, out = self.used
                for ch in first:
                    ch.close()
                sleep(0.4)
                self.junk = [bytearray(b"x" * 600) for _ in range(5000)]
                for ch in second:
                    try:
                        ch.send(1, timeout=0)
                    except errors:
                        pass
                    ch.close()
                print("alive", file=out, flush=True)

        time.sleep(0.1)
        sys.kept_to_the_end = AtTheEnd()
        """,
        "alive",
        env=DEBUG_MALLOC if turn else None,
    )


# ---- from one goroutine to the next on the same thread state ----


def test_a_context_made_at_the_very_end_is_freed():
    """A finalizer that set a context variable when its goroutine had ended made one that leaked."""
    alive: set[int] = set()
    var: contextvars.ContextVar[object] = contextvars.ContextVar("var")
    other: contextvars.ContextVar[object] = contextvars.ContextVar("other")

    class Counted:
        def __init__(self) -> None:
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    class Sets:
        def __del__(self) -> None:
            other.set(Counted())

    def main() -> None:
        for _ in range(50):
            go(var.set, Sets())
            G.gosched()

    run(main)
    assert eventually(lambda: len(alive) <= 1)


def test_a_running_event_loop_stays_behind():
    """Where asyncio keeps it in the thread state, the next goroutine was in it, too."""
    prints(
        """
        import asyncio
        import goroutines as G

        loop = asyncio.new_event_loop()
        seen = G.Chan(capacity=20)

        def main():
            for _ in range(10):
                G.go(asyncio._set_running_loop, loop)
                G.gosched()
                G.go(lambda: seen.send(asyncio._get_running_loop()))
                G.gosched()
            print({seen.recv() for _ in range(10)})
            done = G.Chan()
            G.go(lambda: done.send(asyncio.run(asyncio.sleep(0, "ran"))))
            print(done.recv())

        G.run(main)
        loop.close()
        """,
        "{None}\nran",
    )


# ---- messages and identity ----


def test_a_second_import_finds_the_same_exceptions():
    """Those of the first one were not raised any more."""
    prints(
        """
        import sys
        import goroutines as first

        for name in [n for n in sys.modules if n.split(".")[0] == "goroutines"]:
            del sys.modules[name]
        import goroutines as second

        print(first is second)
        for name in ("ChannelClosed", "DeadlockError", "GoroutineExit"):
            assert getattr(first, name) is getattr(second, name), name
        ch = first.Chan()
        ch.close()
        try:
            ch.recv()
        except second.ChannelClosed:
            print("caught")
        """,
        "False\ncaught",
    )


@in_run
def test_an_after_func_was_created_where_it_was_called():
    """The place was a line of this library."""
    places: Chan[str] = Chan(str, 1)
    before, G.excepthook = G.excepthook, lambda args: places.send(args.created_at)
    try:
        after_func(0.001, lambda: 1 / 0)
        assert __file__ in places.recv(timeout=10)
    finally:
        G.excepthook = before


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: go(5), "go()"),  # type: ignore[arg-type]
        (lambda: run(5), "run()"),  # type: ignore[arg-type]
        (lambda: after_func(1, 5), "after_func()"),  # type: ignore[arg-type]
    ],
    ids=["go", "run", "after_func"],
)
def test_the_message_names_the_function_that_was_called(call: Any, name: str):
    with pytest.raises(TypeError, match=f"^{name[:-2]}\\(\\) takes a function"):
        call()


def test_a_ticker_names_what_it_wants():
    with pytest.raises(TypeError, match="number of seconds"):
        G.Ticker("1")  # type: ignore[arg-type]


def test_the_collector_may_run_while_those_who_are_left_are_told():
    """Sending GoroutineExit allocates. Up to 3.11 that ran the collector, and a callback of it may
    end the very goroutine that is about to be told, here one whose stack is given back then."""
    prints(
        """
        import gc
        from goroutines import Chan, go, gosched, num_goroutine, run
        gate, last_gate = Chan(), Chan()
        def let_all_go(phase, info):
            for n, ch in (2, gate), (1, last_gate):
                if not ch.closed:
                    ch.close()
                while num_goroutine() > n:
                    gosched()
        def main():
            go(last_gate.recv_ok)
            for _ in range(600):
                go(gate.recv_ok)
            gosched()
            gc.callbacks.append(let_all_go)
            gc.set_threshold(1)
        run(main)
        print(num_goroutine())
        """,
        "0",
    )
