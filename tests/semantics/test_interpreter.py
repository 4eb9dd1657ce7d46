"""The rest of the interpreter, seen from goroutines: whatever Python and its C code do may park."""

import bisect
import functools
import gc
import heapq
import io
import itertools
import json
import operator
import re
import resource
import sys
import tempfile
import traceback
import weakref

import pytest
from goroutines import Chan, go, gosched, lock_os_thread, run, sleep
from helpers import eventually, in_run, on_procs

from .support import parked


def feeding(*values):
    """A channel on which another goroutine sends these values, one by one."""
    c = Chan()

    def feeder():
        for v in values:
            c.send(v)
            gosched()

    go(feeder)
    return c


# ------------------------------------------------------------------ generators and coroutines


@in_run
def test_a_generator_is_resumed_by_one_goroutine_after_another():
    def numbers():
        for i in range(20):
            sleep(0.0005)
            yield i

    numbers = numbers()
    turn = Chan(int)
    got = []
    for _ in range(20):
        go(lambda: turn.send(next(numbers)))
        got.append(turn.recv())
    assert got == list(range(20))


@in_run
def test_two_goroutines_in_one_generator_at_once():
    gate = Chan()

    def waits():
        yield gate.recv()

    generator = waits()
    out = Chan(object)
    go(lambda: out.send(next(generator)))
    parked()
    with pytest.raises(ValueError, match="already executing"):
        next(generator)
    gate.send("value")
    assert out.recv() == "value"


@in_run
def test_throw_close_and_send_from_other_goroutines():
    log = Chan(str, 10)

    def body():
        try:
            while True:
                try:
                    log.send(f"got {(yield)}")
                except KeyError:
                    log.send("thrown")
        finally:
            sleep(0.001)
            log.send("closed")

    generator = body()
    over = Chan()

    def each(fn, *args):
        fn(*args)
        over.send(None)

    for fn, *args in [
        (next, generator),
        (generator.send, 1),
        (generator.throw, KeyError),
        (generator.close,),
    ]:
        go(each, fn, *args)
        over.recv()
    assert [log.recv() for _ in range(3)] == ["got 1", "thrown", "closed"]


@in_run
def test_yield_from_over_goroutines():
    c = feeding(1, 2, 3)

    def inner():
        yield c.recv()
        yield c.recv()
        return c.recv()

    def outer():
        yield (yield from inner())

    assert list(outer()) == [1, 2, 3]


@in_run
def test_a_coroutine_driven_by_hand_may_park():
    c = feeding(5)

    async def body():
        return c.recv() + 1

    coroutine = body()
    with pytest.raises(StopIteration) as caught:
        coroutine.send(None)
    assert caught.value.value == 6


# ------------------------------------------------------------------ C code that calls back

CALLBACKS = {
    "sorted": (lambda c: sorted("abcde", key=lambda _: c.recv()), (3, 1, 2, 5, 4), list("bcaed")),
    "list.sort": (lambda c: sort_in_place(c), (2, 1, 3), [10, 5, 20]),
    "max": (lambda c: max("abc", key=lambda _: c.recv()), (1, 3, 2), "b"),
    "map": (lambda c: list(map(lambda x: x + c.recv(), range(3))), (10, 20, 30), [10, 21, 32]),
    "filter": (lambda c: list(filter(lambda _: c.recv(), "abc")), (1, 0, 1), ["a", "c"]),
    "reduce": (lambda c: functools.reduce(lambda a, b: a + b + c.recv(), range(4)), (1, 2, 3), 12),
    "re.sub": (lambda c: re.sub("x", lambda m: c.recv(), "axbxc"), ("1", "2"), "a1b2c"),
    "accumulate": (
        lambda c: list(itertools.accumulate([1, 2, 3], lambda a, b: a + b + c.recv())),
        (10, 20),
        [1, 13, 36],
    ),
    "iter": (lambda c: list(iter(c.recv, "stop")), (1, 2, "stop"), [1, 2]),
    "groupby": (
        lambda c: [k for k, _ in itertools.groupby("abc", lambda _: c.recv())],
        (1, 1, 2),
        [1, 2],
    ),
    "bisect": (lambda c: bisect.bisect([1, 2, 3], 2, key=lambda x: [x, c.recv()][0]), (0, 0), 2),
    "heapq": (lambda c: heapq.nsmallest(2, [3, 1, 2], key=lambda x: -c.recv()), (1, 2, 3), [2, 1]),
    "json hook": (
        lambda c: json.loads('[{}, {"a": {}}]', object_hook=lambda d: c.recv()),
        (1, 2, 3),
        [1, 3],
    ),
    "json default": (lambda c: json.dumps([object()], default=lambda o: c.recv()), (7,), "[7]"),
    "eval": (lambda c: eval("c.recv() + c.recv()", {"c": c}), (1, 2), 3),
    "lru_cache": (lambda c: [cached(c), cached(c)], (5,), [5, 5]),
    "cached_property": (lambda c: [h.value for h in [Holder(c)] for _ in range(2)], (5,), [5, 5]),
    "str.join": (lambda c: "".join(c.recv() for _ in range(3)), ("a", "b", "c"), "abc"),
    "dict by pairs": (
        lambda c: dict((i, c.recv()) for i in range(2)),
        ("x", "y"),
        {0: "x", 1: "y"},
    ),
    "sum with start": (lambda c: sum((c.recv() for _ in range(3)), 100), (1, 2, 3), 106),
    "attrgetter": (lambda c: operator.attrgetter("value")(Holder(c)), (5,), 5),
    "bytes.translate": (lambda c: "ab".translate(Table(c)), ("x", "y"), "xy"),
}


