"""Code that runs in the middle of this library's own: finalizers, the collector, hooks.

Rule: whatever was seen of another goroutine before such code ran is not acted on afterwards. Each
test shows what acting on the old look did.
"""

import sys

import pytest
from helpers import prints

DEBUG_MALLOC = {"PYTHONMALLOC": "debug"}


def test_an_exit_that_comes_second_is_dropped_when_main_has_ended():
    """Dropping the second SystemExit ran a finalizer; when that came back, main's G belonged to
    another goroutine, whose wait ended with a SystemError."""
    prints(
        """
        import os, sys
        import goroutines as G

        G.gomaxprocs(1)
        found, (r, w) = [], os.pipe()

        def victim():
            try:
                G.select()
            except G.GoroutineExit:
                pass
            try:
                G.Chan().recv(timeout=0.5)
            except BaseException as e:
                found.append(type(e).__name__)

        class Late:
            def __del__(self):
                os.write(w, b"x")
                try:
                    G.sleep(10)
                except G.GoroutineExit:
                    pass  # main has ended
                G.sleep(0.1)
                for _ in range(10):
                    G.go(victim)
                G.sleep(0.1)

        def second():
            late = Late()
            G.sleep(0.2)  # main is blocked by now
            G.go(sys.exit, 5)
            while G.num_goroutine() > 2:
                G.gosched()
            sys.exit(6)

        def main():
            G.go(second)
            os.read(r, 1)  # blocked in C, it takes none of them yet

        try:
            G.run(main)
        except SystemExit as e:
            # One that had not begun when it was told to end never ran.
            print(e.code, set(found) - {"TimeoutError"})
        """,
        "5 set()",
    )


@pytest.mark.parametrize("wait", ["ch.send(Value())", "G.select(G.send(ch, Value()))"])
def test_the_finalizer_of_what_was_not_sent_waits(wait: str):
    """It took the exception that was meant for the send, which then had none to raise."""
    prints(
        f"""
        import goroutines as G

        class Copy:
            def __del__(self):
                G.sleep(0.001)

        class Value:
            def __deepcopy__(self, memo):
                return Copy()

        ch = G.Chan(by_value=True)
        seen = []

        def sender():
            try:
                {wait}
            except BaseException as e:
                seen.append(type(e).__name__)

        def main():
            G.go(sender)
            G.sleep(0.02)

        G.run(main)
        print(seen)
        """,
        "['GoroutineExit']",
    )


def test_main_is_woken_while_its_deadlock_is_reported():
    """Writing the report runs Python code, and so may run finalizers. main had been woken by
    one, and got the DeadlockError in its next wait."""
    prints(
        """
        import goroutines as G
        from goroutines import debug

        late, sent, place = G.Chan(), [], debug._place

        def finalizer(*args):
            if not sent:
                sent.append(1)
                late.send("late", timeout=10)
            return place(*args)

        debug._place = finalizer

        def main():
            value = late.recv()
            G.after(0.05).recv()
            return value

        print(G.run(main), sent)
        sent.clear()
        G.go(G.select)
        print(late.recv(), sent)
        G.sleep(0.05)
        """,
        "late [1]\nlate [1]",
    )


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="allocations do not run the collector")
def test_the_collector_begins_another_run_while_one_begins():
    """Both were under way, and each took the other's main for its own."""
    prints(
        """
        import gc, threading
        import goroutines as G

        begun, over = threading.Event(), threading.Event()

        def other():
            G.run(lambda: [begun.set(), over.wait(10)])

        def callback(phase, info):
            gc.callbacks.remove(callback)
            threading.Thread(target=other).start()
            begun.wait(10)

        gc.collect()
        gc.callbacks.append(callback)
        gc.set_threshold(1)
        try:
            G.run(int, 5)
        except RuntimeError as e:
            print(str(e)[:28])
        over.set()
        """,
        "run() is under way already,",
    )


def test_what_the_collector_has_cleared_can_still_be_used():
    """A channel's view, a case and a timer were empty inside then: a crash."""
    prints(
        """
        import ctypes, gc, warnings
        import goroutines as G

        warnings.simplefilter("ignore")
        used = []

        def use(o):
            match type(o).__name__:
                case "Chan":
                    o.elem, o.sender
                case "SendChan" | "RecvChan":
                    o.capacity, o.elem
                case "Case":
                    G.select(o, default=True)
                case "_FuncTimer":
                    o.reset(0.001)
                case _:
                    return
            used.append((type(o).__name__, repr(o)))

        # A capsule is no business of the collector's: it goes when the list is cleared.
        @ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
        def look(capsule):
            for o in gc.get_objects():
                use(o)

        new_capsule = ctypes.pythonapi.PyCapsule_New
        new_capsule.restype = ctypes.py_object
        new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

        def garbage():
            ch = G.Chan(list[int], 5)
            timer = G.after_func(100, int)
            timer.stop()
            # In the order in which they are cleared.
            mine = [ch, ch.sender, ch.receiver, G.recv(ch), G.send(ch, []), timer._func]
            mine.append(new_capsule(1, None, ctypes.cast(look, ctypes.c_void_p)))
            mine.append(mine)

        gc.disable()
        for _ in range(5):
            garbage()
        gc.collect()
        G.sleep(0.01)
        print(sorted({name for name, _ in used}))
        """,
        "['Case', 'Chan', 'RecvChan', 'SendChan', '_FuncTimer']",
        env=DEBUG_MALLOC,
    )


@pytest.mark.parametrize("place", ["drop(head)", "G.run(lambda: drop(head))"])
@pytest.mark.parametrize("link", ["head", "head.sender", "head.receiver", "G.send(head, 1)"])
def test_a_long_chain_of_channels_is_dropped(link: str, place: str):
    """Each drop called the next one, until the C stack was full."""
    prints(
        f"""
        import warnings
        import goroutines as G

        warnings.simplefilter("ignore")

        def drop(it):
            it.clear()

        head = G.Chan(capacity=1)
        for _ in range(200_000):
            inner = G.Chan(capacity=1)
            inner.send({link})
            head = inner
        head, inner = [head], None
        {place}
        print("dropped")
        """,
        "dropped",
    )


def test_a_name_in_builtins_that_is_no_text():
    """It was looked at as UTF-8 at the next import of an extension module: a crash."""
    prints(
        """
        import builtins, sys
        import goroutines as G
        builtins.__dict__["\\udc80"] = 1
        sys.modules.pop("_bisect", None)
        import _bisect, _json
        print("imported")
        """,
        "imported",
    )
