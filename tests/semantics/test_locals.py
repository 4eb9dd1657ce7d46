"""What is a goroutine's own: thread locals, context, decimal context, exc_info, recursion."""

import contextlib
import contextvars
import decimal
import gc
import sys
import threading
import weakref

import pytest
from goroutines import Chan, go, gosched, run, sleep
from helpers import eventually, in_run, on_procs, prints

from .support import parked

N = 20


def everyone(body, n=N):
    """The results of n goroutines that run body(i), each parked several times on the way."""
    out = Chan(tuple)

    def member(i):
        try:
            out.send((i, body(i), None))
        except BaseException as error:
            out.send((i, None, error))

    for i in range(n):
        go(member, i)
    results = {}
    for _ in range(n):
        i, value, error = out.recv(timeout=50)
        if error is not None:
            raise error
        results[i] = value
    return [results[i] for i in range(n)]


PARKS = {
    "sleep": lambda: sleep(0.002),
    "gosched": gosched,
    "channel": lambda: [c.recv() for c in [Chan(int)] if go(c.send, 1) is None],
    "timeout": lambda: pytest.raises(TimeoutError, Chan().recv, timeout=0.001),
}


@pytest.mark.parametrize("n_procs", [1, 2, 4])
@pytest.mark.parametrize("park", PARKS)
def test_everything_at_once_survives_parking(park, n_procs):
    local, var = threading.local(), contextvars.ContextVar("var")

    def body(i):
        local.value = i
        var.set(i)
        decimal.getcontext().prec = 5 + i
        try:
            raise KeyError(i)
        except KeyError:
            for _ in range(5):
                PARKS[park]()
                assert local.value == i
                assert var.get() == i
                assert decimal.getcontext().prec == 5 + i
                assert sys.exc_info()[1].args == (i,)
        assert sys.exc_info() == (None, None, None)
        return i

    assert on_procs(n_procs, lambda: everyone(body)) == list(range(N))


# ------------------------------------------------------------------ threading.local


@in_run
def test_a_new_goroutine_has_no_thread_locals():
    local = threading.local()
    local.mine = "main"
    assert everyone(lambda i: hasattr(local, "mine")) == [False] * N
    assert local.mine == "main"


@in_run
def test_a_subclass_of_local_is_initialised_in_each_goroutine():
    made = []

    class Own(threading.local):
        def __init__(self, start):
            made.append(start)
            self.items = [start]

    own = Own("x")

    def body(i):
        own.items.append(i)
        sleep(0.001)
        return own.items

    assert everyone(body) == [["x", i] for i in range(N)]
    assert len(made) == N + 1
    assert own.items == ["x"]


@in_run
def test_locals_are_released_with_the_goroutine():
    class Thing:
        pass

    local, refs = threading.local(), []

    def body(i):
        local.thing = Thing()
        refs.append(weakref.ref(local.thing))
        sleep(0.001)
        return refs[-1]() is not None

    everyone(body)
    assert len(refs) == N
    assert eventually(lambda: [gc.collect(), all(r() is None for r in refs)][1])


@in_run
def test_locals_are_not_seen_by_the_next_goroutine_on_the_same_stack():
    local = threading.local()
    for i in range(100):
        out = Chan(bool)

        def body(out=out, i=i):
            fresh = not hasattr(local, "value")
            local.value = i
            out.send(fresh)

        go(body)
        assert out.recv() is True


def test_foreign_threads_have_their_own():
    local = threading.local()

    def main():
        local.value = "goroutine"
        seen = Chan(bool)
        threading.Thread(target=lambda: seen.send(hasattr(local, "value"))).start()
        return seen.recv()

    assert run(main) is False
    assert not hasattr(local, "value")


# ------------------------------------------------------------------ contextvars

var = contextvars.ContextVar("var", default="default")


@in_run
def test_a_goroutine_starts_with_a_copy_of_its_creators_context():
    var.set("mine")
    assert everyone(lambda i: var.get()) == ["mine"] * N


@in_run
def test_the_copy_is_made_when_go_is_called():
    gate, out = Chan(), Chan(str)

    def body():
        gate.recv()
        out.send(var.get())

    var.set("before")
    go(body)
    var.set("after")
    gate.send(None)
    assert out.recv() == "before"


@in_run
def test_changes_do_not_reach_the_creator_or_the_others():
    var.set("mine")

    def body(i):
        var.set(i)
        sleep(0.002)
        return var.get()

    assert everyone(body) == list(range(N))
    assert var.get() == "mine"


