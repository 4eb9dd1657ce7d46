"""A long run of everything at once, mixed at random.

    python tools/soak.py SECONDS [--seed N] [--procs N]

Each round is one run(): some goroutines that each do a few of the activities below, picked by a
seed of the round's own.  One line a minute: rounds, goroutines, memory, threads, errors.  Exit code
0 if nothing went wrong, memory and threads have stayed what they were, and everything has ended.

Each wait has a deadline.  A round that hangs writes every goroutine's stack and every thread's to
stderr and ends the process; its seed is in the message, and `--seed` begins with it.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import faulthandler
import gc
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable

import goroutines as G

DEADLINE = 60.0  # of any wait
ROUND = 150.0  # of a round; then it hangs
MEMBERS = 12
STEPS = 5
# Where memory and threads must have settled, as a part of the time, and by how much they may grow.
WARM_UP = 0.4
MAY_GROW_KB = 12 * 1024
MAY_GROW_THREADS = 4

Dice = random.Random

# Recursion through C fills a stack with pages that stay. The big ones of old versions would take
# hours until each has had its turn, and memory is flat.
SMALL_STACKS = sys.version_info >= (3, 14)


class Hit(Exception):
    """Raised on purpose."""


class Handled(Exception):
    """Raised by a signal handler."""


# ---- activities: each raises if something is not as it must be ----


def values_arrive(dice: Dice) -> None:
    n, capacity = dice.randrange(1, 200), dice.choice([0, 0, 1, 16])
    ch = G.Chan(int, capacity, by_value=dice.random() < 0.2)

    def sender() -> None:
        for i in range(n):
            ch.send(i, timeout=DEADLINE)
        ch.close()

    G.go(sender)
    got = []
    while (pair := ch.recv_ok(timeout=DEADLINE))[1]:
        got.append(pair[0])
    assert got == list(range(n)), got


def selects(dice: Dice) -> None:
    chans = [G.Chan(int, dice.choice([0, 2])) for _ in range(dice.randrange(1, 6))]
    n = dice.randrange(1, 60)
    for ch in chans:
        G.go(lambda ch=ch: [ch.send(i, timeout=DEADLINE) for i in range(n)])
    total = 0
    for _ in range(n * len(chans)):
        total += G.select(*[G.recv(ch) for ch in chans], timeout=DEADLINE).value
    assert total == len(chans) * n * (n - 1) // 2, total


def times_out(dice: Dice) -> None:
    ch = G.Chan(int)
    for _ in range(dice.randrange(1, 10)):
        try:
            if dice.random() < 0.5:
                ch.recv(timeout=dice.random() * 0.002)
            else:
                G.select(G.recv(ch), G.send(ch, 1), timeout=dice.random() * 0.002)
        except TimeoutError:
            continue
        raise AssertionError("a value out of nowhere")


def timers(dice: Dice) -> None:
    fired = G.Chan(int, 100)
    kept = [G.after_func(dice.random() * 0.003, fired.send, i) for i in range(10)]
    stopped = sum(t.stop() for t in kept if dice.random() < 0.5)
    for _ in range(10 - stopped):
        fired.recv(timeout=DEADLINE)
    with G.Ticker(0.0005) as ticker:
        for _ in range(3):
            ticker.chan.recv(timeout=DEADLINE)
    t = G.Timer(100)
    t.reset(0.0005)
    t.chan.recv(timeout=DEADLINE)
    G.after(0.001).recv(timeout=DEADLINE)


def cancels(dice: Dice) -> None:
    """Members that wait in all kinds of ways until a channel is closed."""
    done, ended = G.Chan(), G.Chan(int, 100)
    n = dice.randrange(1, 40)

    def member() -> None:
        try:
            while True:
                index, _, ok = G.select(G.recv(done), G.recv(G.after(dice.random() * 0.002)))
                if index == 0 and not ok:
                    return
        finally:
            ended.send(1, timeout=DEADLINE)

    for _ in range(n):
        G.go(member)
    G.sleep(dice.random() * 0.003)
    done.close()
    assert sum(ended.recv(timeout=DEADLINE) for _ in range(n)) == n


def escapes(dice: Dice) -> None:
    """Exceptions on purpose; the hook counts them."""

    def fails() -> None:
        raise Hit

    before = hits
    n = dice.randrange(1, 5)
    for _ in range(n):
        G.go(fails)
    wait_until(lambda: hits >= before + n)


def foreign_threads(dice: Dice) -> None:
    a, b = G.Chan(int), G.Chan(int)

    def thread() -> None:
        try:
            for i in a:
                b.send(i + 1, timeout=DEADLINE)
        except G.ChannelClosed:
            pass  # the round was ended

    t = threading.Thread(target=thread)
    try:
        t.start()
        for i in range(20):
            a.send(i, timeout=DEADLINE)
            assert b.recv(timeout=DEADLINE) == i + 1
    finally:
        a.close()
        b.close()
    t.join(DEADLINE)


def blocking_calls(dice: Dice) -> None:
    r, w = os.pipe()
    over = G.Chan(capacity=1)
    G.go(lambda: over.send(os.read(r, 10)))
    time.sleep(dice.random() * 0.002)
    os.write(w, b"x")
    assert over.recv(timeout=DEADLINE) == b"x"
    os.close(r)
    os.close(w)


def sqlite_callbacks(dice: Dice) -> None:
    ch = G.Chan(int)
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    n = dice.randrange(1, 20)
    G.go(lambda: [ch.send(i, timeout=DEADLINE) for i in range(n)])
    connection.create_function("nextvalue", 0, lambda: ch.recv(timeout=DEADLINE))
    got = [connection.execute("select nextvalue()").fetchone()[0] for _ in range(n)]
    connection.close()
    assert got == list(range(n))


COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))


def ctypes_callbacks(dice: Dice) -> None:
    def compare(a: ctypes._Pointer[ctypes.c_int], b: ctypes._Pointer[ctypes.c_int]) -> int:
        G.sleep(0.0001)
        return a[0] - b[0]

    n = 8
    values = (ctypes.c_int * n)(*[dice.randrange(100) for _ in range(n)])
    ctypes.CDLL(None).qsort(values, n, ctypes.sizeof(ctypes.c_int), COMPARE(compare))
    assert list(values) == sorted(values)


def event_loop(dice: Dice) -> None:
    ch = G.Chan(int, 1)

    async def main() -> int:
        await asyncio.sleep(0.001)
        ch.send(1, timeout=DEADLINE)
        return ch.recv(timeout=DEADLINE) + await asyncio.to_thread(lambda: 2)

    assert asyncio.run(main()) == 3


def processes(dice: Dice) -> None:
    code = dice.randrange(1, 100)
    done = subprocess.run(["/bin/sh", "-c", f"exit {code}"], timeout=DEADLINE, check=False)
    assert done.returncode == code


def forks(dice: Dice) -> None:
    # An exception may come from outside at any place, in the child, too.
    parent, code = os.getpid(), 1
    try:
        pid = os.fork()
        if pid == 0:
            signal.alarm(int(DEADLINE))
            ch = G.Chan(int)
            G.go(lambda: [G.sleep(0.001), ch.send(7, timeout=DEADLINE)])
            code = ch.recv(timeout=DEADLINE)
    finally:
        if os.getpid() != parent:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def collects(dice: Dice) -> None:
    for _ in range(dice.randrange(1, 5)):
        ch = G.Chan(capacity=2)
        ch.send([ch])
        ch.send(ch.receiver)
        del ch
        gc.collect(dice.randrange(3))


def changes_procs(dice: Dice) -> None:
    G.gomaxprocs(dice.choice([1, 2, 3, 4, 8]))


def locks_thread(dice: Dice) -> None:
    G.lock_os_thread()
    thread = threading.get_native_id()
    G.sleep(0.001)
    values_arrive(dice)
    assert threading.get_native_id() == thread
    if dice.random() < 0.9:
        G.unlock_os_thread()


def recurses(dice: Dice) -> None:
    class Deep:
        def __getattr__(self, name: str) -> object:
            return getattr(self, name + "x")

    def endless(n: int) -> int:
        return endless(n + 1) + 1

    for runaway in [lambda: endless(0), lambda: Deep().a][: 1 + SMALL_STACKS]:
        try:
            runaway()
        except RecursionError:
            continue
        raise AssertionError("no RecursionError")


def computes(dice: Dice) -> None:
    end = time.monotonic() + dice.random() * 0.02
    while time.monotonic() < end:
        sum(range(100))


def pauses_in_frames(dice: Dice) -> None:
    got = sorted(range(5), key=lambda i: [G.sleep(0.0002), -i][1])
    assert got == [4, 3, 2, 1, 0]


def is_ended(dice: Dice) -> None:
    """Left parked, asleep or blocked: the end of the round is its end."""
    G.go(dice.choice([G.select, lambda: G.sleep(1000), lambda: G.Chan().send(1)]))
    G.go(time.sleep, dice.random() * 0.05)


ACTIVITIES: list[Callable[[Dice], None]] = [
    values_arrive,
    selects,
    times_out,
    timers,
    cancels,
    escapes,
    foreign_threads,
    blocking_calls,
    sqlite_callbacks,
    ctypes_callbacks,
    event_loop,
    processes,
    forks,
    collects,
    changes_procs,
    locks_thread,
    recurses,
    computes,
    pauses_in_frames,
    is_ended,
]

# ---- a round ----

hits = 0
errors: list[str] = []
cut_short: set[int] = set()  # rounds that ended before their members did


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "a wait is over its deadline"
        G.sleep(0.001)


def hook(args: G.ExceptHookArgs) -> None:
    global hits
    if args.exc_type is Hit:
        hits += 1
    else:
        errors.append("".join(traceback.format_exception(args.exc_value)))


def note_error(what: str, seed: int) -> None:
    if seed in cut_short:
        return  # callbacks from C that were ended have no result
    errors.append(what)
    print(f"error in the round of seed {seed}:\n{what}", file=sys.stderr, flush=True)


def play(seed: int) -> None:
    """One round's main goroutine."""
    dice, over, ended = Dice(seed), G.Chan(int, MEMBERS), list[int]()

    def member(i: int) -> None:
        mine = Dice(seed * 1000 + i)
        try:
            for activity in mine.choices(ACTIVITIES, k=STEPS):
                if seed in cut_short:
                    break  # a callback from C has swallowed the GoroutineExit
                activity(mine)
        except Exception:
            note_error(f"{activity.__name__}: {traceback.format_exc()}", seed)
        finally:
            ended.append(i)
            over.send(i, timeout=DEADLINE)

    for i in range(MEMBERS):
        G.go(member, i)
    early = dice.random() < 0.1
    wanted = dice.randrange(MEMBERS) if early else MEMBERS
    interrupt = dice.random() < 0.3
    try:
        while len(ended) < wanted:
            try:
                if interrupt:
                    interrupt = False
                    signal.setitimer(signal.ITIMER_REAL, 0.001 + dice.random() * 0.05)
                over.recv(timeout=1)  # an exception may come before its value is kept
            except (Handled, TimeoutError):
                pass
    finally:
        if len(ended) < MEMBERS:
            cut_short.add(seed)


