"""For programs in which goroutines wait for descriptors."""

HELPERS = """
import time
import goroutines as G
from goroutines import debug

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