@in_run
def test_inheritance_over_generations():
    out = Chan(list)

    def generation(n, seen):
        seen = [*seen, var.get()]
        var.set(n)
        if n == 0:
            out.send(seen)
        else:
            go(generation, n - 1, seen)

    var.set("first")
    go(generation, 5, [])
    assert out.recv() == ["first", 5, 4, 3, 2, 1]


def test_main_starts_with_a_copy_of_the_callers_context():
    def main():
        seen = var.get()
        var.set("changed in main")
        return seen

    token = var.set("caller")
    try:
        assert run(main) == "caller"
        assert var.get() == "caller"
    finally:
        var.reset(token)


@in_run
def test_tokens_survive_parking():
    def body(i):
        token = var.set(i)
        sleep(0.002)
        var.reset(token)
        return var.get()

    var.set("outer")
    assert everyone(body) == ["outer"] * N


@in_run
def test_context_run_that_parks():
    def body(i):
        context = contextvars.copy_context()

        def inside():
            var.set(("inside", i))
            sleep(0.002)
            return var.get()

        assert context.run(inside) == ("inside", i)
        assert context[var] == ("inside", i)
        return var.get()

    var.set("outside")
    assert everyone(body) == ["outside"] * N


@in_run
def test_one_context_cannot_be_entered_by_two_goroutines():
    context, c, out = contextvars.copy_context(), Chan(), Chan(object, 2)
    go(lambda: context.run(c.recv))
    parked()

    def second():
        try:
            context.run(int)
        except RuntimeError as error:
            out.send(error)

    go(second)
    assert "already entered" in str(out.recv(timeout=20))
    c.send(None)


# ------------------------------------------------------------------ decimal


@in_run
def test_the_decimal_context_is_a_copy():
    with decimal.localcontext() as mine:
        mine.prec = 33

        def body(i):
            first = decimal.getcontext().prec
            decimal.getcontext().prec = i + 2
            sleep(0.002)
            digits = len(str(decimal.Decimal(1) / 3)) - 2
            return first, digits

        assert everyone(body) == [(33, i + 2) for i in range(N)]
        assert decimal.getcontext().prec == 33


@in_run
def test_the_decimal_context_is_copied_by_go():
    gate, out = Chan(), Chan(int)

    def body():
        gate.recv()
        out.send(decimal.getcontext().prec)

    with decimal.localcontext() as mine:
        mine.prec = 7
        go(body)
        mine.prec = 9
        gate.send(None)
        assert out.recv() == 7


@in_run
def test_flags_and_traps_are_the_goroutines_own():
    def body(i):
        context = decimal.getcontext()
        context.traps[decimal.DivisionByZero] = bool(i % 2)
        context.clear_flags()
        sleep(0.001)
        try:
            decimal.Decimal(1) / 0
        except decimal.DivisionByZero:
            trapped = True
        else:
            trapped = False
        sleep(0.001)
        return trapped, bool(decimal.getcontext().flags[decimal.DivisionByZero])

    assert everyone(body) == [(bool(i % 2), True) for i in range(N)]


@in_run
def test_localcontext_around_a_park():
    def body(i):
        with decimal.localcontext() as context:
            context.prec = 3 + i
            sleep(0.002)
            inner = decimal.getcontext().prec
        return inner, decimal.getcontext().prec

    outer = decimal.getcontext().prec
    assert everyone(body) == [(3 + i, outer) for i in range(N)]


def test_decimal_in_main():
    def main():
        seen = decimal.getcontext().prec
        decimal.getcontext().prec = 4
        return seen

    with decimal.localcontext() as mine:
        mine.prec = 21
        assert run(main) == 21
        assert decimal.getcontext() is mine and mine.prec == 21


# ------------------------------------------------------------------ exceptions in flight


@in_run
def test_a_new_goroutine_handles_no_exception():
    try:
        raise ValueError
    except ValueError:
        assert everyone(lambda i: sys.exc_info()) == [(None, None, None)] * N
        assert sys.exc_info()[0] is ValueError


@in_run
def test_nested_handlers_around_parks():
    def body(i):
        try:
            raise KeyError(i)
        except KeyError:
            sleep(0.001)
            try:
                raise ValueError(i)
            except ValueError as inner:
                sleep(0.001)
                assert sys.exc_info()[1] is inner
                assert inner.__context__.args == (i,)
            sleep(0.001)
            return sys.exc_info()[1].args

    assert everyone(body) == [(i,) for i in range(N)]


