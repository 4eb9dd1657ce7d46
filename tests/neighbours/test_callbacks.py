"""Callbacks of C libraries, which may hold locks of their thread below us.

Rule: `pinned` in host.c. A goroutine that waits while `gilstate_counter` is above its first value
keeps its thread, and its P goes to others. Without it SQLite's mutexes, owned by a thread, freeze.
"""

import pytest
from helpers import needs

from .support import fine

SQLITE = {
    "function": (
        'db.create_function("f", 1, lambda x: stays(i) or x * 10)',
        "select f(x) from t order by x",
        "[(0,), (10,), (20,), (30,)]",
    ),
    "aggregate": (
        """
class Total:
    def __init__(self): self.sum = 0
    def step(self, x):
        stays(i)
        self.sum += x
    def finalize(self): return stays(i) or self.sum
db.create_aggregate("f", 1, Total)
""",
        "select f(x) from t",
        "[(6,)]",
    ),
    "window": (
        """
class Window:
    def __init__(self): self.sum = 0
    def step(self, x): self.sum += stays(i) or x
    def inverse(self, x): self.sum -= stays(i) or x
    def value(self): return self.sum
    def finalize(self): return self.sum
db.create_window_function("f", 1, Window)
""",
        "select f(x) over (order by x rows between 1 preceding and current row) from t",
        "[(0,), (1,), (3,), (5,)]",
    ),
    "collation": (
        'db.create_collation("c", lambda a, b: stays(i) or (a < b) - (a > b))',
        "select cast(x as text) from t order by 1 collate c",
        "[('3',), ('2',), ('1',), ('0',)]",
    ),
    "progress handler": (
        "db.set_progress_handler(lambda: stays(i), 5)",
        "select x from t",
        "[(0,), (1,), (2,), (3,)]",
    ),
    "authorizer": (
        "db.set_authorizer(lambda *args: stays(i) or 0)",
        "select x from t",
        "[(0,), (1,), (2,), (3,)]",
    ),
    "trace": (
        "db.set_trace_callback(lambda text: stays(i))",
        "select x from t",
        "[(0,), (1,), (2,), (3,)]",
    ),
}

STAYS = """
import ctypes, sqlite3, threading, time
import goroutines as G
from crowd import each, run, wander
calls = 0
def stays(i):
    global calls
    calls += 1
    thread = threading.get_native_id()
    wander(i)
    answer = G.Chan()
    G.go(answer.send, None)
    answer.recv()
    assert threading.get_native_id() == thread, "it came back on another thread"
"""


@pytest.mark.parametrize("kind", SQLITE)
def test_sqlite_calls_back(kind, procs):
    define, query, expected = SQLITE[kind]
    fine(
        STAYS
        + f"""
def main():
    def body(i):
        db = sqlite3.connect(":memory:", check_same_thread=False)
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", [(x,) for x in range(4)])
        db.commit()
        exec({define!r}, globals() | dict(db=db, i=i))
        got = db.execute({query!r}).fetchall()
        db.close()
        return got
    assert each(6, body) == [{expected}] * 6
    assert calls >= 6
run(main)
print("fine")
""",
        procs,
    )


def test_callbacks_within_callbacks(procs):
    fine(
        STAYS
        + """
def main():
    def body(i):
        outer, inner = (sqlite3.connect(":memory:", check_same_thread=False) for _ in range(2))
        inner.create_function("deep", 1, lambda x: stays(i) or x + i)
        def nested(x):
            return inner.execute("select deep(?)", [x]).fetchone()[0] * 10
        outer.create_function("nested", 1, nested)
        return [outer.execute("select nested(?)", [k]).fetchone()[0] for k in range(3)]
    assert each(5, body) == [[10 * (k + i) for k in range(3)] for i in range(5)]
run(main)
print("fine")
""",
        procs,
    )


