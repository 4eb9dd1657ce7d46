"""Signals that come by the thousand, wakeup descriptors, and handlers of SIGSEGV that chain."""

import signal

import pytest
from helpers import prints, script, told


@pytest.mark.hang(120)
@pytest.mark.parametrize("place", ["main()", "G.run(main)"], ids=["main thread", "run"])
def test_a_storm_of_signals_while_goroutines_switch(place: str):
    """Handlers run on the main thread only, send on channels, and no value is lost, whatever
    the signal interrupts: a switch, a native wait, a blocking call, a timer."""
    prints(
        f"""
        import os, signal, threading, time
        import goroutines as G

        handled, out = [], G.Chan(int)
        ticks = G.Chan(int, 1_000_000)

        def handler(signum, frame):
            assert threading.current_thread() is threading.main_thread()
            handled.append(signum)
            ticks.send(signum)

        for s in (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
            signal.signal(s, handler)

        def worker(i):
            for k in range(100):
                out.send(k)
                if k % 25 == 0:
                    time.sleep(0.001)
                G.select(G.recv(G.after(0.0005)))

        stop = []

        def storm():
            while not stop:
                for s in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
                    os.kill(os.getpid(), s)
                G.sleep(0.0005)

        def main():
            for i in range(20):
                G.go(worker, i)
            G.go(storm)
            got = sum(out.recv(timeout=60) for _ in range(2000))
            stop.append(1)
            return got

        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        got = {place}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(got, len(handled) > 50, len(ticks) == len(handled))
        """,
        "99000 True True",
        timeout=90,
    )


@pytest.mark.parametrize("end", ["return 'lost'", "raise ValueError"])
def test_main_ends_while_a_handler_runs(end: str):
    """What the handler raises comes out of run(). It stayed set as run() went on: SystemError."""
    prints(
        f"""
        import signal, time
        import goroutines as G

        class Alarm(Exception):
            pass

        def handler(signum, frame):
            began.append(1)
            time.sleep(0.3)
            raise Alarm

        began = []
        signal.signal(signal.SIGALRM, handler)

        def main():
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            while not began:
                G.sleep(0.01)
            G.go(G.select)
            {end}

        try:
            print(G.run(main))
        except Alarm as e:
            print("Alarm", G.num_goroutine(), G.run(lambda: "again"))
        """,
        "Alarm 0 again",
    )


def test_a_wakeup_descriptor():
    """signal.set_wakeup_fd: a byte comes for each signal, and a goroutine may wait for it."""
    prints(
        """
        import os, signal
        import goroutines as G

        r, w = os.pipe()
        os.set_blocking(w, False)
        signal.signal(signal.SIGUSR1, lambda *args: None)
        signal.set_wakeup_fd(w)

        def main():
            got = G.Chan(bytes)
            def reads():
                for _ in range(5):
                    got.send(os.read(r, 1))
            G.go(reads)
            total = []
            for _ in range(5):
                os.kill(os.getpid(), signal.SIGUSR1)
                total.append(got.recv())
            return total

        print(G.run(main) == [bytes([signal.SIGUSR1])] * 5)
        """,
        "True",
    )


def test_faulthandler_register():
    """Dumps on a signal, while goroutines switch, and the program goes on."""
    done = script(
        """
        import faulthandler, os, signal
        import goroutines as G

        faulthandler.register(signal.SIGUSR1, all_threads=False)

        def pings(a, b):
            for v in a:
                b.send(v + 1)

        def main():
            a, b = G.Chan(int), G.Chan(int)
            G.go(pings, a, b)
            for i in range(300):
                a.send(i)
                assert b.recv() == i + 1
                if i % 10 == 0:
                    os.kill(os.getpid(), signal.SIGUSR1)
            return "over"

        print(G.run(main))
        """
    )
    assert (done.returncode, done.stdout) == (0, "over\n"), told(done)
    assert "most recent call first" in done.stderr, told(done)


