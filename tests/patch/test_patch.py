"""On, off, original, is_patched; and that it does not matter when."""

import pytest
from goroutines import patch
from helpers import script

BUILT = ("time", "socket", "ssl", "threading", "signal", "sqlite3")


def run(source: str, **kwargs: object) -> str:
    """The output of a program that must end well."""
    done = script(source, **kwargs)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_unknown_names():
    with pytest.raises(ValueError):
        patch.is_patched("sockets")
    with pytest.raises(AttributeError):
        patch.original("time", "no such thing")


def test_each_part_alone_and_undone():
    out = run(
        f"""
        from goroutines import patch
        for name in {BUILT}:
            assert not patch.is_patched(name)
            getattr(patch, name)()
            getattr(patch, name)()
            print([n for n in {BUILT} if patch.is_patched(n)])
            patch.undo()
        patch.threading()
        print(patch.is_patched("queue"))
        patch.undo()
        print(any(patch.is_patched(n) for n in {BUILT}))
        """
    )
    assert out.splitlines() == [str([name]) for name in BUILT] + ["True", "False"]


def test_undo_is_exact():
    """Every definition, slot and attribute of the modules is what it was."""
    run(
        """
        import _io, _queue, _signal, _sqlite3, _thread, ctypes, posix, sys
        import queue, signal, sqlite3, threading, time

        class Def(ctypes.Structure):
            _fields_ = [("name", ctypes.c_char_p), ("meth", ctypes.c_void_p)]

        def pointer(o):
            # m_ml of a function; d_method of a method descriptor
            at = {"builtin_function_or_method": 16, "method_descriptor": 40}.get(type(o).__name__)
            if at is None:
                return None
            return ctypes.cast(id(o) + at, ctypes.POINTER(ctypes.POINTER(Def)))[0][0].meth

        def snapshot():
            seen = {}
            for module in (_io, _queue, _signal, _sqlite3, _thread, posix, queue, signal, sqlite3,
                           threading, time):
                for name, value in vars(module).items():
                    seen[module.__name__, name] = (id(value), pointer(value))
                    if isinstance(value, type):
                        for attr, member in vars(value).items():
                            seen[module.__name__, name, attr] = (id(member), pointer(member))
            tp_init = ctypes.c_void_p.from_address(id(sqlite3.Connection) + 296).value
            d_wrapped = ctypes.c_void_p.from_address(id(sqlite3.Connection.__init__) + 48).value
            seen["slots"] = tp_init, d_wrapped
            for file in _io.BufferedReader, _io.BufferedRandom:
                tp_iternext = ctypes.c_void_p.from_address(id(file) + 224).value
                d_wrapped = ctypes.c_void_p.from_address(id(file.__next__) + 48).value
                seen[file.__name__, "slots"] = tp_iternext, d_wrapped
            return seen

        from goroutines import patch
        snapshot()
        before = snapshot()
        patch.all()
        patched = snapshot()
        patch.undo()
        after = snapshot()
        assert before == after, {k for k in before if before[k] != after.get(k)}
        changed = {k for k in before if before[k] != patched[k]}
        assert ("BufferedReader", "slots") in changed
        assert (_io.__name__, "FileIO", "readinto") in changed
        assert ("time", "sleep") in changed and ("_thread", "RLock", "acquire") in changed
        # No attribute was replaced.
        assert all(before[k][0] == patched[k][0] for k in before if "slots" not in k)
        """
    )


def test_original_is_unpatched_whenever_it_was_taken():
    run(
        """
        import _thread, os, threading, time
        import goroutines as G
        from goroutines import patch
        early = patch.original("time", "sleep")
        acquire = patch.original("_thread", "LockType.acquire")
        assert patch.original("os", "sep") == "/"
        patch.all()
        late = patch.original("time", "sleep")

        def threads_during(sleep):
            done = G.Chan(capacity=10)
            for _ in range(10):
                G.go(lambda: done.send(sleep(0.4)))
            G.sleep(0.2)
            threads = len(os.listdir("/proc/self/task"))
            for _ in range(10):
                done.recv()
            return threads

        def main():
            few = threads_during(time.sleep)
            assert threads_during(early) >= few + 5 and threads_during(late) >= few + 5
            lock = threading.Lock()
            assert acquire(lock) and lock.locked() and not acquire(lock, timeout=0.01)
            for sleep in (early, late, time.sleep):
                try:
                    sleep(-1)
                except ValueError:
                    pass
                else:
                    raise AssertionError

        G.run(main)
        before = G.num_goroutine()
        done = threading.Event()
        patch.original("_thread", "start_new_thread")(done.set, ())
        assert G.num_goroutine() == before and done.wait(5)
        """
    )


def test_undo_while_goroutines_wait():
    """They wait on, as before."""
    out = run(
        """
        import queue, threading, time
        import goroutines as G
        from goroutines import patch
        patch.all()

        def main():
            lock, rlock, q = threading.Lock(), threading.RLock(), queue.SimpleQueue()
            worker = threading.Thread(target=G.sleep, args=(0.3,))
            worker.start()
            lock.acquire()
            done = G.Chan(capacity=9)
            G.go(lambda: done.send(lock.acquire()))
            G.go(lambda: done.send(q.get()))
            G.go(lambda: done.send(worker.join()))
            G.sleep(0.1)
            patch.undo()
            G.sleep(0.1)
            lock.release()
            q.put("item")
            print(sorted(str(done.recv(timeout=10)) for _ in range(3)))

        G.run(main)
        """
    )
    assert out == "['None', 'True', 'item']\n"


def test_patched_while_goroutines_block():
    """Those that block already when it comes are woken as always."""
    out = run(
        """
        import queue, threading, time
        import goroutines as G
        from goroutines import patch

        def main():
            lock, q, event = threading.Lock(), queue.SimpleQueue(), threading.Event()
            lock.acquire()
            done = G.Chan(capacity=9)
            for block in (lock.acquire, q.get, event.wait):
                G.go(lambda block=block: done.send(block()))
            G.sleep(0.1)
            patch.all()
            lock.release()
            q.put("item")
            event.set()
            print(sorted(str(done.recv(timeout=10)) for _ in range(3)))

        G.run(main)
        """
    )
    assert out == "['True', 'True', 'item']\n"


def test_other_interpreters_are_as_before():
    out = run(
        """
        import sys
        try:
            import _testcapi
        except ImportError:
            print([0, 1, 2], flush=True)
            sys.exit()
        import goroutines as G
        from goroutines import patch
        patch.all()
        code = '''if 1:
            import threading, time, _thread
            seen = [0]
            lock = threading.Lock()
            def work():
                time.sleep(0.05)
                with lock, threading.RLock():
                    seen.append(1)
            t = threading.Thread(target=work)
            t.start()
            t.join()
            time.sleep(0.001)
            print(seen + [2], flush=True)
        '''
        G.run(_testcapi.run_in_subinterp, code)
        """
    )
    assert out == "[0, 1, 2]\n"