def test_an_exception_out_of_a_callback_that_waited(procs):
    fine(
        STAYS
        + """
def main():
    def body(i):
        db = sqlite3.connect(":memory:", check_same_thread=False)
        def fails():
            stays(i)
            raise ValueError
        db.create_function("fails", 0, fails)
        try:
            db.execute("select fails()").fetchone()
        except sqlite3.OperationalError:
            pass
        else:
            assert False
        db.create_function("works", 0, lambda: stays(i) or i)
        return db.execute("select works()").fetchone()
    assert each(6, body) == [(i,) for i in range(6)]
run(main)
print("fine")
""",
        procs,
    )


def test_the_end_of_run_reaches_callbacks_that_wait(procs):
    fine(
        STAYS
        + """
log = []
G.excepthook = lambda args: None
def main():
    begun = G.Chan()
    def parks():
        begun.send(None)
        try:
            G.Chan().recv()
        finally:
            log.append("finally")
    def body():
        db = sqlite3.connect(":memory:", check_same_thread=False)
        db.create_function("parks", 0, parks)
        db.execute("select parks()").fetchone()
    for _ in range(5):
        G.go(body)
        begun.recv()
run(main)
assert log == ["finally"] * 5, log
print("fine")
""",
        procs,
    )


FREE = """
    from crowd import run
    import ctypes, sqlite3, threading, time
    import goroutines as G
    def sqlite():
        db = sqlite3.connect(":memory:", check_same_thread=False)
        db.create_function("parks", 0, lambda: [G.sleep(0.001), 1][1])
        assert db.execute("select parks()").fetchone() == (1,)
        db.close()
    def c_function():
        compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        def compare(a, b):
            G.sleep(0.001)
            return 0
        ctypes.CDLL(None).qsort((ctypes.c_int * 2)(2, 1), 2, 4, compare_type(compare))
    def main():
        for inside in (sqlite, c_function):
            free = G.Chan()
            def body():
                inside()
                first = threading.get_native_id()
                while threading.get_native_id() == first:
                    time.sleep(0.0003)
                    G.gosched()
                free.send(None)
            for _ in range(5):
                G.go(body)
            for _ in range(5):
                free.recv(timeout=50)
    run(main)
    print("fine")
"""


def test_it_changes_threads_again_after_the_callback(procs):
    """Pinned while it is inside, not for ever."""
    fine(FREE, procs)


def test_its_p_is_used_by_others_while_it_waits_in_a_callback(procs):
    """All Ps' worth of callbacks and more wait for one goroutine that needs a P, too."""
    fine(
        STAYS
        + """
def main():
    gate = G.Chan()
    def body(i):
        db = sqlite3.connect(":memory:", check_same_thread=False)
        db.create_function("parks", 0, lambda: gate.recv())
        return db.execute("select parks()").fetchone()[0]
    def feeds():
        for i in range(3 * G.gomaxprocs()):
            wander(i)
            gate.send(1)
    G.go(feeds)
    assert each(3 * G.gomaxprocs(), body) == [1] * (3 * G.gomaxprocs())
run(main)
print("fine")
""",
        procs,
    )


def test_ctypes_and_qsort(procs):
    fine(
        STAYS
        + """
compare_type = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
)
qsort = ctypes.CDLL(None).qsort
qsort.restype = None
def main():
    def body(i):
        values = [(k * 7 + i) % 13 for k in range(13)]
        array = (ctypes.c_int * 13)(*values)
        qsort(array, 13, 4, compare_type(lambda a, b: stays(i) or a[0] - b[0]))
        return list(array)
    assert each(6, body) == [list(range(13))] * 6
run(main)
print("fine")
""",
        procs,
    )


CFFI = """
import cffi
ffi = cffi.FFI()
ffi.cdef('''
    void qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *));
''')
libc = ffi.dlopen(None)
"""


def test_cffi_calls_back_in_abi_mode(procs):
    needs("cffi")
    fine(
        STAYS
        + CFFI
        + """
def main():
    def body(i):
        array = ffi.new("int[]", [(k * 7 + i) % 13 for k in range(13)])
        @ffi.callback("int(const void *, const void *)")
        def compare(a, b):
            stays(i)
            return ffi.cast("int *", a)[0] - ffi.cast("int *", b)[0]
        libc.qsort(array, 13, 4, compare)
        return list(array)
    assert each(6, body) == [list(range(13))] * 6
run(main)
print("fine")
""",
        procs,
    )
