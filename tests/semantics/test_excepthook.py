"""goroutines.excepthook: exceptions that escape a goroutine."""

import os
import re
import sys
import traceback

import goroutines
import pytest
from goroutines import Chan, GoroutineExit, go, goexit, num_goroutine, recv, run, select
from helpers import eventually, in_run, prints, script, told

from .support import hooked, line_of, parked


class Boom(Exception):
    pass


def explode(*args):
    raise Boom(*args)


def test_there_is_one_and_it_is_assignable():
    assert callable(goroutines.excepthook)
    with hooked() as seen:
        assert goroutines.excepthook == seen.append


@in_run
def test_it_gets_one_argument_with_four_fields():
    with hooked() as seen:
        go(explode, "text")
        assert eventually(lambda: seen)
    (args,) = seen
    assert args.exc_type is Boom
    assert isinstance(args.exc_value, Boom) and args.exc_value.args == ("text",)
    assert args.exc_traceback is args.exc_value.__traceback__
    names = [f.name for f in traceback.extract_tb(args.exc_traceback)]
    assert names == ["explode"], "no frame of the library's"
    assert isinstance(args.created_at, str)


@in_run
def test_the_place_of_the_go_call():
    def the_creator():
        go(explode)

    with hooked() as seen:
        the_creator()
        assert eventually(lambda: seen)
    place = str(seen[0].created_at)
    assert os.path.basename(__file__) in place
    assert re.search(rf"\D{line_of(the_creator)}\b", place)
    assert "the_creator" in place


@in_run
def test_the_program_goes_on():
    c = Chan(int)
    with hooked() as seen:
        for _ in range(20):
            go(explode)
        go(c.send, 1)
        assert c.recv() == 1
        assert eventually(lambda: len(seen) == 20)
    assert eventually(lambda: num_goroutine() == 1)


@in_run
def test_it_is_read_when_the_exception_escapes():
    gate = Chan()

    def body():
        gate.recv()
        explode()

    with hooked() as early:
        go(body)
        parked()
        with hooked() as late:
            gate.send(None)
            assert eventually(lambda: late)
    assert early == [] and len(late) == 1


@in_run
def test_finally_blocks_come_first():
    log = []

    def body():
        try:
            explode()
        finally:
            log.append("finally")

    before, goroutines.excepthook = goroutines.excepthook, lambda args: log.append("hook")
    try:
        go(body)
        assert eventually(lambda: len(log) == 2)
    finally:
        goroutines.excepthook = before
    assert log == ["finally", "hook"]


@in_run
def test_the_hook_may_use_channels():
    out = Chan(str)
    before = goroutines.excepthook
    goroutines.excepthook = lambda args: out.send(args.exc_type.__name__)
    try:
        for _ in range(5):
            go(explode)
        assert [out.recv() for _ in range(5)] == ["Boom"] * 5
    finally:
        goroutines.excepthook = before


@in_run
def test_goroutine_exit_is_silent():
    with hooked() as seen:
        go(goexit)

        def raises():
            raise GoroutineExit

        go(raises)
        assert eventually(lambda: num_goroutine() == 1)
    assert seen == []


def test_what_main_raises_does_not_go_there():
    with hooked() as seen, pytest.raises(Boom):
        run(explode)
    assert seen == []


@in_run
def test_base_exceptions_go_there_too():
    class Odd(BaseException):
        pass

    def body():
        raise Odd

    with hooked() as seen:
        go(body)
        assert eventually(lambda: seen)
    assert seen[0].exc_type is Odd


@in_run
def test_an_exception_group():
    def body():
        raise ExceptionGroup("several", [Boom(1), ValueError(2)])

    with hooked() as seen:
        go(body)
        assert eventually(lambda: seen)
    assert isinstance(seen[0].exc_value, ExceptionGroup)


@in_run
def test_stop_iteration_is_an_exception_like_any_other():
    def body():
        raise StopIteration

    with hooked() as seen:
        go(body)
        assert eventually(lambda: seen)
    assert seen[0].exc_type is StopIteration


@in_run
def test_what_escapes_a_wait():
    c = Chan()

    def body():
        c.recv()

    with hooked() as seen:
        go(body)
        parked()
        c.close()
        assert eventually(lambda: seen)
    assert seen[0].exc_type is goroutines.ChannelClosed