@in_run
def test_a_bare_raise_after_a_park():
    def body(i):
        try:
            try:
                raise KeyError(i)
            except KeyError:
                sleep(0.002)
                raise
        except KeyError as error:
            return error.args[0]

    assert everyone(body) == list(range(N))


@in_run
def test_exit_stacks_and_context_managers():
    @contextlib.contextmanager
    def manager(i, log):
        log.append(("in", i))
        sleep(0.001)
        try:
            yield i
        except ValueError as error:
            sleep(0.001)
            log.append(("caught", error.args[0]))
        log.append(("out", i))

    def body(i):
        log = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(manager(i, log))
            sleep(0.001)
            raise ValueError(i)
        return log

    assert everyone(body) == [[("in", i), ("caught", i), ("out", i)] for i in range(N)]


# ------------------------------------------------------------------ recursion


@in_run
def test_recursion_depth_is_the_goroutines_own():
    """Many goroutines, each near its limit while the others are."""
    limit = sys.getrecursionlimit()

    def down(n):
        if n == 0:
            sleep(0.005)
            return 0
        return 1 + down(n - 1)

    depth = int(limit * 0.7)
    assert everyone(lambda i: down(depth)) == [depth] * N


@in_run
def test_endless_recursion_is_a_recursion_error_in_its_goroutine_only():
    def endless():
        return endless() + 1

    def body(i):
        if i % 2:
            sleep(0.001)
            return "fine"
        try:
            endless()
        except RecursionError:
            sleep(0.001)
            return "RecursionError"

    assert everyone(body) == ["RecursionError", "fine"] * (N // 2)


def test_a_recursion_limit_that_is_set_counts_for_goroutines():
    prints(
        """
        import sys
        import goroutines as G
        def depth(n=0):
            try:
                return depth(n + 1)
            except RecursionError:
                return n
        def main():
            out = G.Chan()
            first = 0
            G.go(lambda: out.send(depth()))
            first = out.recv()
            sys.setrecursionlimit(5000)
            G.go(lambda: out.send(depth()))
            second = out.recv()
            return 800 < first < 1001, 4800 < second < 5001
        print(G.run(main))
        """,
        "(True, True)",
    )


def test_the_limit_reaches_goroutines_that_exist():
    prints(
        """
        import sys
        import goroutines as G
        def depth(n=0):
            try:
                return depth(n + 1)
            except RecursionError:
                return n
        def main():
            gate, out = G.Chan(), G.Chan()
            G.go(lambda: [gate.recv(), out.send(depth())])
            G.sleep(0.01)
            sys.setrecursionlimit(3000)
            gate.send(None)
            return out.recv() > 2500
        print(G.run(main))
        """,
        "True",
    )


# ------------------------------------------------------------------ tracing and profiling


@pytest.mark.parametrize("how", ["settrace", "attribute", "dictionary"])
def test_each_change_of_threadings_hooks_is_seen(how):
    """The core does not look at the hooks each time, but is told of changes."""
    prints(
        f"""
        import sys, threading
        import goroutines as G
        how = {how!r}
        """
        """
        def tracer(frame, event, arg):
            return None
        def change(hook):
            if how == "settrace":
                threading.settrace(hook)
            elif how == "attribute":
                threading._trace_hook = hook
            else:
                vars(threading).update(_trace_hook=hook)
        def main():
            seen = G.Chan()
            def look():
                seen.send(sys.gettrace() is tracer)
            answers = []
            for hook in [None, tracer, None, None, tracer, tracer, None]:
                change(hook)
                for _ in range(2):
                    G.go(look)
                    answers.append(seen.recv())
            print(*map(int, answers))
        G.run(main)
        """,
        "0 0 1 1 0 0 0 0 1 1 1 1 0 0",
    )


def test_a_goroutine_that_leaves_an_event_loop_behind_leaves_none_to_the_next():
    prints(
        """
        import goroutines as G
        def main():
            over = G.Chan()
            def quick():
                over.send(None)
            G.go(quick)  # before asyncio is imported
            over.recv()
            import asyncio
            loop = asyncio.new_event_loop()
            def leave():
                asyncio._set_running_loop(loop)
                over.send(None)
            def look():
                over.send(asyncio._get_running_loop())
            for _ in range(3):
                G.go(leave)
                over.recv()
                G.gosched()
                G.go(look)
                print(over.recv())
            loop.close()
        G.run(main)
        """,
        "None\nNone\nNone",
    )
