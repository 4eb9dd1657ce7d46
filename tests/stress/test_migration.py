"""What belongs to a goroutine stays with it while it goes from thread to thread."""

import contextvars
import decimal
import sys
import threading
import time
import traceback

from goroutines import Chan, go, gosched, lock_os_thread, recv, select, sleep, unlock_os_thread

from .load import amount, crowd, dice, execute, on_all_procs

local = threading.local()
var: contextvars.ContextVar = contextvars.ContextVar("var", default=None)


def park(rng):
    """One of the ways to lose the thread."""
    x = rng.randrange(6)
    if x == 0:
        gosched()
    elif x == 1:
        sleep(rng.choice([0, 1e-5, 3e-4]))
    elif x == 2:
        c = Chan(int)
        go(c.send, 1)
        assert c.recv() == 1
    elif x == 3:
        c = Chan(int, 1)
        go(c.send, 1)
        assert select(recv(Chan()), recv(c)) == (1, 1, True)
    elif x == 4:
        try:
            Chan().recv(timeout=1e-4)
        except TimeoutError:
            pass
    else:
        time.sleep(1e-4)
        gosched()


@on_all_procs
def test_everything_that_is_a_goroutines_own(procs):
    rng = dice()

    def main():
        def body(i):
            mine = rng.child(i)
            seen = set()
            local.value = var_value = ("mine", i)
            token = var.set(var_value)
            decimal.getcontext().prec = 5 + i % 20
            try:
                raise KeyError(i)
            except KeyError as error:
                for _ in range(amount(12)):
                    park(mine)
                    seen.add(threading.get_native_id())
                    assert local.value == ("mine", i)
                    assert var.get() == ("mine", i)
                    assert decimal.getcontext().prec == 5 + i % 20
                    assert sys.exc_info()[1] is error
            assert sys.exc_info()[1] is None
            var.reset(token)
            assert var.get() is None
            return len(seen)

        return crowd(40, body)

    assert len(execute(procs, main)) == 40


@on_all_procs
def test_generators_are_handed_round(procs):
    rng = dice()

    def main():
        def numbers(i):
            mine = rng.child(i)
            for k in range(amount(15)):
                try:
                    park(mine)
                    yield k
                except GeneratorExit:
                    raise
                finally:
                    local.last = k

        def body(i):
            generator, out = numbers(i), Chan(int)
            got = []
            for _ in range(amount(15)):
                go(lambda: out.send(next(generator)))
                got.append(out.recv())
            generator.close()
            return got == list(range(amount(15)))

        return crowd(15, body)

    assert all(execute(procs, main))


@on_all_procs
def test_exceptions_in_flight(procs):
    """A chain of handlers, each of which parks: contexts and tracebacks are those of the chain."""
    rng = dice()

    def main():
        def body(i):
            mine = rng.child(i)

            def fail(depth):
                if depth == 0:
                    park(mine)
                    raise KeyError(i, 0)
                try:
                    fail(depth - 1)
                except KeyError as error:
                    park(mine)
                    raise KeyError(i, depth) from error
                finally:
                    park(mine)

            for _ in range(amount(4)):
                try:
                    fail(4)
                except KeyError as error:
                    chain = []
                    while error is not None:
                        chain.append(error.args)
                        names = {f.name for f in traceback.extract_tb(error.__traceback__)}
                        assert names <= {"body", "fail"}
                        error = error.__cause__
                    assert chain == [(i, d) for d in (4, 3, 2, 1, 0)]
            return 1

        return sum(crowd(25, body))

    assert execute(procs, main) == 25


@on_all_procs
def test_deep_stacks(procs):
    """Deep recursion that parks at the bottom and on its way back."""
    rng = dice()

    def main():
        def down(n, mine):
            if n == 0:
                park(mine)
                return 0
            value = down(n - 1, mine) + 1
            if n % 50 == 0:
                park(mine)
            return value

        def body(i):
            mine = rng.child(i)
            depth = mine.randint(1, 400)
            return all(down(depth, mine) == depth for _ in range(amount(3)))

        return crowd(30, body)

    assert all(execute(procs, main))


@on_all_procs
def test_locked_ones_among_them(procs):
    rng = dice()

    def main():
        def body(i):
            mine = rng.child(i)
            for _ in range(amount(4)):
                lock_os_thread()
                tid = threading.get_native_id()
                for _ in range(4):
                    park(mine)
                    assert threading.get_native_id() == tid
                unlock_os_thread()
                park(mine)
            return 1

        return sum(crowd(20, body))

    assert execute(procs, main) == 20


@on_all_procs
def test_the_thread_is_the_same_between_two_library_calls(procs):
    def main():
        def body(i):
            for _ in range(amount(10)):
                tid = threading.get_native_id()
                time.sleep(0.0002)
                sum(range(2000))
                with open("/dev/null", "rb") as f:
                    f.read()
                assert threading.get_native_id() == tid
                gosched()
            return 1

        return sum(crowd(40, body))

    assert execute(procs, main) == 40


@on_all_procs
def test_callbacks_of_c_code(procs):
    rng = dice()

    def main():
        def body(i):
            mine = rng.child(i)

            def key(v):
                park(mine)
                return -v

            values = [mine.randrange(1000) for _ in range(8)]
            return all(
                sorted(values, key=key) == sorted(values, reverse=True) for _ in range(amount(3))
            )

        return crowd(25, body)

    assert all(execute(procs, main))
