"""goroutines.sync under load, with timeouts, threads, and goroutines that are told to end."""

import time

import goroutines as G
import pytest
from goroutines.sync import (
    AtomicInt,
    Cond,
    Mutex,
    Once,
    RWMutex,
    Semaphore,
    SingleFlight,
    WaitGroup,
    once_value,
)
from helpers import eventually
from semantics.support import spawn

from .load import amount, crowd, dice, execute, on_all_procs

pytestmark = pytest.mark.hang(120)


def pause(rng):
    """Something that may switch, block or do nothing."""
    match rng.randrange(12):
        case 0:
            G.gosched()
        case 1:
            G.sleep(0.00005)
        case 2:
            time.sleep(0.00005)


class Inside:
    """Who is inside, counted without help: what is guarded by a lock needs none."""

    def __init__(self):
        self.writers = self.entries = 0

    def write(self, rng):
        assert self.writers == 0
        self.writers += 1
        pause(rng)
        self.entries += 1
        self.writers -= 1
        assert self.writers == 0


@on_all_procs
def test_a_mutex(procs):
    rng, n, users = dice(), amount(100, 10), 12

    def main():
        m, inside, late = Mutex(), Inside(), AtomicInt()

        def user(i):
            mine = rng.child(i)
            for _ in range(n):
                if mine.random() < 0.3:
                    if not m.acquire(timeout=mine.choice([0, 0.00001, 0.0005])):
                        late.add()
                        continue
                    inside.write(mine)
                    m.release()
                else:
                    with m:
                        inside.write(mine)
                pause(mine)

        threads = [spawn(user, 100 + i) for i in range(3)]
        crowd(users, user)
        for t in threads:
            while t.is_alive():
                G.sleep(0.001)
        assert inside.entries + late.load() == (users + 3) * n
        assert not m.locked()

    execute(procs, main)


@on_all_procs
def test_an_rwmutex(procs):
    rng, n, users = dice(), amount(80, 10), 12

    def main():
        m, inside, reading = RWMutex(), Inside(), AtomicInt()
        late, reads = AtomicInt(), AtomicInt()

        def read(mine, timeout):
            m.acquire_read(timeout)
            try:
                reading.add(1)
                assert inside.writers == 0
                pause(mine)
                assert inside.writers == 0
                reading.add(-1)
                reads.add()
            finally:
                m.release_read()

        def write(mine, timeout):
            m.acquire_write(timeout)
            try:
                assert reading.load() == 0
                inside.write(mine)
                assert reading.load() == 0
            finally:
                m.release_write()

        def user(i):
            mine = rng.child(i)
            for _ in range(n):
                timeout = mine.choice([None, None, None, 0, 0.0002])
                try:
                    (write if mine.random() < 0.3 else read)(mine, timeout)
                except TimeoutError:
                    late.add()
                pause(mine)

        threads = [spawn(user, 100 + i) for i in range(3)]
        crowd(users, user)
        for t in threads:
            while t.is_alive():
                G.sleep(0.001)
        assert inside.entries + reads.load() + late.load() == (users + 3) * n
        m.acquire_write(timeout=0)

    execute(procs, main)


@on_all_procs
def test_a_semaphore(procs):
    rng, n, users, size = dice(), amount(100, 10), 12, 5

    def main():
        s, out, late = Semaphore(size), AtomicInt(), AtomicInt()

        def user(i):
            mine = rng.child(i)
            for _ in range(n):
                k = mine.randint(1, size)
                if s.acquire(k, timeout=mine.choice([None, None, 0, 0.0001])):
                    assert out.add(k) <= size
                    pause(mine)
                    out.add(-k)
                    s.release(k)
                else:
                    late.add()
                pause(mine)

        threads = [spawn(user, 100 + i) for i in range(3)]
        crowd(users, user)
        for t in threads:
            while t.is_alive():
                G.sleep(0.001)
        assert s.try_acquire(size), repr(s)

    execute(procs, main)


@on_all_procs
def test_a_semaphore_when_the_end_comes_at_any_moment(procs):
    """Permits are not lost, though those who wait are told to end."""
    rng, s = dice(), Semaphore(3)

    def user(i):
        mine = rng.child(i)
        while True:
            with s:
                pause(mine)
            G.gosched()

    for _ in range(amount(6, 2)):

        def main():
            for i in range(20):
                G.go(user, i)
            G.sleep(rng.random() * 0.02)

        execute(procs, main)
        assert s.try_acquire(3), repr(s)
        s.release(3)


@on_all_procs
def test_mutexes_when_the_end_comes_at_any_moment(procs):
    rng, mutexes = dice(), [Mutex() for _ in range(3)]
    inside = [Inside() for _ in mutexes]

    def user(i):
        mine = rng.child(i)
        while True:
            k = mine.randrange(3)
            with mutexes[k]:
                inside[k].write(mine)
            G.gosched()

    entries = 0
    for at_once in [False] + [True] * amount(5, 1):

        def main(shortest=0 if at_once else 0.02):
            for i in range(20):
                G.go(user, i)
            G.sleep(shortest + rng.random() * 0.02)

        execute(procs, main)
        assert not any(m.locked() for m in mutexes)
        entries += sum(x.entries for x in inside)
        inside[:] = [Inside() for _ in mutexes]  # one that was told to end inside has left its mark
    assert entries > 0


