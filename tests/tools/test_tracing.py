"""Tracers, profilers and coverage see goroutines.

The rule: a goroutine is traced as a thread would be that was started in its place
(`threading.settrace`, `setprofile`), `sys.settrace` is its own, and tools that trace the process
see its body.
"""

import sys
from pathlib import Path

import pytest
from helpers import needs, prints, script, told

from .support import command


def test_threading_settrace_and_setprofile_reach_goroutines() -> None:
    """Guards install_hooks() in goroutine.c."""
    prints(
        """
        import sys, threading
        import goroutines as G
        traced, profiled = set(), set()
        def tracer(frame, event, arg):
            traced.add(frame.f_code.co_name)
            return tracer
        def profiler(frame, event, arg):
            profiled.add(frame.f_code.co_name)
        def main():
            over = G.Chan()
            def is_traced():
                G.sleep(0.001)
                over.send(None)
            threading.settrace(tracer)
            threading.setprofile(profiler)
            G.go(is_traced)
            over.recv()
            threading.settrace(None)
            threading.setprofile(None)
        G.run(main)
        print("is_traced" in traced, "is_traced" in profiled)
        """,
        "True True",
    )


def test_sys_settrace_is_the_goroutines_own() -> None:
    """Guards the thread state that each goroutine has."""
    prints(
        """
        import sys
        import goroutines as G
        seen = []
        def tracer(frame, event, arg):
            seen.append(frame.f_code.co_name)
            return tracer
        def traced():
            G.sleep(0.002)
        def not_traced():
            G.sleep(0.001)
        def main():
            over = G.Chan()
            def one():
                sys.settrace(tracer)
                traced()
                sys.settrace(None)
                over.send(None)
            def other():
                for _ in range(5):
                    not_traced()
                over.send(None)
            G.go(one)
            G.go(other)
            over.recv()
            over.recv()
        G.run(main)
        print("traced" in seen, "not_traced" in seen)
        """,
        "True False",
    )


@pytest.mark.parametrize("hook", ["settrace", "setprofile"])
def test_a_hook_that_was_left_on_does_not_reach_the_next_goroutine(hook: str) -> None:
    """Guards compat_is_clean(): a thread state with a hook is not used again."""
    prints(
        f"""
        import sys
        import goroutines as G
        seen = []
        def leaves_it_on():
            sys.{hook}(lambda frame, event, arg: seen.append(frame.f_code.co_name))
        def next_one(out):
            out.send(None)
        def main():
            out = G.Chan()
            for _ in range(50):
                G.go(leaves_it_on)
                G.sleep(0)
                G.go(next_one, out)
                out.recv()
        G.run(main)
        print("next_one" in seen)
        """,
        "False",
    )


def test_each_line_of_a_goroutine_is_traced_over_its_parks() -> None:
    """Guards that a trace function stays on across switches, with another one in between."""
    prints(
        """
        import sys
        import goroutines as G
        lines = {"a": [], "b": []}
        def work(name, c):
            x = 1
            c.recv()
            G.gosched()
            G.sleep(0.001)
            x = 2
            return x
        def body(name, c, out):
            first = work.__code__.co_firstlineno
            def tracer(frame, event, arg):
                if frame.f_code is work.__code__ and event == "line":
                    lines[name].append(frame.f_lineno - first)
                return tracer
            sys.settrace(tracer)
            work(name, c)
            sys.settrace(None)
            out.send(None)
        def main():
            c, out = G.Chan(), G.Chan()
            G.go(body, "a", c, out)
            G.go(body, "b", c, out)
            c.send(1)
            c.send(1)
            out.recv()
            out.recv()
            return lines["a"] == lines["b"] == [1, 2, 3, 4, 5, 6]
        print(G.run(main))
        """,
        "True",
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_sys_monitoring_sees_goroutines() -> None:
    """Its events are the process's: a goroutine that began before, and one that begins after."""
    prints(
        """
        import sys
        import goroutines as G
        events, seen = sys.monitoring.events, set()
        def early(c):
            c.recv()
            return marked()
        def marked():
            return 1
        def late(out):
            out.send(None)
        def main():
            c, out = G.Chan(), G.Chan()
            G.go(early, c)
            G.gosched()
            sys.monitoring.use_tool_id(3, "test")
            sys.monitoring.register_callback(
                3, events.PY_START, lambda code, offset: seen.add(code.co_name))
            sys.monitoring.set_events(3, events.PY_START)
            G.go(late, out)
            c.send(None)
            out.recv()
            G.sleep(0.01)
            sys.monitoring.set_events(3, 0)
            return sorted(seen & {"marked", "late"})
        print(G.run(main))
        """,
        "['late', 'marked']",
    )


PROGRAM = """\
import goroutines as G


def covered(out, c):
    x = c.recv()
    G.sleep(0.001)
    if x:
        out.send(x + 1)
    else:
        out.send("not covered")


def main():
    out, c = G.Chan(), G.Chan()
    for _ in range(3):
        G.go(covered, out, c)
        c.send(1)
        out.recv()


G.run(main)
"""


@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"])
def test_an_unconfigured_coverage_run_covers_goroutines(core: str, tmp_path: Path) -> None:
    """Guards install_hooks(): without it the whole body counts as missed by ctrace and pytrace."""
    needs("coverage")
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in 3.12")
    (tmp_path / "program.py").write_text(PROGRAM)
    env = {"COVERAGE_CORE": core}
    done = command("-m", "coverage", "run", "program.py", cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (0, ""), told(done)
    done = command("-m", "coverage", "report", "-m", cwd=tmp_path, env=env)
    line = next(line for line in done.stdout.splitlines() if line.startswith("program.py"))
    assert line.split() == ["program.py", "14", "1", "93%", "10"], told(done)


def test_a_goroutine_profiles_itself() -> None:
    """cProfile, one goroutine after another; what others do meanwhile does not get in on 3.11."""
    prints(
        """
        import cProfile, pstats, sys
        import goroutines as G
        def busy(n):
            return sum(len(str(i)) for i in range(n))
        def own(out):
            profile = cProfile.Profile()
            profile.enable()
            for _ in range(3):
                busy(1000)
            profile.disable()
            out.send({key[2]: row[0] for key, row in pstats.Stats(profile).stats.items()})
        def main():
            out = G.Chan()
            for _ in range(3):
                G.go(own, out)
                print(out.recv()["busy"])
        G.run(main)
        """,
        "3\n3\n3",
    )


def test_two_goroutines_profile_at_once() -> None:
    """From 3.12 on there is one active cProfile in a process: a ValueError, not a crash."""
    done = script(
        """
        import cProfile
        import goroutines as G
        def own(gate, out):
            profile = cProfile.Profile()
            try:
                profile.enable()
            except ValueError as error:
                out.send("ValueError")
            else:
                out.send("profiles")
                gate.recv_ok()
                profile.disable()
        def main():
            gate, out = G.Chan(), G.Chan()
            for _ in range(2):
                G.go(own, gate, out)
            print(out.recv(), out.recv())
            gate.close()
            G.sleep(0.01)
        G.run(main)
        """
    )
    expected = "profiles profiles" if sys.version_info < (3, 12) else "profiles ValueError"
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, expected, ""), told(done)


def test_cprofile_of_a_whole_program(tmp_path: Path) -> None:
    """From 3.12 on it counts the calls of all goroutines, on 3.11 those of the main thread only."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = command("-m", "cProfile", "program.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), told(done)
    calls = [line.split()[0] for line in done.stdout.splitlines() if "(covered)" in line]
    assert calls == ([] if sys.version_info < (3, 12) else ["3"]), told(done)
