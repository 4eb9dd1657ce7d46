"""CPython's own tests for locks, conditions and semaphores (test.lock_tests), run against ours.

Once with OS threads, as they are written, and once with goroutines in their place.
"""

import threading
import time
import unittest

import goroutines
import pytest
from goroutines.sync import Cond, Mutex, RWMutex, Semaphore

lock_tests = pytest.importorskip(
    "test.lock_tests", reason="this Python comes without its own tests (package test)"
)


class WithGoroutines:
    """Where the tests start threads they start goroutines."""

    def setUp(self):
        before = lock_tests.start_new_thread
        lock_tests.start_new_thread = lambda f, args: goroutines.go(f, *args)
        self.addCleanup(setattr, lock_tests, "start_new_thread", before)
        super().setUp()


# ---- Mutex is a threading.Lock ----


class TestMutex(lock_tests.LockTests):
    locktype = staticmethod(Mutex)


class TestMutexOfGoroutines(WithGoroutines, TestMutex):
    pass


class WriteLock:
    """RWMutex.write() with a Lock's arguments."""

    def __init__(self):
        self.mutex, self.held = RWMutex(), False

    def acquire(self, blocking=True, timeout=-1):
        Mutex().acquire(blocking, timeout)  # checks them
        try:
            self.mutex.acquire_write(None if blocking and timeout == -1 else max(timeout, 0))
        except TimeoutError:
            return False
        self.held = True
        return True

    def release(self):
        self.held = False
        self.mutex.release_write()

    def locked(self):
        return self.held

    __enter__ = acquire

    def __exit__(self, *exc):
        self.release()

    def __repr__(self):
        return f"<{'locked' if self.held else 'unlocked'} WriteLock object at {id(self):#x}>"


class TestRWMutex(lock_tests.LockTests):
    locktype = WriteLock
    test_at_fork_reinit = None  # is Mutex's alone


class TestRWMutexOfGoroutines(WithGoroutines, TestRWMutex):
    pass


class SemaphoreOfOne:
    """Semaphore(1) with a Lock's arguments."""

    def __init__(self):
        self.semaphore = Semaphore(1)

    def acquire(self, blocking=True, timeout=-1):
        Mutex().acquire(blocking, timeout)
        if not blocking:
            return self.semaphore.try_acquire()
        return self.semaphore.acquire(timeout=None if timeout == -1 else timeout)

    def release(self):
        self.semaphore.release()

    def locked(self):
        if self.semaphore.try_acquire():
            self.semaphore.release()
            return False
        return True

    __enter__ = acquire

    def __exit__(self, *exc):
        self.release()

    def __repr__(self):
        return f"<{'locked' if self.locked() else 'unlocked'} Semaphore object at {id(self):#x}>"


class TestSemaphoreOfOne(lock_tests.LockTests):
    locktype = SemaphoreOfOne
    test_at_fork_reinit = None


# ---- Semaphore is a BoundedSemaphore, but for its arguments and its errors ----


class BoundedSemaphore:
    def __init__(self, value=1):
        self.semaphore = Semaphore(value)

    def acquire(self, blocking=True, timeout=None):
        if not blocking and timeout is not None:
            raise ValueError
        return self.semaphore.acquire(timeout=timeout if blocking else 0)

    def release(self, n=1):
        try:
            self.semaphore.release(n)
        except RuntimeError as error:
            raise ValueError from error

    __enter__ = acquire

    def __exit__(self, *exc):
        self.release()


class TestSemaphore(lock_tests.BoundedSemaphoreTests):
    semtype = BoundedSemaphore
    test_repr = None  # ours says it otherwise


class TestSemaphoreOfGoroutines(WithGoroutines, TestSemaphore):
    pass


# ---- Cond is a Condition, but for TimeoutError ----


class Condition(Cond):
    def wait(self, timeout=None):
        try:
            super().wait(timeout)
        except TimeoutError:
            return False
        return True

    def wait_for(self, predicate, timeout=None):
        try:
            return super().wait_for(predicate, timeout)
        except TimeoutError:
            return False


class TestCond(lock_tests.ConditionTests):
    condtype = Condition

    def test_acquire(self):
        """The original's second half: the default lock here is no RLock."""
        lock = Mutex()
        cond = self.condtype(lock)
        cond.acquire()
        assert not lock.acquire(False)
        cond.release()
        assert lock.acquire(False)
        assert not cond.acquire(False)
        lock.release()
        with cond:
            assert not lock.acquire(False)


class TestCondOfGoroutines(WithGoroutines, TestCond):
    pass


class TestCondOfAnRLock(lock_tests.ConditionTests):
    @staticmethod
    def condtype(lock=None):
        return Condition(threading.RLock() if lock is None else lock)


class TestTheTestsThemselves(unittest.TestCase):
    def test_goroutines_are_what_is_started(self):
        class Scene(WithGoroutines, unittest.TestCase):
            def runTest(self):
                seen = []
                lock_tests.start_new_thread(lambda: seen.append(goroutines.num_goroutine()), ())
                while not seen:
                    time.sleep(0.001)
                assert seen == [1]

        result = unittest.TestResult()
        Scene().run(result)
        assert result.wasSuccessful(), result.failures + result.errors
