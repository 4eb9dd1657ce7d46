"""How a process ends: its exit code, its stderr and the time it takes, whatever goroutines do."""

import signal
import textwrap
import time

import pytest
from helpers import prints, script, slack, told

# Goroutines that are there when the program ends.
CROWDS = {
    "none": "",
    "parked by the thousand": """
        gate = G.Chan()
        for _ in range(3000):
            G.go(gate.recv)
        G.sleep(0.05)
        """,
    "computing": """
        def computes():
            while True:
                pass
        for _ in range(3):
            G.go(computes)
        G.sleep(0.05)
        """,
    "in time.sleep": """
        for _ in range(20):
            G.go(time.sleep, 600)
        G.sleep(0.1)
        """,
    "blocked in C": """
        r, w = os.pipe()
        held = threading.Lock()
        held.acquire()
        for _ in range(5):
            G.go(os.read, r, 1)
            G.go(held.acquire)
        G.sleep(0.1)
        """,
    "parked inside callbacks of C": """
        gate = G.Chan()
        for _ in range(50):
            G.go(sorted, [2, 1], key=lambda x: gate.recv())
        G.sleep(0.05)
        """,
    "asleep and ticking": """
        tickers = [G.Ticker(0.001) for _ in range(10)]
        for t in tickers:
            G.go(list, t.chan)
        for _ in range(100):
            G.go(G.sleep, 600)
        G.after_func(600, print, "never")
        G.sleep(0.02)
        """,
    "not begun": """
        for _ in range(1000):
            G.go(print, end="")
        """,
    "in finally": """
        def cleans_up():
            try:
                G.select()
            finally:
                G.sleep(0.01)
                G.select()
        for _ in range(20):
            G.go(cleans_up)
        G.sleep(0.02)
        """,
    "in __del__": """
        class Waits:
            def __del__(self):
                try:
                    G.select()
                except G.GoroutineExit:
                    pass
        for _ in range(20):
            G.go(lambda: [Waits() for _ in range(1)].clear())
        G.sleep(0.02)
        """,
    "in C that comes back late": """
        for i in range(20):
            G.go(lambda i=i: [time.sleep(0.05 + i * 0.02), G.Chan().recv()])
        G.sleep(0.02)
        """,
    "beside a daemon thread that waits": """
        threading.Thread(target=G.Chan().recv, daemon=True).start()
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        G.sleep(0.02)
        """,
}

# Ways to end: source, exit code, end of stderr ("" for an empty one).
ENDINGS = {
    "return": ("return", 0, ""),
    "exception": ("raise ValueError('boom')", 1, "ValueError: boom"),
    "sys.exit()": ("sys.exit()", 0, ""),
    "sys.exit(0)": ("sys.exit(0)", 0, ""),
    "sys.exit(7)": ("sys.exit(7)", 7, ""),
    "sys.exit(message)": ("sys.exit('a message')", 1, "a message"),
    "os._exit": ("os._exit(9)", 9, ""),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); G.sleep(60)", -signal.SIGTERM, ""),
    "SIGINT": (
        "os.kill(os.getpid(), signal.SIGINT); G.sleep(60)",
        -signal.SIGINT,
        "KeyboardInterrupt",
    ),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL); G.sleep(60)", -signal.SIGKILL, ""),
}

PROGRAM = """
import atexit, os, signal, sys, threading, time
import goroutines as G

signal.signal(signal.SIGINT, signal.default_int_handler)  # may be ignored in a background job

def crowd():
    pass
{crowd}

def main():
    crowd()
    os.write(1, str(time.monotonic()).encode())
    {ending}

{call}
"""


def program(crowd, ending, call):
    body = "\n".join("    " + line.removeprefix("        ") for line in crowd.splitlines())
    return PROGRAM.format(crowd=body, ending=ending, call=call)


@pytest.mark.hang(120)
@pytest.mark.parametrize("call", ["G.run(main)", "main()"], ids=["run", "main thread"])
@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize(
    "ending", ["return", "exception", "sys.exit(7)", "os._exit", "SIGTERM", "SIGINT", "SIGKILL"]
)
def test_exit(ending, crowd, call):
    """Exit code and stderr are those of plain Python, and goroutines do not make it late."""
    source, code, message = ENDINGS[ending]
    done = script(program(CROWDS[crowd], source, call), timeout=60)
    took = time.monotonic() - float(done.stdout)
    assert done.returncode == code, told(done)
    if message:
        assert done.stderr.rstrip().endswith(message), told(done)
        assert done.stderr.count("Traceback") == 1, told(done)
    else:
        assert done.stderr == "", told(done)
    # Within a second on a quiet machine; the interpreter's own end is part of it.
    assert took < slack(4), f"it took {took:.1f} s"


