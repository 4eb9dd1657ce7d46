"""patch.subprocess()."""

from helpers import script

from .waiting import FEW_THREADS

PROLOGUE = f"""
{FEW_THREADS}
import os, subprocess, sys, time
import goroutines as G
from goroutines import patch
patch.subprocess()
"""


def run(source: str, timeout: float = 60) -> None:
    done = script(PROLOGUE + source, timeout=timeout)
    assert done.returncode == 0, done.stderr


def test_a_hundred_at_once_on_few_threads() -> None:
    run(
        """
def run_one(i):
    return subprocess.run(["sh", "-c", "read x; echo $x; exit 3"], input=b"%d\\n" % i,
                          capture_output=True,
                          timeout=50)

def communicate(i):
    p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return p.communicate(b"%d\\n" % i)[0]

def wait(i):
    return subprocess.Popen(["sleep", "0.5"]).wait(50 if i % 2 else None)

def check(i):
    if i % 3 == 0:
        done = run_one(i)
        return (done.stdout, done.returncode) == (b"%d\\n" % i, 3)
    return communicate(i) == b"%d\\n" % i if i % 3 == 1 else wait(i) == 0

def main():
    over = G.Chan(capacity=100)
    for i in range(100):
        G.go(lambda i=i: over.send(check(i)))
    for _ in range(100):
        assert over.recv()
    few_threads()

G.run(main)
"""
    )


def test_timeouts() -> None:
    run(
        """
def main():
    start = time.monotonic()
    for call in [
        lambda: subprocess.run(["sleep", "30"], timeout=0.2),
        lambda: subprocess.run(["sleep", "30"], timeout=0.2, capture_output=True),
    ]:
        try:
            call()
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError
    p = subprocess.Popen(["sleep", "30"])
    try:
        p.wait(0.2)
    except subprocess.TimeoutExpired:
        p.kill()
    assert p.wait() == -9 and 0.6 <= time.monotonic() - start < 20

G.run(main)
"""
    )