def unraisable(args: sys.UnraisableHookArgs) -> None:
    # In callbacks from C and in finalizers; event loops that were ended half made or half closed.
    event_loop = "EventLoop" in f"{args.object!r} {args.err_msg}"  # 3.15 has it in the message
    # Until 3.12 an exception at a callback's first bytecode has not become GoroutineExit yet.
    is_exit = args.exc_type is G.GoroutineExit or args.exc_type.__name__ == "_Delivery"
    if not is_exit and args.exc_type is not Handled and not event_loop:
        sys.__unraisablehook__(args)
        errors.append(str(args.exc_value))


def one_round(seed: int) -> None:
    try:
        G.run(play, seed)
    except Handled:
        pass  # as main ended
    except BaseException:
        note_error(f"the round: {traceback.format_exc()}", seed)
    signal.setitimer(signal.ITIMER_REAL, 0)


def handler(signum: int, frame: object) -> None:
    raise Handled


# ---- watching ----


def hung(seed: int) -> None:
    """By a thread, when a round is over its time."""
    print(f"the round of seed {seed} hangs\n{G.debug.stacks()}\n{G.debug.stats()}", file=sys.stderr)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(2)


class Watch:
    """A thread that ends the process when beat() does not come in time.

    While it is there the runtime finds no deadlock, as another thread could wake somebody.
    """

    def __init__(self) -> None:
        self.seed, self.since = 0, time.monotonic()
        threading.Thread(target=self.run, daemon=True, name="watch").start()
        # If even the GIL cannot be had:
        faulthandler.dump_traceback_later(2 * ROUND, exit=True)

    def beat(self, seed: int) -> None:
        self.seed, self.since = seed, time.monotonic()
        faulthandler.dump_traceback_later(2 * ROUND, exit=True)

    def run(self) -> None:
        while True:
            time.sleep(1)
            if time.monotonic() - self.since > ROUND:
                hung(self.seed)