@pytest.mark.parametrize("call", ["G.run(main)", "main()"], ids=["run", "main thread"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending(ending, call):
    source, code, message = ENDINGS[ending]
    done = script(program(CROWDS["parked by the thousand"], source, call))
    assert done.returncode == code, told(done)
    assert done.stderr.rstrip().endswith(message) and bool(done.stderr) == bool(message), told(done)


def test_exit_as_fast_as_without_goroutines():
    """Three runs each, the fastest counts: goroutines add less than a second to the end."""

    def fastest(crowd):
        took = []
        for _ in range(3):
            start = time.monotonic()
            done = script(program(CROWDS[crowd], "return", "G.run(main)"))
            took.append(time.monotonic() - start)
            assert done.returncode == 0, told(done)
        return min(took)

    assert fastest("in time.sleep") < fastest("none") + 1.5


# ------------------------------------------------------------------ SystemExit in a goroutine


@pytest.mark.parametrize(
    ("argument", "code", "stderr"),
    [("", 0, ""), ("5", 5, ""), ("None", 0, ""), ("'why'", 1, "why\n"), ("256 + 3", 3, "")],
)
@pytest.mark.parametrize(
    "waits",
    [
        "G.Chan().recv()",
        "G.select()",
        "G.sleep(600)",
        "spin()",
        "[G.gosched() for _ in iter(int, 1)]",
    ],
)
def test_sys_exit_in_a_goroutine_ends_the_program(waits, argument, code, stderr):
    done = script(
        f"""
        import sys
        import goroutines as G
        def spin():
            while True:
                pass
        def main():
            G.go(lambda: sys.exit({argument}))
            try:
                {waits}
            finally:
                print("finally of main")
        G.run(main)
        print("not reached")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "finally of main\n", stderr), told(
        done
    )


def test_main_may_catch_the_system_exit_of_a_goroutine():
    prints(
        """
        import sys
        import goroutines as G
        def main():
            G.go(sys.exit, 5)
            try:
                G.select()
            except SystemExit as e:
                return "caught", e.code
        print(G.run(main))
        """,
        "('caught', 5)",
    )


def test_the_first_of_several_system_exits_counts():
    done = script(
        """
        import sys
        import goroutines as G
        def main():
            G.go(sys.exit, 5)
            try:
                G.select()
            finally:
                G.go(sys.exit, 6)
        G.run(main)
        """
    )
    assert (done.returncode, done.stderr) == (5, ""), told(done)


def test_system_exit_where_no_run_is_under_way_is_silent():
    prints(
        """
        import sys
        import goroutines as G
        over = G.Chan(capacity=1)
        def body():
            try:
                sys.exit(5)
            finally:
                over.send(None)
        G.go(body)
        over.recv()
        while G.num_goroutine():
            G.sleep(0.001)
        print("goes on")
        """,
        "goes on",
    )


def test_keyboard_interrupt_where_no_run_is_under_way_goes_to_the_hook():
    done = script(
        """
        import goroutines as G
        hook = G.Chan(capacity=1)
        G.excepthook = lambda args: hook.send(args.exc_type.__name__)
        def body():
            raise KeyboardInterrupt
        G.go(body)
        print(hook.recv(timeout=15))
        """
    )
    assert (done.returncode, done.stdout) == (0, "KeyboardInterrupt\n"), told(done)


def test_keyboard_interrupt_in_a_goroutine_goes_to_main():
    done = script(
        """
        import goroutines as G
        def body():
            raise KeyboardInterrupt
        def main():
            G.go(body)
            G.select()
        G.run(main)
        """
    )
    assert done.returncode == -signal.SIGINT, told(done)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt"), told(done)


# ------------------------------------------------------------------ the end of the interpreter


def test_atexit_functions_run_and_may_use_goroutines():
    prints(
        """
        import atexit
        import goroutines as G
        def at_the_end():
            def main():
                c = G.Chan()
                G.go(c.send, "from a goroutine")
                return c.recv()
            print("atexit", G.run(main))
        atexit.register(at_the_end)
        def main():
            for _ in range(100):
                G.go(G.Chan().recv)
        G.run(main)
        for _ in range(100):
            G.go(G.Chan().recv)
        """,
        "atexit from a goroutine",
    )


@pytest.mark.parametrize("crowd", ["none", "parked by the thousand", "in time.sleep", "computing"])
def test_exit_handlers_that_use_channels(crowd):
    """Those registered after the import have goroutines. Those registered before it run when
    goroutines have stopped, and are told so rather than left waiting."""
    early = """
        import atexit
        def early():
            try:
                G.go(int)
            except RuntimeError as e:
                print("early:", e)
            c = G.Chan(capacity=1)
            c.send("a buffer works")
            print(c.recv())
            try:
                G.Chan().recv(timeout=0.05)
            except TimeoutError:
                print("a timeout works")
        atexit.register(early)
        """
    late = """
    def late():
        c = G.Chan()
        G.go(c.send, "late")
        print(c.recv(), G.select(G.recv(G.after(0.01))).ok)
    crowd()
    atexit.register(late)
    """
    done = script(textwrap.dedent(early) + program(CROWDS[crowd], "", textwrap.dedent(late)))
    assert done.stdout.splitlines() == [
        "late True",
        "early: cannot start a goroutine: the interpreter is shutting down",
        "a buffer works",
        "a timeout works",
    ], told(done)
    assert (done.returncode, done.stderr) == (0, ""), told(done)


def test_output_is_flushed_whatever_goroutines_do():
    done = script(
        """
        import sys, time
        import goroutines as G
        for _ in range(5):
            G.go(time.sleep, 600)
        sys.stdout.write("no newline")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "no newline", ""), told(done)


def test_objects_that_goroutines_hold_at_exit_are_harmless():
    prints(
        """
        import goroutines as G
        class Noisy:
            def __del__(self):
                G.num_goroutine()
                G.Chan(int, 1).send(1)
        kept = Noisy()
        gate = G.Chan()
        def body():
            mine = [Noisy(), gate]
            gate.recv()
            del mine
        for _ in range(100):
            G.go(body)
        G.sleep(0.02)
        print("end")
        """,
        "end",
    )


def test_a_thread_state_is_not_touched_after_the_end():
    """C calls that come back while the interpreter is being taken down."""
    for delay in (0.01, 0.03, 0.06, 0.1):
        done = script(
            f"""
            import time
            import goroutines as G
            for i in range(40):
                G.go(time.sleep, {delay} + i * 0.0005)
            G.sleep({delay})
            """
        )
        assert (done.returncode, done.stderr) == (0, ""), told(done)


def test_exit_while_goroutines_start_goroutines():
    for _ in range(3):
        done = script(
            """
            import goroutines as G
            def spawner():
                while True:
                    G.go(int)
                    G.gosched()
            def main():
                for _ in range(5):
                    G.go(spawner)
                G.sleep(0.02)
            G.run(main)
            """
        )
        assert (done.returncode, done.stderr) == (0, ""), told(done)


def test_sys_exit_from_a_foreign_thread_ends_only_the_thread():
    prints(
        """
        import sys, threading
        import goroutines as G
        def main():
            c = G.Chan()
            def body():
                c.send("before")
                sys.exit(5)
            t = threading.Thread(target=body)
            t.start()
            got = c.recv()
            t.join()
            return got
        print(G.run(main))
        """,
        "before",
    )


def test_no_goroutine_runs_after_run_has_returned():
    prints(
        """
        import time
        import goroutines as G
        counter = 0
        def counts():
            global counter
            while True:
                counter += 1
                G.gosched()
        def main():
            for _ in range(4):
                G.go(counts)
            G.sleep(0.02)
        G.run(main)
        seen = counter
        time.sleep(0.05)
        print(counter == seen, seen > 0)
        """,
        "True True",
    )


def test_import_alone_starts_and_prints_nothing():
    prints(
        """
        import os
        before = len(os.listdir("/proc/self/task"))
        import goroutines
        print(len(os.listdir("/proc/self/task")) - before <= 1)
        """,
        "True",
    )