def test_cleanup_that_fails_at_the_end_of_run():
    def main():
        def body():
            try:
                select(recv(Chan()))
            finally:
                explode()

        go(body)
        parked(1, "select")

    with hooked() as seen:
        run(main)
    assert [s.exc_type for s in seen] == [Boom]
    assert isinstance(seen[0].exc_value.__context__, GoroutineExit)


# ------------------------------------------------------------------ the default


def test_the_default_prints_to_stderr():
    done = script(
        """
        import goroutines as G

        def fails():
            return 1 // 0

        def main():
            c = G.Chan()
            def creator():
                G.go(fails)
                G.sleep(0.05)
                c.send("goes on")
            G.go(creator)
            return c.recv()
        print(G.run(main))
        """
    )
    assert (done.returncode, done.stdout) == (0, "goes on\n"), told(done)
    assert "Traceback (most recent call last):" in done.stderr, told(done)
    assert "ZeroDivisionError: " in done.stderr and "in fails" in done.stderr, told(done)
    assert re.search(r"creat\w+ (at|by|in) .*creator|creator", done.stderr), told(done)
    assert re.search(r"<string>\D+10\b", done.stderr), told(done)


@pytest.mark.parametrize("how", ["computes", "waits"])
def test_the_end_of_run_does_not_interrupt_the_hook(how):
    """Else half of the report is lost."""
    done = script(
        f"""
        import time
        import goroutines as G

        def hook(args):
            began.close()
            if {how == "waits"}:
                G.sleep(0.3)
            else:
                end = time.monotonic() + 0.3
                while time.monotonic() < end:
                    pass
            print("told of", args.exc_type.__name__)

        def fails():
            1 / 0

        began = G.Chan()
        G.excepthook = hook

        def main():
            G.go(fails)
            began.recv_ok()

        G.run(main)
        """
    )
    assert (done.returncode, done.stdout) == (0, "told of ZeroDivisionError\n"), told(done)
    assert done.stderr == "", told(done)


def test_the_default_shows_the_cause():
    done = script(
        """
        import goroutines as G
        def fails():
            try:
                {}["missing"]
            except KeyError as error:
                raise ValueError("outer") from error
        def main():
            G.go(fails)
            G.sleep(0.1)
        G.run(main)
        """
    )
    assert "KeyError" in done.stderr and "direct cause" in done.stderr, told(done)


def test_a_hook_that_fails_is_reported_and_the_program_goes_on():
    done = script(
        """
        import goroutines as G
        def broken(args):
            raise LookupError("in the hook")
        G.excepthook = broken
        def fails():
            raise ValueError("in the goroutine")
        def main():
            G.go(fails)
            G.sleep(0.1)
            return "goes on"
        print(G.run(main))
        """
    )
    assert (done.returncode, done.stdout) == (0, "goes on\n"), told(done)
    assert "in the hook" in done.stderr, told(done)


def test_without_a_stderr():
    prints(
        """
        import sys
        import goroutines as G
        sys.stderr = None
        def main():
            G.go(lambda: 1 // 0)
            G.sleep(0.05)
            return "goes on"
        print(G.run(main))
        """,
        "goes on",
    )


def test_the_default_writes_to_the_sys_stderr_of_the_moment(capsys):
    def main():
        go(explode, "seen by capsys")
        assert eventually(lambda: num_goroutine() == 1)

    run(main)
    err = capsys.readouterr().err
    assert "seen by capsys" in err and "Boom" in err
    assert sys.stderr is not None


@in_run
def test_the_exception_is_released_after_the_hook():
    import gc
    import weakref

    class Payload:
        pass

    refs = []

    def body():
        payload = Payload()
        refs.append(weakref.ref(payload))
        raise Boom(payload)

    before = goroutines.excepthook
    goroutines.excepthook = lambda args: None
    try:
        go(body)
        assert eventually(lambda: refs and [gc.collect(), refs[0]() is None][1])
    finally:
        goroutines.excepthook = before


@in_run
def test_the_default_can_be_called_by_another_hook(capsys):
    original = goroutines.excepthook
    seen = []

    def wraps(args):
        seen.append(args)
        original(args)

    goroutines.excepthook = wraps
    try:
        go(explode, "wrapped")
        assert eventually(lambda: seen and num_goroutine() == 1)
    finally:
        goroutines.excepthook = original
    assert "wrapped" in capsys.readouterr().err
