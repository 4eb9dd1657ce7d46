"""goroutines.debug: stats() and stacks()."""

import inspect
import os
import re
import threading
import time
import typing

import goroutines
import pytest
from goroutines import (
    Chan,
    after,
    debug,
    go,
    gosched,
    lock_os_thread,
    num_goroutine,
    recv,
    run,
    select,
    send,
    sleep,
)
from helpers import eventually, in_run, on_procs

from .support import PLACES, at, full, line_of, parked, spawn

HERE = (lambda: None).__code__.co_filename

FIELDS = (
    "procs",
    "threads",
    "idle_threads",
    "goroutines",
    "runnable",
    "started",
    "finished",
    "switches",
    "steals",
    "handoffs",
    "preemptions",
)
COUNTERS = FIELDS[5:]

# ------------------------------------------------------------------ stats


@pytest.mark.parametrize("place", PLACES)
def test_the_fields(place):
    s = at(place, debug.stats)
    assert type(s).__name__ == "Stats" and isinstance(s, tuple)
    assert s._fields == FIELDS
    assert type(s) is debug.Stats
    for name in FIELDS:
        value = getattr(s, name)
        if name == "runnable":
            assert type(value) is tuple and all(type(n) is int and n >= 0 for n in value)
        else:
            assert type(value) is int and value >= 0
    assert len(s.runnable) == s.procs + 1
    assert s.idle_threads <= s.threads


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_procs(n):
    s = on_procs(n, debug.stats)
    assert s.procs == n and len(s.runnable) == n + 1


@in_run
def test_goroutines_is_num_goroutine():
    gate = Chan()
    for _ in range(17):
        go(gate.recv_ok)
    assert debug.stats().goroutines == num_goroutine() == 18
    gate.close()
    assert eventually(lambda: debug.stats().goroutines == 1)


def test_a_main_goroutine_counts_as_started():
    before = debug.stats()
    run(lambda: None)
    after_ = debug.stats()
    assert after_.started - before.started == 1
    assert after_.finished - before.finished == 1


def test_counters_only_grow():
    seen = [debug.stats()]

    def main():
        for _ in range(20):
            over = Chan()
            for _ in range(10):
                go(over.send, None)
            for _ in range(10):
                over.recv()
            time.sleep(0.001)
            seen.append(debug.stats())

    run(main)
    seen.append(debug.stats())
    for name in COUNTERS:
        values = [getattr(s, name) for s in seen]
        assert values == sorted(values), name


def test_started_less_finished_is_alive():
    def main():
        gate = Chan()
        for _ in range(10):
            go(gate.recv_ok)
        parked(10)
        s = debug.stats()
        gate.close()
        return s

    s = run(main)
    assert s.started - s.finished == s.goroutines == 11


@pytest.mark.parametrize("n_procs", [1, 4])
def test_switches_are_counted(n_procs):
    def main():
        ping, pong = Chan(int), Chan(int)
        go(lambda: [pong.send(v) for v in ping])
        before = debug.stats().switches
        for i in range(300):
            ping.send(i)
            pong.recv()
        return debug.stats().switches - before

    assert on_procs(n_procs, main) >= 300


def test_threads_are_those_of_the_system():
    def main():
        over = Chan()
        for _ in range(10):
            go(lambda: [time.sleep(0.2), over.send(None)])
        parked(10, "blocked")
        s, tasks = debug.stats(), len(os.listdir("/proc/self/task"))
        for _ in range(10):
            over.recv()
        return s, tasks

    s, tasks = run(main)
    assert 10 <= s.threads <= tasks


def test_stats_of_two_moments_can_be_compared():
    a = debug.stats()
    assert a == a and hash(a) == hash(a)
    assert a._replace(procs=99).procs == 99
    assert "procs=" in repr(a)


# ------------------------------------------------------------------ stacks

HEAD = re.compile(r"goroutine (\d+) \[([^\],]+)(?:, (\d+(?:\.\d+)?)s)?\]:")
FRAME = re.compile(r'  File "(.+)", line (\d+), in (.+)')
CREATED = re.compile(r"created at (.+):(\d+) in (.+)")