def memory_kb() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def settled_threads() -> int:
    """Threads that are about to end have a moment for it."""
    return min(threads() for _ in range(5) if not time.sleep(0.01))


class Samples:
    """Memory and threads over time: the lowest after warming up and at the end are compared."""

    def __init__(self, seconds: float) -> None:
        self.begin, self.seconds = time.monotonic(), seconds
        self.all: list[tuple[float, int, int]] = []

    def add(self) -> None:
        gc.collect()
        # What malloc keeps for each thread that has been is no leak.
        ctypes.CDLL(None).malloc_trim(0)
        passed = time.monotonic() - self.begin
        self.all.append((passed / self.seconds, memory_kb(), settled_threads()))

    def between(self, lo: float, hi: float) -> tuple[int, int]:
        part = [s for s in self.all if lo <= s[0] <= hi] or self.all
        return min(s[1] for s in part), min(s[2] for s in part)

    def growth(self) -> tuple[int, int]:
        before, after = self.between(WARM_UP, WARM_UP + 0.2), self.between(0.8, 2)
        return after[0] - before[0], after[1] - before[1]


def report(begin: float, rounds: int) -> None:
    print(
        f"{time.monotonic() - begin:6.0f} s: {rounds} rounds, "
        f"{G.debug.stats().started} goroutines, {memory_kb() // 1024} MB, "
        f"{threads()} threads, {len(errors)} errors",
        flush=True,
    )


