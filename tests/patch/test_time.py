"""patch.time()."""

from helpers import script, slack


def run(source: str) -> str:
    done = script("import goroutines as G\nfrom goroutines import patch\n" + source)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sleep_parks_however_it_is_reached():
    out = run(
        f"""
import functools, os, time
from time import sleep

class Kept:
    sleep = staticmethod(time.sleep)

calls = [sleep, time.sleep, Kept.sleep, {{"k": sleep}}["k"], functools.partial(sleep)]
patch.time()

def main():
    done = G.Chan(capacity=1000)
    start = time.monotonic()
    for i in range(500):
        call = calls[i % len(calls)]
        G.go(lambda call=call: done.send(call(0.2)))
    G.sleep(0.1)
    threads = len(os.listdir("/proc/self/task"))
    for _ in range(500):
        assert done.recv() is None
    took = time.monotonic() - start
    assert took < {slack(3)}, took
    assert threads < 20, threads

G.run(main)
print("ok")
"""
    )
    assert out == "ok\n"


def test_errors_and_numbers_are_those_of_the_original():
    run(
        """
import time
from decimal import Decimal
from fractions import Fraction

class Index:
    def __index__(self):
        return 0

arguments = [-1, -0.5, float("nan"), float("inf"), 1e30, 10**30, "1", None, [], 0, 0.0, True, 1e-9,
             Index(), Decimal("0.001"), Fraction(1, 1000)]

def outcomes():
    seen = []
    for argument in arguments:
        try:
            seen.append(time.sleep(argument))
        except Exception as exc:
            seen.append((type(exc), str(exc)))
    for wrong in ((), (1, 2)):
        try:
            time.sleep(*wrong)
        except TypeError as exc:
            seen.append(str(exc))
    return seen

before = outcomes()
patch.time()
assert G.run(outcomes) == before == outcomes()
"""
    )


def test_sleep_audits():
    out = run(
        """
import sys, time
seen = []
sys.addaudithook(lambda event, args: seen.append(args) if event == "time.sleep" else None)
patch.time()
G.run(time.sleep, 0.001)
print(seen)
"""
    )
    assert out == "[(0.001,)]\n"
