"""run: its result, and how a program ends when main has returned."""

import os
import threading
import time
import traceback

import pytest
from goroutines import (
    Chan,
    GoroutineExit,
    Group,
    after,
    after_func,
    go,
    goexit,
    gosched,
    lock_os_thread,
    num_goroutine,
    recv,
    run,
    select,
    send,
    sleep,
    sync,
)
from helpers import eventually, on_procs, prints, procs

from .support import full, hooked, parked, spawn

# ------------------------------------------------------------------ result and exception


@pytest.mark.parametrize(
    "value", [None, 0, "text", [1], Exception("returned, not raised")], ids=repr
)
def test_the_result_of_main_is_returned(value):
    assert run(lambda: value) is value


def test_arguments_reach_main():
    assert run(lambda *a, **k: (a, k), 1, 2, main=3) == ((1, 2), {"main": 3})


@pytest.mark.parametrize("thing", [None, 5, "main"], ids=repr)
def test_main_must_be_callable(thing):
    with pytest.raises(TypeError, match="callable"):
        run(thing)


def test_an_async_main_is_refused():
    async def main():
        pass

    with pytest.raises(TypeError, match="async"):
        run(main)


@pytest.mark.parametrize(
    "error",
    [ValueError("v"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1)],
)
def test_the_very_exception_of_main_is_raised(error):
    def the_main():
        raise error

    with pytest.raises(type(error)) as caught:
        run(the_main)
    assert caught.value is error
    names = [f.name for f in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "the_main"


def test_the_context_of_an_exception_is_kept():
    def main():
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None

    with pytest.raises(ValueError) as caught:
        run(main)
    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.__suppress_context__


def test_an_exception_of_the_caller_is_not_touched():
    try:
        raise LookupError("outer")
    except LookupError as outer:
        assert run(lambda: 1) == 1
        with pytest.raises(ValueError) as caught:
            run(int, "x")
        assert caught.value.__context__ in (None, outer)


def test_goexit_in_main():
    """The main goroutine has nobody to end but itself: run raises or returns, it does not hang."""
    ended = []

    def main():
        try:
            goexit()
        finally:
            ended.append(True)

    try:
        run(main)
    except BaseException as error:
        assert isinstance(error, GoroutineExit)
    assert ended == [True]


def test_run_many_times():
    assert [run(lambda i=i: i) for i in range(200)] == list(range(200))


def test_run_after_one_that_failed():
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            run(lambda: 1 // 0)
        assert run(lambda: "fine") == "fine"


def test_run_inside_a_goroutine_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="run"):
        run(lambda: run(int))

    def main():
        out = Chan(object)

        def body():
            try:
                run(int)
            except RuntimeError as error:
                out.send(error)

        go(body)
        return str(out.recv())

    assert "goroutine" in run(main)


def test_main_is_a_goroutine_of_its_own():
    main_thread = threading.get_native_id()
    assert run(threading.get_native_id) != main_thread
    assert run(num_goroutine) == 1


def test_run_from_a_foreign_thread():
    box = []
    spawn(lambda: box.append(run(lambda: "from a thread"))).join(30)
    assert box == ["from a thread"]


def test_goroutines_started_before_run_run():
    c = Chan(int)
    go(c.send, 1)
    assert run(c.recv) == 1


# ------------------------------------------------------------------ when main has returned


def for_ever(step):
    while True:
        step()


BLOCKED = {
    "recv": lambda: Chan().recv(),
    "recv_ok": lambda: Chan().recv_ok(),
    "recv, timeout": lambda: Chan().recv(timeout=600),
    "recv of a view": lambda: Chan().receiver.recv(),
    "send": lambda: Chan().send(1),
    "send, timeout": lambda: Chan().send(1, timeout=600),
    "send, full": lambda: full(1).send(2),
    "iteration": lambda: [None for _ in Chan()],
    "select": lambda: select(recv(Chan()), send(Chan(), 1)),
    "select, timeout": lambda: select(recv(Chan()), timeout=600),
    "select, none": lambda: select(),
    "select, None": lambda: select(recv(None), send(None, 1)),
    "sleep": lambda: sleep(600),
    "sleep for ever": lambda: sleep(float("inf")),
    "after": lambda: after(600).recv(),
    "short sleeps": lambda: for_ever(lambda: sleep(0.001)),
    "gosched": lambda: for_ever(gosched),
    "computing": lambda: for_ever(int),
}


@pytest.mark.parametrize("n_procs", [1, 2, 4])
@pytest.mark.parametrize("how", BLOCKED)
def test_every_goroutine_gets_goroutine_exit(how, n_procs):
    log = []

    def main():
        begun = Chan()

        def body():
            try:
                begun.send(None)
                BLOCKED[how]()
                log.append("went on")
            except GoroutineExit:
                log.append("GoroutineExit")
                raise
            finally:
                log.append("finally")

        for _ in range(3):
            go(body)
        for _ in range(3):
            begun.recv()
        return "result"

    assert on_procs(n_procs, main) == "result"
    assert sorted(log) == ["GoroutineExit"] * 3 + ["finally"] * 3
    assert num_goroutine() == 0


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt])
def test_the_others_end_too_when_main_fails(error):
    log = []

    def main():
        begun = Chan()

        def body():
            with_block = Chan()
            try:
                begun.send(None)
                with_block.recv()
            finally:
                log.append("finally")

        go(body)
        begun.recv()
        raise error

    with pytest.raises(error):
        run(main)
    assert log == ["finally"]