def sort_in_place(c):
    values = [20, 10, 5]
    keys = {20: 3, 10: 1, 5: 2}
    order = {1: None, 2: None, 3: None}

    def key(v):
        order[keys[v]] = c.recv()
        return keys[v]

    values.sort(key=key)
    return values


class Holder:
    def __init__(self, c):
        self.c = c

    @functools.cached_property
    def value(self):
        return self.c.recv()


class Table:
    def __init__(self, c):
        self.c = c

    def __getitem__(self, key):
        return self.c.recv()


@functools.lru_cache
def cached(c):
    return c.recv()


@pytest.mark.parametrize("n_procs", [1, 2, 4])
@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_callback_may_park(kind, n_procs):
    fn, values, expected = CALLBACKS[kind]
    assert on_procs(n_procs, lambda: fn(feeding(*values))) == expected


class Everything:
    """Special methods that wait for a value and return it."""

    def __init__(self, c):
        self.c = c
        self.first = c.recv()

    def __getattr__(self, name):
        return (name, self.__dict__["c"].recv())

    def __len__(self):
        return self.c.recv()

    def __bool__(self):
        return self.c.recv()

    def __hash__(self):
        return self.c.recv()

    def __eq__(self, other):
        return self.c.recv()

    def __lt__(self, other):
        return self.c.recv()

    def __add__(self, other):
        return self.c.recv()

    def __getitem__(self, key):
        return self.c.recv()

    def __contains__(self, item):
        return self.c.recv()

    def __call__(self):
        return self.c.recv()

    def __repr__(self):
        return self.c.recv()

    def __format__(self, spec):
        return self.c.recv()

    def __index__(self):
        return self.c.recv()

    def __iter__(self):
        yield self.c.recv()

    def __enter__(self):
        return self.c.recv()

    def __exit__(self, *_):
        return self.c.recv()

    def __instancecheck__(self, instance):
        return self.c.recv()


SPECIAL = [
    (lambda e: e.missing, "x", ("missing", "x")),
    (len, 7, 7),
    (bool, False, False),
    (hash, 77, 77),
    (lambda e: e == 1, True, True),
    (lambda e: e < 1, True, True),
    (lambda e: e + 1, "sum", "sum"),
    (lambda e: e[0], "item", "item"),
    (lambda e: 1 in e, True, True),
    (lambda e: e(), "called", "called"),
    (repr, "repr", "repr"),
    (lambda e: f"{e}", "format", "format"),
    (lambda e: [10, 20, 30][e], 1, 20),
    (list, None, None),
    (lambda e: isinstance(1, e), True, True),
]


@in_run
def test_special_methods_may_park():
    for fn, value, expected in SPECIAL:
        if fn is list:
            # list() asks for a length first, as a hint.
            assert list(iter(Everything(feeding("first", "only")))) == ["only"]
            continue
        e = Everything(feeding("first", value))
        assert e.first == "first"
        assert fn(e) == expected


@in_run
def test_a_with_statement_may_park_on_its_way_in_and_out():
    c = feeding("first", "entered", True)
    with Everything(c) as got:
        assert got == "entered"
        raise ValueError("swallowed, as __exit__ returns True")


@in_run
def test_descriptors_and_metaclasses_may_park():
    c = feeding("get", "set name", "new", "call")

    class Descriptor:
        def __set_name__(self, owner, name):
            self.got = c.recv()

        def __get__(self, instance, owner):
            return c.recv()

    class Meta(type):
        def __new__(mcs, name, bases, namespace):
            cls = super().__new__(mcs, name, bases, namespace)
            cls.made = c.recv()
            return cls

        def __call__(cls):
            cls.called = c.recv()
            return super().__call__()

    class Thing(metaclass=Meta):
        d = Descriptor()

    assert Thing.__dict__["d"].got == "get"
    assert Thing.made == "set name"
    thing = Thing()
    assert Thing.called == "new"
    assert thing.d == "call"


@in_run
def test_a_finalizer_may_park():
    c, log = Chan(int), []

    class Dies:
        def __del__(self):
            log.append(c.recv())

    def body():
        Dies()
        log.append("after")

    go(body)
    parked()
    c.send(1)
    assert eventually(lambda: log == [1, "after"])