class Frame(typing.NamedTuple):
    file: str
    line: int
    name: str
    source: str


class Block(typing.NamedTuple):
    number: int
    reason: str
    seconds: float | None
    frames: list[Frame]
    created: tuple[str, int, str] | None

    def names(self):
        return [f.name.rpartition(".")[2] for f in self.frames]


def blocks(text):
    """The parts of stacks(); AssertionError where it is not of the form."""
    return [block(part) for part in text.strip("\n").split("\n\n") if part]


def block(part):
    first, *lines = part.split("\n")
    head = HEAD.fullmatch(first)
    assert head, first
    frames, created = [], None
    for line in lines:
        assert created is None, f"something after `created at`:\n{part}"
        if m := FRAME.fullmatch(line):
            frames.append(Frame(m[1], int(m[2]), m[3], ""))
        elif m := CREATED.fullmatch(line):
            created = (m[1], int(m[2]), m[3].rpartition(".")[2])
        else:
            assert line.startswith("    ") and frames, f"{line!r} in\n{part}"
            if not frames[-1].source:
                frames[-1] = frames[-1]._replace(source=line.strip())
    return Block(int(head[1]), head[2], head[3] and float(head[3]), frames, created)


def block_of(name, text=None):
    (found,) = [b for b in blocks(text or debug.stacks()) if name in b.names()]
    return found


def the_worker(jobs):
    return the_inner(jobs)


def the_inner(jobs):
    page = jobs.recv_ok()  # the line that is shown
    return page


def the_creator(jobs):
    go(the_worker, jobs)


@in_run
def test_a_block():
    jobs = Chan()
    the_creator(jobs)
    parked()
    b = block_of("the_inner")
    assert b.reason == "chan receive"
    assert b.names()[-2:] == ["the_worker", "the_inner"], "most recent call last"
    assert b.frames[-1] == Frame(
        HERE, line_of(the_inner), "the_inner", inspect.getsource(the_inner).split("\n")[1].strip()
    )
    assert b.frames[-2].line == line_of(the_worker)
    assert b.created == (HERE, line_of(the_creator), "the_creator")
    jobs.close()


@in_run
def test_numbers_are_distinct_and_kept():
    gate = Chan()
    for _ in range(10):
        go(gate.recv_ok)
    parked(10)
    first = [b.number for b in blocks(debug.stacks())]
    second = [b.number for b in blocks(debug.stacks())]
    assert sorted(first) == sorted(second)
    assert len(set(first)) == 11
    gate.close()


@in_run
def test_a_number_is_not_used_again():
    def number():
        return max(b.number for b in blocks(debug.stacks()))

    seen = []
    for _ in range(5):
        gate = Chan()
        go(gate.recv_ok)
        parked()
        seen.append(number())
        gate.close()
        assert eventually(lambda: num_goroutine() == 1)
    assert seen == sorted(set(seen))


def recv_waits():
    Chan().recv()


def recv_ok_waits():
    Chan().recv_ok()


def send_waits():
    Chan().send(1)


def full_waits():
    full(1).send(2)


def iteration_waits():
    for _ in Chan():
        pass


def select_waits():
    select(recv(Chan()), send(Chan(), 1))


def empty_select_waits():
    select()


def sleep_waits():
    sleep(600)


def after_waits():
    after(600).recv()


REASONS = {
    recv_waits: "chan receive",
    recv_ok_waits: "chan receive",
    send_waits: "chan send",
    full_waits: "chan send",
    iteration_waits: "chan receive",
    select_waits: "select",
    empty_select_waits: "select (no cases)",
    sleep_waits: "sleep",
    after_waits: "chan receive",
}


@pytest.mark.parametrize("fn", REASONS, ids=lambda f: f.__name__)
@in_run
def test_the_reason_and_the_time(fn):
    go(fn)
    parked(1, REASONS[fn])
    first = block_of(fn.__name__)
    sleep(0.25)
    second = block_of(fn.__name__)
    assert first.reason == second.reason == REASONS[fn]
    assert first.frames[-1].line == line_of(fn)
    assert (first.seconds or 0.0) < second.seconds
    assert 0.2 <= second.seconds < 30


