"""Debuggers and dumps: pdb, faulthandler, sys._current_frames, py-spy, gdb.

The rule: they show a goroutine's own frames, and looking does not disturb anybody.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import prints, script, slack, told

from .support import PY, command

PDB = """\
import goroutines as G


def inner(value):
    breakpoint()
    return value + 1


def main():
    out = G.Chan()
    G.go(lambda: out.send(inner(41)))
    return out.recv()


print(G.run(main))
"""


def test_pdb_in_a_goroutine(tmp_path: Path) -> None:
    """breakpoint() shows the goroutine's frames and values, and lets it go on."""
    (tmp_path / "program.py").write_text(PDB)
    done = command("program.py", cwd=tmp_path, input="p value * 10\nw\nup\np out.capacity\nc\n")
    assert (done.returncode, done.stderr) == (0, ""), told(done)
    assert "410" in done.stdout, told(done)
    where = done.stdout[done.stdout.index("410") :]
    assert "<lambda>()" in where and "inner()" in where and "main()" not in where, told(done)
    assert done.stdout.endswith("42\n"), told(done)


def test_pdb_of_a_whole_program(tmp_path: Path) -> None:
    """python -m pdb traces the main thread: `b` counts in goroutines as it does in threads."""
    (tmp_path / "program.py").write_text(PDB.replace("    breakpoint()\n", ""))
    threads = PDB.replace("    breakpoint()\n", "").replace(
        "G.go(lambda: out.send(inner(41)))",
        "__import__('threading').Thread(target=lambda: out.send(inner(41))).start()",
    )
    (tmp_path / "threads.py").write_text(threads)
    commands = "b 5\nc\np value * 10\nc\nq\n"
    stops = []
    for name in ("program.py", "threads.py"):
        done = command("-m", "pdb", name, cwd=tmp_path, input=commands)
        assert "42" in done.stdout, told(done)
        stops.append("410" in done.stdout)
    assert stops[0] == stops[1], told(done)


def test_post_mortem_of_a_goroutine() -> None:
    """What excepthook gets is good for pdb.post_mortem."""
    done = script(
        """
        import pdb
        import goroutines as G
        def fails(x):
            return 1 / x
        def main():
            G.excepthook = lambda args: pdb.post_mortem(args.exc_traceback)
            G.go(fails, 0)
            G.sleep(0.1)
        G.run(main)
        """,
        input="p f'x is {x}'\nq\n",
    )
    assert done.returncode == 0 and "'x is 0'" in done.stdout, told(done)


def test_current_frames_has_every_goroutine() -> None:
    """By an id of its own, with all its frames."""
    prints(
        """
        import sys
        import goroutines as G
        def parks(c):
            c.recv_ok()
        def outer(c, ready):
            ready.send(None)
            parks(c)
        def names(frame):
            while frame:
                yield frame.f_code.co_name
                frame = frame.f_back
        def main():
            c, ready = G.Chan(), G.Chan()
            for _ in range(150):
                G.go(outer, c, ready)
                ready.recv()
            while G.debug.stats().runnable != (0,) * len(G.debug.stats().runnable):
                G.sleep(0.001)
            all_names = [tuple(names(f)) for f in sys._current_frames().values()]
            c.close()
            return all_names.count(("parks", "outer"))
        import goroutines.debug
        print(G.run(main))
        """,
        "150",
    )


def test_faulthandler_shows_goroutines() -> None:
    done = script(
        """
        import faulthandler, sys, time
        import goroutines as G
        started = []
        def the_parked(c):
            started.append(None)
            c.recv_ok()
        def main() -> None:
            c = G.Chan()
            for _ in range(200):
                G.go(the_parked, c)
            while len(started) < 200:
                G.sleep(0.01)
            G.go(time.sleep, 0.3)
            G.sleep(0.05)
            for _ in range(3):
                faulthandler.dump_traceback(file=sys.stdout, all_threads=True)
            faulthandler.dump_traceback(file=sys.stdout, all_threads=False)
            c.close()
            G.sleep(0.01)
        G.run(main)
        faulthandler.dump_traceback(file=sys.stdout, all_threads=True)
        """
    )
    assert (done.returncode, done.stderr) == (0, ""), told(done)
    assert "in the_parked" in done.stdout and "in main" in done.stdout