def test_with_blocks_are_left():
    log = []

    class Resource:
        def __enter__(self):
            log.append("enter")

        def __exit__(self, kind, value, tb):
            log.append(kind)

    def main():
        begun = Chan()

        def body():
            with Resource():
                begun.send(None)
                select()

        go(body)
        begun.recv()

    run(main)
    assert log == ["enter", GoroutineExit]


@pytest.mark.parametrize("kind", ["C function", "Python function"])
def test_one_that_has_not_begun_never_runs(kind):
    log = []

    def body(i):
        log.append(i)

    def main():
        for i in range(100):
            go(log.append if kind == "C function" else body, i)

    with procs(1):
        for _ in range(10):
            log.clear()
            run(main)
            ran = len(log)
            # Now and then main is preempted on its way; what has begun by then may finish.
            if ran == 0:
                break
    assert ran == 0
    time.sleep(0.05)
    assert len(log) == ran and num_goroutine() == 0


def test_one_that_computes_gets_it_at_its_next_bytecode():
    state = {"n": 0, "ended": None}

    def main():
        def body():
            try:
                while True:
                    state["n"] += 1
            except GoroutineExit:
                state["ended"] = state["n"]
                raise

        go(body)
        assert eventually(lambda: state["n"])

    run(main)
    assert state["ended"] is not None
    seen = state["n"]
    time.sleep(0.03)
    assert state["n"] == seen


def test_goroutine_exit_comes_once():
    log = []

    def main():
        def body():
            for step in range(20):
                try:
                    if step == 0:
                        select()
                    sleep(0.002)
                except GoroutineExit:
                    log.append(step)

        go(body)
        parked(1, "select (no cases)")

    run(main)
    assert log == [0]


def test_one_that_computes_gets_it_once():
    hits = []

    def main():
        begun = Chan()

        def body():
            try:
                begun.send(None)
                while True:
                    pass
            except GoroutineExit:
                hits.append("first")
            try:
                end = time.monotonic() + 0.05
                while time.monotonic() < end:
                    pass
                sleep(0.01)
            except GoroutineExit:
                hits.append("second")

        go(body)
        begun.recv()

    run(main)
    assert hits == ["first"]


def test_a_goroutine_started_by_cleanup_does_not_survive():
    log = []

    def main():
        begun = Chan()

        def late():
            log.append("late ran")
            select()

        def body():
            try:
                begun.send(None)
                select()
            finally:
                go(late)
                sleep(0.01)
                log.append("cleanup over")

        go(body)
        begun.recv()

    run(main)
    assert "cleanup over" in log
    assert num_goroutine() == 0


def test_a_finalizer_that_blocks_in_c_is_left_alone(monkeypatch):
    log, local, begun = [], threading.local(), Chan()
    monkeypatch.setattr("sys.unraisablehook", log.append)

    class Last:
        def __del__(self):
            begun.send(None)
            time.sleep(0.3)
            sleep(0.001)
            log.append("finalized")

    def member():
        local.last = Last()

    def main():
        go(member)
        begun.recv()

    run(main)
    assert log == []
    assert eventually(lambda: log == ["finalized"]), log
    assert eventually(lambda: num_goroutine() == 0), num_goroutine()


def test_a_finalizer_may_wait_for_one_that_blocks_in_c(monkeypatch):
    """Who holds the lock is left behind, but not for good: nobody is told to end in a finalizer."""
    log, local, lock = [], threading.local(), sync.Mutex()
    monkeypatch.setattr("sys.unraisablehook", log.append)

    class Last:
        def __del__(self):
            with lock:
                time.sleep(0.05)
            log.append("finalized")

    def member():
        local.last = Last()

    def main():
        for _ in range(4):
            go(member)
        sleep(0.02)

    run(main)
    assert eventually(lambda: len(log) == 4)
    assert log == ["finalized"] * 4
    assert eventually(lambda: num_goroutine() == 0), num_goroutine()