@in_run
def test_the_caller_is_running():
    b = block_of("test_the_caller_is_running")
    assert b.reason == "running"
    assert b.seconds is None


@in_run
def test_one_that_computes():
    stop = []

    def the_computer():
        while not stop:
            pass

    go(the_computer)

    def seen():
        found = [b for b in blocks(debug.stacks()) if "the_computer" in b.names()]
        return found and found[0].reason in ("running", "runnable")

    assert eventually(seen)
    stop.append(1)


def test_one_that_has_not_begun_is_runnable():
    def main():
        go(int)
        return [b.reason for b in blocks(debug.stacks())]

    # Now and then main is preempted between the two.
    assert any("runnable" in on_procs(1, main) for _ in range(10))


def blocked_here(lock):
    lock.acquire()


@in_run
def test_one_that_is_blocked_outside_the_interpreter():
    lock = threading.Lock()
    lock.acquire()
    go(blocked_here, lock)
    parked(1, "blocked")
    b = block_of("blocked_here")
    assert b.frames[-1].line == line_of(blocked_here)
    lock.release()


@in_run
def test_every_goroutine_is_shown():
    gate = Chan()
    for _ in range(300):
        go(gate.recv_ok)
    parked(300)
    found = blocks(debug.stacks())
    assert len(found) == num_goroutine() == 301
    gate.close()


def test_no_goroutine():
    assert debug.stacks() == ""
    assert blocks(debug.stacks()) == []


@pytest.mark.parametrize("place", PLACES)
def test_from_every_place(place):
    def body():
        gate = Chan()
        go(the_inner, gate)
        assert eventually(lambda: any("the_inner" in b.names() for b in blocks(debug.stacks())))
        b = block_of("the_inner")
        gate.close()
        return b.created[2]

    assert at(place, body).endswith("body")


@in_run
def test_a_deep_stack():
    gate = Chan()

    def down(n):
        return gate.recv_ok() if n == 0 else down(n - 1)

    go(down, 150)
    parked()
    b = block_of("down")
    assert b.names().count("down") == 151
    gate.close()


@in_run
def test_frames_under_c_code_and_generators():
    gate = Chan()

    def numbers():
        yield gate.recv_ok()

    def through_c():
        return sorted([1, 2], key=lambda x: list(numbers()))

    go(through_c)
    parked()
    names = block_of("through_c").names()
    assert [n for n in names if n != "<lambda>"][-2:] == ["through_c", "numbers"]
    gate.close()


@in_run
def test_a_wired_goroutine():
    gate = Chan()

    def wired():
        lock_os_thread()
        gate.recv_ok()

    go(wired)
    parked()
    assert block_of("wired").reason == "chan receive"
    gate.close()


def test_source_that_is_not_there():
    namespace = {"goroutines": goroutines}
    exec(compile("def ghost(c):\n    c.recv_ok()\n", "no such file.py", "exec"), namespace)

    def main():
        c = Chan()
        go(namespace["ghost"], c)
        parked()
        b = block_of("ghost")
        c.close()
        return b.frames[-1]

    assert run(main) == Frame("no such file.py", 2, "ghost", "")


@pytest.mark.parametrize("n_procs", [1, 4])
def test_looking_while_goroutines_come_and_go(n_procs):
    stop, seen = [], []

    def looks():
        while not stop:
            seen.append((debug.stats(), len(blocks(debug.stacks()))))

    def main():
        out = Chan(int)
        for i in range(1500):
            go(lambda i=i: [gosched(), out.send(i)])
            if i % 10 == 0:
                gosched()
        return sum(out.recv() for _ in range(1500))

    thread = spawn(looks)
    try:
        assert on_procs(n_procs, main) == 1500 * 1499 // 2
    finally:
        stop.append(1)
        thread.join(30)
    assert seen
    assert all(s.goroutines <= 1501 and shown <= 1501 for s, shown in seen)


def test_the_module_is_an_attribute_of_the_package():
    assert goroutines.debug is debug