def soak(seconds: float, seed: int) -> int:
    watch, samples, begin = Watch(), Samples(seconds), time.monotonic()
    rounds, next_line, next_sample = 0, begin + 60, begin
    while time.monotonic() - begin < seconds:
        watch.beat(seed + rounds)
        one_round(seed + rounds)
        rounds += 1
        now = time.monotonic()
        if now >= next_sample:
            samples.add()
            next_sample = now + max(0.5, seconds / 200)
        if now >= next_line:
            report(begin, rounds)
            next_line = now + 60
    samples.add()
    report(begin, rounds)
    memory, more_threads = samples.growth()
    alive = G.num_goroutine()
    print(f"seed {seed}: memory {memory:+} KB, threads {more_threads:+}, {alive} alive", flush=True)
    flat = memory <= MAY_GROW_KB and more_threads <= MAY_GROW_THREADS
    good = not errors and flat and alive == 0 and rounds > 0
    print("good" if good else "NOT GOOD", flush=True)
    return 0 if good else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--procs", type=int)
    args = parser.parse_args()
    if args.procs:
        G.gomaxprocs(args.procs)
    faulthandler.enable()
    # Of event loops that were cut short.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    # From 3.12 on fork() warns in a process with threads.
    warnings.simplefilter("ignore", DeprecationWarning)
    signal.signal(signal.SIGALRM, handler)
    G.excepthook = hook
    sys.unraisablehook = unraisable
    print(f"Python {sys.version.split()[0]}, seed {args.seed}, {G.gomaxprocs()} Ps", flush=True)
    return soak(args.seconds, args.seed)


if __name__ == "__main__":
    sys.exit(main())