def by_group(step):
    with Group() as group:
        for i in range(3):
            group.go(step, i)


def by_wait_group(step):
    group = sync.WaitGroup()
    for i in range(3):
        group.go(step, i)
    group.wait()


def by_channel(step):
    done = Chan()
    for i in range(3):
        go(lambda i=i: [step(i), done.send(None)])
    for _ in range(3):
        done.recv()


def by_timer(step):
    done = Chan()
    for i in range(3):
        after_func(0.001, lambda i=i: [step(i), done.send(None)])
    for _ in range(3):
        done.recv()


@pytest.mark.parametrize("pause", [0, 0.01])
@pytest.mark.parametrize("how", [by_group, by_wait_group, by_channel, by_timer])
def test_what_cleanup_starts_is_part_of_it(how, pause):
    out = []

    def step(i):
        sleep(0.001)
        out.append(i)

    def member():
        try:
            select()
        finally:
            sleep(pause)
            how(step)
            out.append("over")

    def main():
        go(member)
        sleep(0.01)

    run(main)
    assert sorted(out[:3]) == [0, 1, 2] and out[3:] == ["over"]
    assert num_goroutine() == 0


# ------------------------------------------------------------------ cleanup that blocks

CLEANUP = {
    "sleep": (lambda c: sleep(0.02), lambda c: None),
    "gosched": (lambda c: [gosched() for _ in range(50)], lambda c: None),
    "timer": (lambda c: after(0.02).recv(), lambda c: None),
    "timeout": (lambda c: pytest.raises(TimeoutError, c.recv, timeout=0.02), lambda c: None),
    "recv and send": (lambda c: c.recv(), lambda c: c.send(1)),
    "send and recv": (lambda c: c.send(1), lambda c: c.recv()),
    "recv and close": (lambda c: c.recv_ok(), lambda c: c.close()),
    "range and close": (lambda c: list(c), lambda c: [c.send(1), c.close()]),
    "select and send": (lambda c: select(recv(c), recv(Chan())), lambda c: c.send(1)),
    "two selects": (lambda c: select(recv(c)), lambda c: select(send(c, 1))),
}


@pytest.mark.parametrize("pause", [0, 0.03])
@pytest.mark.parametrize("how", CLEANUP)
def test_cleanup_may_block(how, pause):
    log = []

    def main():
        c, begun = Chan(), Chan()

        def body(me, before, clean_up):
            try:
                begun.send(None)
                select()
            finally:
                sleep(before)
                clean_up(c)
                log.append(me)

        first, second = CLEANUP[how]
        go(body, "first", 0, first)
        go(body, "second", pause, second)
        begun.recv()
        begun.recv()

    run(main)
    assert sorted(log) == ["first", "second"]


def test_cleanup_that_blocks_in_c_is_left_behind_and_ends_at_its_next_blocking_point():
    prints(
        """
        import time
        import goroutines as G
        ended = []
        def main():
            def body():
                try:
                    G.select()
                finally:
                    time.sleep(0.2)
                    print("after the call")
                    try:
                        G.Chan().recv()
                        print("never")
                    finally:
                        print("ended")
                        ended.append(1)
            G.go(body)
            while "[select (no " "cases)" not in G.debug.stacks():
                G.sleep(0.001)
        G.run(main)
        print("run is over", G.num_goroutine())
        end = time.monotonic() + 10
        while not ended and time.monotonic() < end:
            time.sleep(0.01)
        """,
        "run is over 0\nafter the call\nended",
    )


def test_nobody_gets_it_again_while_one_computes():
    log = []

    def main():
        c, begun = Chan(), Chan()

        def waiter():
            try:
                begun.send(None)
                select()
            finally:
                log.append(c.recv())

        def provider():
            try:
                begun.send(None)
                select()
            finally:
                end = time.monotonic() + 0.1
                while time.monotonic() < end:
                    pass
                c.send("computed")

        go(waiter)
        go(provider)
        begun.recv()
        begun.recv()

    run(main)
    assert log == ["computed"]


ASLEEP = {
    "recv": "chan receive",
    "send": "chan send",
    "iteration": "chan receive",
    "select": "select",
    "select, none": "select (no cases)",
    "send, full": "chan send",
}