@on_all_procs
def test_a_bounded_buffer_of_conds(procs):
    rng, n, makers, takers = dice(), amount(150, 20), 5, 6

    def main():
        m = Mutex()
        not_empty, not_full = Cond(m), Cond(m)
        items, room, over = [], 3, []

        def make(i):
            mine = rng.child(i)
            for k in range(n):
                with m:
                    while len(items) >= room:
                        try:
                            not_full.wait(mine.choice([None, None, 0.0003]))
                        except TimeoutError:
                            assert m.locked()
                    items.append((i, k))
                    not_empty.notify()
                pause(mine)

        def take(i):
            mine, got = rng.child(100 + i), []
            while True:
                with m:
                    try:
                        not_empty.wait_for(lambda: items or over, mine.choice([None, 0.0003]))
                    except TimeoutError:
                        continue
                    if not items:
                        return got
                    got.append(items.pop(0))
                    not_full.notify()
                pause(mine)

        def finish():
            crowd(makers, make)
            with m:
                over.append(1)
                not_empty.notify_all()

        G.go(finish)
        got = [x for some in crowd(takers, take) for x in some]
        assert sorted(got) == [(i, k) for i in range(makers) for k in range(n)]
        assert "0 waiting" in repr(not_empty) and "0 waiting" in repr(not_full)

    execute(procs, main)


@on_all_procs
def test_conds_when_the_end_comes_at_any_moment(procs):
    rng, seen = dice(), AtomicInt()

    for _ in range(amount(6, 2)):
        c = Cond()

        def waits(i):
            with c:
                try:
                    while True:
                        try:
                            c.wait(None if i % 2 else 0.0005)
                        except TimeoutError:
                            pass
                        assert c.lock.locked()
                finally:
                    assert c.lock.locked()
                    seen.add()

        def tells():
            while True:
                with c:
                    c.notify(2)
                G.gosched()

        def main():
            for i in range(20):
                G.go(waits, i)
            G.go(tells)
            G.go(tells)
            G.sleep(rng.random() * 0.02)

        before = seen.load()
        execute(procs, main)
        assert seen.load() <= before + 20
        assert not c.lock.locked() and "0 waiting" in repr(c)


@on_all_procs
def test_wait_groups(procs):
    rng, n = dice(), amount(60, 10)

    def main():
        done, w = AtomicInt(), WaitGroup()

        def work(i):
            pause(rng.child(i))
            done.add()

        for i in range(n):
            size = rng.randint(1, 20)
            done.store(0)
            for k in range(size):
                w.go(work, i * 100 + k)
            waiters = WaitGroup()
            for _ in range(3):
                waiters.go(lambda: (w.wait(), done.load() == size or 1 / 0))
            try:
                w.wait(rng.choice([None, 0.0001]))
            except TimeoutError:
                w.wait()
            assert done.load() == size
            waiters.wait()

    execute(procs, main)


@on_all_procs
def test_single_flights(procs):
    """Each call's result goes to those who were there, and `shared` says whether it was one."""
    rng, n, users, keys = dice(), amount(100, 20), 12, 3

    def main():
        f, calls = SingleFlight(), AtomicInt()

        def call(mine):
            number = calls.add()
            pause(mine)
            if number % 7 == 0:
                raise KeyError(number)
            return number

        def user(i):
            mine, got = rng.child(i), []
            for _ in range(n):
                try:
                    got.append(f.do(mine.randrange(keys), call, mine))
                except KeyError as error:
                    got.append((error.args[0], None))
                pause(mine)
            return got

        by_number = {}
        for number, shared in [x for got in crowd(users, user) for x in got]:
            by_number.setdefault(number, []).append(shared)
        assert sorted(by_number) == list(range(1, calls.load() + 1))
        for number, shared in by_number.items():
            if number % 7:
                assert shared == [len(shared) > 1] * len(shared), (number, shared)
        assert "0 under way" in repr(f)

    execute(procs, main)


@on_all_procs
def test_onces(procs):
    rng, n, users = dice(), amount(40, 10), 10

    def main():
        calls = [AtomicInt() for _ in range(n)]
        onces = [Once() for _ in range(n)]

        def make(k):
            return once_value(lambda: pause(rng.child(k)) or object())

        values = [make(k) for k in range(n)]

        def user(i):
            mine = rng.child(1000 + i)
            for k in range(n):
                onces[k].do(lambda: (pause(mine), calls[k].add()))
                assert calls[k].load() == 1
            return [v() for v in values]

        results = crowd(users, user)
        assert all(r == results[0] for r in results)

    execute(procs, main)


@on_all_procs
def test_everything_is_forgotten(procs):
    """Waiters of all kinds come and go; nobody is left in a queue."""
    rng = dice()

    def main():
        m, s, c, w = Mutex(), Semaphore(1), Cond(), WaitGroup()
        m.acquire(), s.acquire(), w.add()

        def user(i):
            mine = rng.child(i)
            for _ in range(amount(40, 5)):
                t = mine.choice([0, 0.00001, 0.0003])
                assert m.acquire(timeout=t) is False
                assert s.acquire(timeout=t) is False
                for wait in w.wait, c.wait:
                    with pytest.raises(TimeoutError), c:
                        wait(t)

        crowd(20, user)
        m.release(), s.release(), w.done()
        assert m.acquire(timeout=0) and s.try_acquire()
        w.wait(0)
        assert "0 waiting" in repr(c)
        assert eventually(lambda: G.num_goroutine() == 1)

    execute(procs, main)