def test_faulthandler_while_everybody_switches() -> None:
    # With the GIL held. Its watchdog dumps without, and may read what is just being freed: also in
    # plain Python, when it meets a thread that ends.
    done = script(
        """
        import faulthandler, threading, time
        import goroutines as G
        over = threading.Event()
        def dump() -> None:
            with open("/dev/null", "w") as file:
                while not over.wait(0.002):
                    faulthandler.dump_traceback(file, all_threads=True)
        threading.Thread(target=dump).start()
        def main() -> None:
            c = G.Chan()
            for _ in range(20):
                G.go(lambda: [c.send(i) for i in range(2000)])
            return sum(c.recv() for _ in range(40000))
        try:
            print(G.run(main) == 20 * 1999 * 1000)
        finally:
            over.set()
        """
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), told(done)


def test_a_fatal_signal_still_dumps() -> None:
    done = script(
        """
        import faulthandler, ctypes
        faulthandler.enable()
        import goroutines as G
        def the_culprit() -> None:
            ctypes.string_at(0)
        def main() -> None:
            G.go(the_culprit)
            G.sleep(5)
        G.run(main)
        """
    )
    assert done.returncode < 0, told(done)
    assert "the_culprit" in done.stderr, told(done)


def test_faulthandler_stops_at_a_hundred() -> None:
    """Its own limit; debug.stacks() has everybody."""
    done = script(
        """
        import faulthandler, sys
        import goroutines as G
        from goroutines import debug
        def parks(c):
            c.recv_ok()
        def main():
            c = G.Chan()
            for _ in range(300):
                G.go(parks, c)
            G.sleep(0.1)
            print(debug.stacks().count("in parks\\n"))
            sys.stdout.flush()
            faulthandler.dump_traceback(file=sys.stdout, all_threads=True)
            sys.stdout.flush()
            c.close()
        G.run(main)
        """
    )
    assert (done.returncode, done.stderr) == (0, ""), told(done)
    everybody, _, dump = done.stdout.partition("\n")
    assert everybody == "300", told(done)
    assert 50 <= dump.count("in parks") <= 100, told(done)
    assert "..." in dump, told(done)


@pytest.mark.parametrize("where", ["goroutine", "parked in a callback"])
def test_dump_traceback_later(where: str) -> None:
    """The watchdog's thread dumps goroutines and does not disturb them."""
    parks = (
        "c.recv(timeout=3)"
        if where == "goroutine"
        else "sorted([1], key=lambda _: c.recv(timeout=3))"
    )
    done = script(
        f"""
        import faulthandler
        import goroutines as G
        def parks(c):
            try:
                {parks}
            except TimeoutError:
                pass
        def main():
            c = G.Chan()
            for _ in range(20):
                G.go(parks, c)
            faulthandler.dump_traceback_later(0.2)
            G.sleep(1)
            for _ in range(20):
                c.send(1)
            return "fine"
        print(G.run(main))
        """
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), told(done)
    assert "in parks" in done.stderr, told(done)


LIVE = """
import time
import goroutines as G
def parked_one(c):
    c.recv_ok()
def blocked_one():
    time.sleep(100)
def main():
    for _ in range(5):
        G.go(parked_one, G.Chan())
    G.go(blocked_one)
    G.sleep(0.2)
    print("ready", flush=True)
    G.sleep(100)
G.run(main)
"""


def live(command: list[str]) -> str:
    """What a tool says of a live process with goroutines; its last argument is the process's id."""
    with subprocess.Popen(
        [sys.executable, "-c", LIVE], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            done = subprocess.run(
                [*command, str(process.pid)], capture_output=True, text=True, timeout=slack(40)
            )
            time.sleep(0.1)
            assert process.poll() is None, "the tool has ended the process"
        finally:
            process.kill()
    if done.returncode != 0 or "ptrace" in done.stderr:
        pytest.skip(f"{command[0]} cannot look at a process here: {done.stderr[-300:]}")
    return done.stdout


def test_gdb_shows_threads() -> None:
    """Those blocked in C are on theirs; the unwinder comes to an end on a goroutine's stack."""
    if not shutil.which("gdb"):
        pytest.skip("gdb is not installed")
    out = live(["gdb", "-q", "-batch", "-nx", "-ex", "set debuginfod enabled off",
                "-ex", "thread apply all bt 40", "-p"])  # fmt: skip
    assert "goroutine_entry" in out and "nanosleep" in out, out
    assert "corrupt stack" not in out, out
    assert out.count("goroutine_entry") == 1, "a parked goroutine is on no thread\n" + out


def test_py_spy_shows_goroutines() -> None:
    """It goes through the thread states, thus finds the parked ones, too."""
    py_spy = Path(sys.executable).parent / "py-spy"
    if not py_spy.exists():
        pytest.skip("py-spy is not installed")
    if PY > (3, 13):
        pytest.skip("py-spy 0.4 does not read Python 3.14 and later")
    out = live([str(py_spy), "dump", "--pid"])
    assert out.count("    parked_one (") == 5 and "    blocked_one (" in out, out