@pytest.mark.parametrize("n", [1, 4, 50])
@pytest.mark.parametrize("how", ASLEEP)
def test_all_asleep_for_good_get_it_again(how, n):
    log = []

    def main():
        def stubborn(me):
            for _ in range(3):
                try:
                    BLOCKED[how]()
                except GoroutineExit:
                    log.append(me)

        for i in range(n):
            go(stubborn, i)
        parked(n, ASLEEP[how])

    start = time.monotonic()
    run(main)
    assert sorted(log) == sorted(list(range(n)) * 3)
    assert time.monotonic() - start < 20


def test_a_second_delivery_waits_for_the_last_timer():
    log = []

    def main():
        def stubborn():
            for _ in range(2):
                try:
                    select()
                except GoroutineExit:
                    log.append(time.monotonic())

        def slow():
            try:
                select()
            finally:
                sleep(0.2)

        go(stubborn)
        go(slow)
        parked(2, "select (no cases)")

    run(main)
    assert len(log) == 2 and log[1] - log[0] >= 0.19


@pytest.mark.parametrize(
    "error", [SystemExit(9), ValueError("cleanup"), KeyboardInterrupt()], ids=repr
)
def test_what_cleanup_raises(error):
    def main():
        begun = Chan()

        def body():
            try:
                begun.send(None)
                select()
            finally:
                raise error

        go(body)
        begun.recv()
        return "result of main"

    with hooked() as seen:
        if isinstance(error, KeyboardInterrupt):
            # Whom a KeyboardInterrupt goes to once main has returned is not laid down.
            try:
                run(main)
            except KeyboardInterrupt:
                pass
        else:
            assert run(main) == "result of main"
    if isinstance(error, SystemExit):
        assert seen == []
    elif isinstance(error, ValueError):
        assert [s.exc_value for s in seen] == [error]
    assert num_goroutine() == 0


# ------------------------------------------------------------------ blocked in C


class Hold:
    """A call that blocks in C until `release`."""

    def __init__(self, kind):
        self.kind = kind
        if kind == "pipe":
            self.r, self.w = os.pipe()
        elif kind == "lock":
            self.lock = threading.Lock()
            self.lock.acquire()
        else:
            self.event = threading.Event()

    def block(self):
        if self.kind == "pipe":
            os.read(self.r, 1)
        elif self.kind == "lock":
            self.lock.acquire()
        else:
            self.event.wait()

    def release(self):
        if self.kind == "pipe":
            os.write(self.w, b"!")
        elif self.kind == "lock":
            self.lock.release()
        else:
            self.event.set()

    def close(self):
        if self.kind == "pipe":
            os.close(self.r)
            os.close(self.w)


@pytest.mark.parametrize("locked", [False, True], ids=["", "on a thread of its own"])
@pytest.mark.parametrize("kind", ["pipe", "lock", "event"])
def test_one_that_is_blocked_in_c_is_left_behind(kind, locked):
    hold = Hold(kind)
    log = []

    def main():
        about = Chan()

        def body():
            if locked:
                lock_os_thread()
            about.send(None)
            try:
                hold.block()
                log.append("the call came back")
                Chan().recv()
                log.append("went past a blocking point")
            except GoroutineExit:
                log.append("GoroutineExit")
                raise

        go(body)
        about.recv()
        parked(1, "blocked")
        return "over"

    start = time.monotonic()
    try:
        assert run(main) == "over"
        assert time.monotonic() - start < 10
        assert log == []
        assert run(lambda: "again") == "again"
        assert log == []
    finally:
        hold.release()
    assert eventually(lambda: len(log) == 2 and num_goroutine() == 0), log
    assert log == ["the call came back", "GoroutineExit"]
    hold.close()


def test_one_that_is_left_behind_and_finishes_needs_no_blocking_point():
    hold, log = Hold("lock"), []

    def main():
        about = Chan()

        def body():
            about.send(None)
            hold.block()
            log.append("done")

        go(body)
        about.recv()
        parked(1, "blocked")

    run(main)
    hold.release()
    assert eventually(lambda: num_goroutine() == 0)
    # It may have got GoroutineExit on its way out of the call, or have finished.
    assert log in ([], ["done"])


def test_one_in_a_short_blocking_call_ends_after_it():
    log = []

    def main():
        about = Chan()

        def body():
            about.send(None)
            try:
                while True:
                    time.sleep(0.001)
                    gosched()
            finally:
                log.append("ended")

        go(body)
        about.recv()
        sleep(0.01)

    run(main)
    assert eventually(lambda: log == ["ended"] and num_goroutine() == 0)
