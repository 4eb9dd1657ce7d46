"""queue, in goroutines and threads at once."""

import pytest
from helpers import script

PROLOGUE = """
import os, queue, sys, threading, time
import goroutines as G
from goroutines import patch
early = queue.SimpleQueue()
early_get = early.get
start_os_thread = patch.original("_thread", "start_new_thread")
patch.all()
"""


def run(source: str, *args: str, **env: str) -> str:
    done = script(PROLOGUE + source, args=args, env=env, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_get_parks():
    run(
        """
def main():
    done = G.Chan(capacity=200)
    for q, get in ((early, early_get), (queue.Queue(), None), (queue.LifoQueue(), None)):
        get = get or q.get
        for _ in range(100):
            G.go(lambda: done.send(get()))
        G.sleep(0.1)
        assert len(os.listdir("/proc/self/task")) < 20
        for i in range(100):
            q.put(i)
        assert sorted(done.recv() for _ in range(100)) == list(range(100))

G.run(main)
"""
    )


def test_arguments_of_get_are_as_before():
    run(
        """
def calls():
    seen = []
    for args, kwargs in [((False,), {}), ((True, 0.01), {}), ((), {"timeout": 0.01}),
                         ((True, 0), {}),
                         ((True, -1), {}), ((), {"timeout": "1"}), ((1, 2, 3), {}),
                         ((False, -1), {}),
                         ((), {"block": False}), ((), {"wait": 1})]:
        try:
            seen.append(queue.SimpleQueue().get(*args, **kwargs))
        except Exception as exc:
            seen.append((type(exc), str(exc)))
    return seen

before = calls()
assert G.run(calls) == before
assert before[1][0] is queue.Empty
"""
    )


def test_a_second_copy_of_the_module():
    """Its types have their own Empty and the same methods."""
    run(
        """
import importlib.util
spec = importlib.util.find_spec("_queue")
again = importlib.util.module_from_spec(spec)
spec.loader.exec_module(again)

def main():
    q = again.SimpleQueue()
    for kwargs in ({"block": False}, {"timeout": 0.01}):
        try:
            q.get(**kwargs)
        except again.Empty:
            pass
    G.after_func(0.05, q.put, 1)
    assert q.get() == 1

G.run(main)
"""
    )


STRESS = """
sys.setswitchinterval(1e-5)

def main():
    for round in range(int(sys.argv[1])):
        q, got, over = queue.SimpleQueue(), [], G.Chan(capacity=20)
        def produce(k):
            for i in range(50):
                q.put(k * 50 + i)
                if i % 7 == 0:
                    time.sleep(0)
        def consume(k):
            while True:
                try:
                    item = q.get(timeout=0.001) if k % 2 else q.get()
                except queue.Empty:
                    continue
                if item is None:
                    break
                got.append(item)
            over.send(1)
        for k in range(3):
            start_os_thread(consume, (k,))
            G.go(consume, k)
        for k in range(2):
            start_os_thread(produce, (k,))
            G.go(produce, 2 + k)
        while len(got) < 200:
            G.sleep(0.001)
        for _ in range(6):
            q.put(None)
        for _ in range(6):
            over.recv(timeout=60)
        assert sorted(got) == list(range(200))

G.run(main)
print("ok")
"""


@pytest.mark.hang(150)
@pytest.mark.parametrize("procs", ["1", "2", "4", "8"])
def test_queues_shared_by_threads_and_goroutines(procs):
    assert run(STRESS, "20", GOMAXPROCS=procs) == "ok\n"