@in_run
def test_a_weakref_callback_may_park():
    c, log = Chan(int), []

    class Thing:
        pass

    def body():
        thing = Thing()
        ref = weakref.ref(thing, lambda r: log.append(c.recv()))
        del thing
        log.append(ref() is None)

    go(body)
    parked()
    c.send(1)
    assert eventually(lambda: log == [1, True])


@in_run
def test_a_finalizer_called_by_the_collector_may_yield():
    log = []

    class Cyclic:
        def __init__(self):
            self.me = self

        def __del__(self):
            gosched()
            sleep(0.001)
            log.append(1)

    for _ in range(10):
        Cyclic()
    gc.collect()
    assert eventually(lambda: len(log) == 10)


# ------------------------------------------------------------------ the garbage collector


@pytest.mark.parametrize("n_procs", [1, 4])
def test_collection_while_thousands_are_parked(n_procs):
    n = 3000

    def main():
        gate, out = Chan(), Chan(int)

        def body(i):
            mine = [i]
            mine.append({"me": mine})
            gate.recv_ok()
            assert mine[1]["me"] is mine
            out.send(mine[0])

        for i in range(n):
            go(body, i)
        parked(n)
        for _ in range(3):
            gc.collect()
        gate.close()
        return sum(out.recv() for _ in range(n))

    assert on_procs(n_procs, main) == n * (n - 1) // 2


@in_run
def test_what_a_parked_goroutine_holds_is_not_collected():
    class Thing:
        pass

    c, refs = Chan(), []

    def body():
        thing = Thing()
        thing.me = thing
        refs.append(weakref.ref(thing))
        c.recv()
        assert thing.me is thing

    for _ in range(20):
        go(body)
    parked(20)
    gc.collect()
    assert all(r() is not None for r in refs)
    for _ in range(20):
        c.send(None)
    assert eventually(lambda: [gc.collect(), all(r() is None for r in refs)][1])


@in_run
def test_a_collector_callback_may_use_channels():
    c = Chan(str, 1000)

    def callback(phase, info):
        c.send(phase)

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)
    assert c.recv() == "start"


# ------------------------------------------------------------------ looking at the stacks


def test_a_traceback_has_the_frames_of_its_goroutine_only():
    def main():
        out = Chan(object)

        def outer():
            try:
                middle()
            except ZeroDivisionError as error:
                out.send([f.name for f in traceback.extract_tb(error.__traceback__)])

        def middle():
            sleep(0.001)
            inner()

        def inner():
            1 / 0

        go(outer)
        return out.recv()

    assert run(main) == ["outer", "middle", "inner"]


def test_extract_stack_ends_at_the_goroutine():
    def main():
        out = Chan(list)

        def the_function():
            out.send([f.name for f in traceback.extract_stack()])

        go(the_function)
        return out.recv()

    names = run(main)
    assert names[-1] == "the_function"
    assert "test_extract_stack_ends_at_the_goroutine" not in names


@in_run
def test_sys_getframe_across_parks():
    out = Chan(bool)

    def outer():
        inner(sys._getframe())

    def inner(expected):
        sleep(0.001)
        out.send(sys._getframe().f_back is expected)

    for _ in range(10):
        go(outer)
    assert all(out.recv() for _ in range(10))


def faults_of_calls(n_locals, depth):
    """Page faults of 200 calls in a row, with that much of the stack filled below them."""

    def callee():
        pass

    def calls():
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        for _ in range(200):
            callee()
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

    def deeper(n):
        return deeper(n - 1) if n else calls()

    names = "".join(f"a{i} = " for i in range(n_locals))
    namespace = {"deeper": deeper}
    exec(f"def base(depth):\n    {names}0\n    return deeper(depth)", namespace)
    return namespace["base"](depth)


@in_run
def test_no_depth_of_calls_makes_the_next_call_map_memory():
    """Each such call would touch a new page: somewhere in this table 200 calls took 200 faults."""
    faults = Chan(int)
    for n_locals in range(1, 15):
        for depth in range(9):
            go(lambda: faults.send(faults_of_calls(n_locals, depth)))
            assert faults.recv() < 100, (n_locals, depth)


# ------------------------------------------------------------------ odds and ends


@in_run
def test_files_and_printing_in_goroutines():
    out = Chan(int)

    def body(i):
        with tempfile.TemporaryFile("w+") as f:
            for k in range(20):
                f.write(f"{i} {k}\n")
                gosched()
            f.seek(0)
            out.send(len(f.readlines()))
        print(i, file=io.StringIO())

    for i in range(20):
        go(body, i)
    assert [out.recv() for _ in range(20)] == [20] * 20


@in_run
def test_classes_defined_at_the_same_time():
    out = Chan(bool)

    def body(i):
        class Local:
            value = i

            def method(self):
                gosched()
                return super().__init__() is None and self.value

        cls = Local
        gosched()
        out.send(cls().method() == i)

    for i in range(50):
        go(body, i)
    assert all(out.recv() for _ in range(50))


def test_lock_os_thread_and_generators():
    def main():
        def numbers():
            lock_os_thread()
            for i in range(5):
                sleep(0.0005)
                yield i

        return list(numbers())

    assert run(main) == list(range(5))
