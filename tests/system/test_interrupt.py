"""Ctrl-C and other signals, while somebody waits, computes or is blocked."""

import signal
import textwrap
import time

import pytest
from helpers import prints, script, told
from interrupts import MAY_WAKE, interrupted

WAITS = {
    "recv": "G.Chan().recv()",
    "recv, timeout": "G.Chan().recv(timeout=600)",
    "recv_ok": "G.Chan().recv_ok()",
    "send": "G.Chan().send(1)",
    "iteration": "list(G.Chan())",
    "select": "G.select(G.recv(G.Chan()), G.send(G.Chan(), 1))",
    "select, timeout": "G.select(G.recv(G.Chan()), timeout=600)",
    "select, none": "G.select()",
    "sleep": "G.sleep(600)",
    "after": "G.after(600).recv()",
}


# Indented as what follows it.
ALARM = """
        import random, signal, time
        import goroutines as G
        class Alarm(Exception):
            pass
        def handler(signum, frame):
            raise Alarm
        signal.signal(signal.SIGALRM, handler)
"""


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
@pytest.mark.parametrize("how", WAITS)
def test_a_wait_is_interrupted(how, place):
    done = interrupted(
        MAY_WAKE
        + textwrap.dedent(
            f"""
            def main():
                ready()
                try:
                    {WAITS[how]}
                finally:
                    print("finally")
            {place}
            """
        )
    )
    assert done.returncode == -signal.SIGINT, told(done)
    assert done.stdout == "finally\n", told(done)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt"), told(done)
    assert "in main" in done.stderr, told(done)


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
@pytest.mark.parametrize("how", ["recv", "select", "sleep", "send"])
def test_the_interrupt_may_be_caught_where_main_waits(how, place):
    done = interrupted(
        MAY_WAKE
        + textwrap.dedent(
            f"""
            def main():
                ready()
                try:
                    {WAITS[how]}
                except KeyboardInterrupt:
                    pass
                c = G.Chan()
                G.go(c.send, "goes on")
                print(c.recv())
            {place}
            """
        )
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", ""), told(done)


def test_a_main_goroutine_that_computes_is_interrupted():
    done = interrupted(
        """
        def main():
            ready()
            try:
                while True:
                    pass
            except KeyboardInterrupt:
                return "interrupted"
        print(G.run(main))
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", ""), told(done)


def test_a_main_goroutine_that_only_yields_is_interrupted():
    done = interrupted(
        """
        def main():
            ready()
            try:
                while True:
                    G.gosched()
            except KeyboardInterrupt:
                return "interrupted"
        print(G.run(main))
        """
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), told(done)


def test_main_parked_beside_goroutines_that_compute():
    done = interrupted(
        """
        def computes():
            while True:
                pass
        def main():
            for _ in range(3):
                G.go(computes)
            ready()
            try:
                G.select()
            except KeyboardInterrupt:
                return "interrupted"
        print(G.run(main))
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", ""), told(done)


@pytest.mark.parametrize(
    "block",
    ["time.sleep(600)", "os.read(os.pipe()[0], 1)", "held.acquire()"],
)
def test_a_second_interrupt_gets_out_of_a_main_that_is_blocked_in_c(block):
    start = time.monotonic()
    done = interrupted(
        f"""
        held = threading.Lock()
        held.acquire()
        def main():
            ready()
            {block}
        G.run(main)
        """,
        pauses=(0.3, 0.7),
    )
    assert done.returncode == -signal.SIGINT, told(done)
    assert "KeyboardInterrupt" in done.stderr, told(done)
    assert time.monotonic() - start < 20


def test_cleanup_after_main_can_be_interrupted():
    done = interrupted(
        """
        def main():
            begun = G.Chan()
            def stubborn():
                try:
                    begun.send(None)
                    G.select()
                finally:
                    ready()
                    G.sleep(600)
            G.go(stubborn)
            begun.recv()
        G.run(main)
        """,
        pauses=(0.3, 0.5),
    )
    assert done.returncode == -signal.SIGINT, told(done)
    assert "KeyboardInterrupt" in done.stderr, told(done)


def test_other_goroutines_are_ended_in_order_after_an_interrupt():
    done = interrupted(
        """
        def main():
            begun = G.Chan()
            def body():
                try:
                    begun.send(None)
                    G.select()
                finally:
                    print("finally;", end="")
            for _ in range(3):
                G.go(body)
                begun.recv()
            ready()
            G.sleep(600)
        try:
            G.run(main)
        except KeyboardInterrupt:
            print("out")
        """
    )
    assert done.stdout == "finally;" * 3 + "out\n", told(done)
    assert (done.returncode, done.stderr) == (0, ""), told(done)


# ------------------------------------------------------------------ handlers


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
def test_what_a_handler_raises_again_and_again_ends_each_wait(place):
    prints(
        ALARM
        + f"""
        def main():
            for _ in range(10):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                try:
                    G.sleep(600)
                except Alarm:
                    print("raised")
        {place}
        """,
        "\n".join(["raised"] * 10),
    )


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
@pytest.mark.parametrize("how", ["recv", "select", "sleep", "send", "recv, timeout"])
def test_what_a_handler_raises_ends_the_wait(how, place):
    prints(
        f"""
        import os, signal, threading, time
        import goroutines as G
        class Alarm(Exception):
            pass
        def handler(signum, frame):
            raise Alarm(signum)
        signal.signal(signal.SIGALRM, handler)
        def main():
            {WAITS[how]}
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        try:
            {place}
        except Alarm as e:
            print("raised", e.args[0] == signal.SIGALRM)
        """,
        "raised True",
    )


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
@pytest.mark.parametrize(
    "wait",
    [
        "c.recv()",
        "c.recv(timeout=30)",
        "next(iter(c))",
        "G.select(G.recv(G.Chan()), G.recv(c)).value",
    ],
)
def test_a_handler_that_returns_leaves_the_wait_as_it_was(wait, place):
    prints(
        f"""
        import signal
        import goroutines as G
        hits = []
        signal.signal(signal.SIGALRM, lambda *args: hits.append(1))
        c = G.Chan()
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
        def sender():
            while len(hits) < 3:
                G.sleep(0.005)
            c.send("value")
        def main():
            G.go(sender)
            return {wait}
        got = {place}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(got, len(hits) >= 3)
        """,
        "value True",
    )


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
def test_a_handler_does_not_lengthen_a_timeout(place):
    prints(
        f"""
        import signal, time
        import goroutines as G
        hits = []
        signal.signal(signal.SIGALRM, lambda *args: hits.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        def main():
            start = time.monotonic()
            try:
                G.Chan().recv(timeout=0.3)
            except TimeoutError:
                return time.monotonic() - start
        took = {place}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(0.3 <= took < 20, len(hits) > 1)
        """,
        "True True",
    )


@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
def test_a_handler_may_send_to_the_one_that_waits(place):
    prints(
        f"""
        import signal
        import goroutines as G
        c = G.Chan(int, 4)
        signal.signal(signal.SIGALRM, lambda signum, frame: c.send(int(signum)))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        def main():
            return c.recv()
        print({place} == signal.SIGALRM)
        """,
        "True",
    )


def test_a_handler_runs_on_the_main_thread_while_main_computes():
    prints(
        """
        import signal, threading
        import goroutines as G
        seen = []
        def handler(signum, frame):
            seen.append(threading.get_native_id())
        signal.signal(signal.SIGALRM, handler)
        main_thread = threading.get_native_id()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        def main():
            while not seen:
                pass
        G.run(main)
        print(seen == [main_thread])
        """,
        "True",
    )


def test_a_handler_that_raises_something_else_reaches_main_while_it_computes():
    prints(
        ALARM
        + """
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        def main():
            while True:
                pass
        try:
            G.run(main)
        except Alarm:
            print("Alarm")
        """,
        "Alarm",
    )


def test_what_does_not_end_programs_waits_longer_for_a_call_in_c():
    prints(
        ALARM
        + """
        def main():
            try:
                time.sleep(1)
                G.gosched()
            except Alarm:
                print("caught")
            return "on"
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        print(G.run(main))
        """,
        "caught\non",
    )


def test_a_traced_function_is_called_after_a_wait_was_interrupted():
    """An announced exception that no bytecode takes kept Python 3.11 in that call for ever."""
    prints(
        """
        import signal, sys
        import goroutines as G
        def main():
            try:
                G.sleep(600)
            except KeyboardInterrupt:
                pass
            sys.settrace(lambda *_: None)
            print((lambda: "called")())
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        G.run(main)
        """,
        "called",
    )


def test_interrupts_lose_no_value():
    prints(
        """
        import os, signal
        import goroutines as G
        class Hit(Exception):
            pass
        def handler(signum, frame):
            raise Hit
        signal.signal(signal.SIGALRM, handler)
        got, hits = [], 0
        c = G.Chan(int)
        def feeder():
            for i in range(300):
                c.send(i)
                if i % 20 == 0:
                    os.kill(os.getpid(), signal.SIGALRM)
                    G.sleep(0.002)
            c.close()
        G.go(feeder)
        while True:
            try:
                # extend() keeps what next() gave before an exception can come between.
                got.extend(c)
                break
            except Hit:
                hits += 1
        print(got == list(range(300)), hits > 0)
        """,
        "True True",
    )


@pytest.mark.parametrize("place", ["main thread", "run"])
def test_no_signal_is_lost_as_a_wait_begins(place):
    """It may come when the waiter has looked for signals but does not sleep yet."""
    wait = "G.Chan().recv()" if place == "main thread" else "G.run(G.Chan().recv)"
    prints(
        ALARM
        + f"""
        hits, end = 0, time.monotonic() + 3
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + random.random() * 6e-5)
                {wait}
            except Alarm:
                hits += 1
        print(hits > 0)
        """,
        "True",
        timeout=15,
    )


def test_sigint_that_is_ignored_stays_ignored():
    prints(
        """
        import os, signal
        import goroutines as G
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        def main():
            os.kill(os.getpid(), signal.SIGINT)
            G.sleep(0.05)
            return "untouched"
        print(G.run(main))
        """,
        "untouched",
    )


def test_the_importer_leaves_signal_handlers_alone():
    prints(
        """
        import signal
        before = {s: signal.getsignal(s) for s in signal.valid_signals()}
        import goroutines as G
        G.run(lambda: G.sleep(0.001))
        after = {s: signal.getsignal(s) for s in signal.valid_signals()}
        print([s for s in before if before[s] != after[s]])
        """,
        "[]",
    )


def test_no_thread_that_runs_goroutines_blocks_signals():
    """A process that is started from one would inherit the mask."""
    prints(
        """
        import signal, time
        import goroutines as G
        def main():
            masks = G.Chan(int)
            def body():
                time.sleep(0.05)
                masks.send(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
            for _ in range(10):
                G.go(body)
            return {masks.recv() for _ in range(10)}
        print(G.run(main))
        """,
        "{0}",
    )


def test_sigterm_still_kills():
    done = script(
        """
        import os, signal
        import goroutines as G
        def main():
            for _ in range(100):
                G.go(G.Chan().recv)
            os.kill(os.getpid(), signal.SIGTERM)
            G.sleep(60)
        G.run(main)
        """
    )
    assert done.returncode == -signal.SIGTERM, told(done)