def test_sysmon_takes_no_signals():
    """Where a handler finds no thread state. The threads that it starts take them."""
    prints(
        """
        import re, signal, subprocess, time
        from pathlib import Path
        import goroutines as G

        def blocked(status):
            mask = int(re.search(r"SigBlk:\\t(\\w+)", status)[1], 16)
            return [s.name for s in (signal.SIGINT, signal.SIGUSR1, signal.SIGSEGV)
                    if mask >> s.value - 1 & 1]

        def main():
            for _ in range(5):
                G.go(time.sleep, 0.1)
            time.sleep(0.05)
            statuses = [p.read_text() for p in Path("/proc/self/task").glob("*/status")]
            sysmon, = [s for s in statuses if s.startswith("Name:\\tsysmon\\n")]
            others = [blocked(s) for s in statuses if s != sysmon and blocked(s)]
            print(len(statuses) > 5, blocked(sysmon), others)
            child = ["cat", "/proc/self/status"]
            print(blocked(subprocess.run(child, capture_output=True, text=True, check=True).stdout))

        G.run(main)
        """,
        "True ['SIGINT', 'SIGUSR1'] []\n[]",
    )


@pytest.mark.parametrize("when", ["before the import", "after the import"])
@pytest.mark.parametrize("where", ["goroutine", "main thread"])
def test_faulthandler_reports_a_segmentation_fault(where: str, when: str):
    """Enabled before us or after: the traceback is there, and the process dies of SIGSEGV."""
    enable = "faulthandler.enable()"
    done = script(
        f"""
        import ctypes, faulthandler, resource, sys
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()
        {enable if when.startswith("before") else ""}
        import goroutines as G
        {enable if when.startswith("after") else ""}

        def crashes_here():
            ctypes.string_at(8)

        def main():
            G.go(crashes_here)
            G.sleep(10)

        {"G.run(main)" if where == "goroutine" else "crashes_here()"}
        """
    )
    assert done.returncode == -signal.SIGSEGV, told(done)
    assert "Segmentation fault" in done.stderr and "in crashes_here" in done.stderr, told(done)


HANDLER_IN_C = """
import ctypes, os, resource, signal, sys, tempfile
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import faulthandler
faulthandler.disable()

libc = ctypes.CDLL(None)

def install_c_handler():
    # _exit(11 & 0xff): with the number of the signal as its argument
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal.restype = ctypes.c_void_p
    return libc.signal(signal.SIGSEGV, ctypes.cast(libc._exit, ctypes.c_void_p))
"""


@pytest.mark.parametrize("when", ["before the import", "after the import"])
def test_a_handler_in_c(when: str):
    """One that was there before is called by ours; one that came later takes our place."""
    before, after = ("install_c_handler()", "") if when.startswith("before") else ("", None)
    done = script(
        HANDLER_IN_C
        + f"{before}\n"
        + "import goroutines as G\n"
        + ("assert install_c_handler()  # ours\n" if after is None else "")
        + "def main():\n    G.go(ctypes.string_at, 8)\n    G.sleep(10)\nG.run(main)\n"
    )
    assert done.returncode == signal.SIGSEGV, told(done)


@pytest.mark.parametrize("order", ["c, faulthandler, goroutines", "c, goroutines, faulthandler"])
def test_a_chain_of_three(order: str):
    """faulthandler reports, then the handler in C has the last word."""
    steps = {
        "c": "install_c_handler()",
        "faulthandler": "faulthandler.enable()",
        "goroutines": "import goroutines as G",
    }
    done = script(
        HANDLER_IN_C
        + "\n".join(steps[name] for name in order.split(", "))
        + "\ndef main():\n    G.go(ctypes.string_at, 8)\n    G.sleep(10)\nG.run(main)\n"
    )
    assert done.returncode == signal.SIGSEGV, told(done)
    assert "Segmentation fault" in done.stderr, told(done)
