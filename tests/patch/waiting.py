"""For programs in which goroutines wait for descriptors."""

FEW_THREADS = """
from goroutines import debug

def few_threads(before=0):
    '''For 60 waiting calls and more. Each would keep a thread if it blocked. Of calls that park,
    those on their way through the system at one time have a thread: up to 20 on a busy machine.'''
    assert debug.stats().threads - before < 40, debug.stats()
"""

HELPERS = f"""
{FEW_THREADS}
import time
import goroutines as G

def outcome(fn):
    try:
        return fn()
    except Exception as exc:
        return type(exc), str(exc)

def parked(n):
    end = time.monotonic() + 20
    while debug.stacks().count("[" "IO wait") < n:  # and not this line
        assert time.monotonic() < end, debug.stacks()
        G.sleep(0.005)

def started(fn, *args):
    done = G.Chan(capacity=1)
    G.go(lambda: done.send(outcome(lambda: fn(*args))))
    return done
"""
