"""Cython, cffi in API mode: modules that are compiled here.

Rule: `pinned` in host.c with `foreign_on_stack`: a goroutine that waits below such code keeps its
thread, whether the code has called PyGILState_Ensure or not.
"""

import subprocess
import sys

import pytest
from helpers import needs

from .support import compiled, fine

pytestmark = pytest.mark.hang(240)  # the first test of a module compiles it

CYTHON = """\
import sys

cdef extern from "unistd.h" nogil:
    int usleep(unsigned int)

cdef int _back(object f) except -1 with gil:
    f()
    return 0

cdef int _down(object f) except -1 nogil:
    usleep(100)
    _back(f)
    usleep(100)
    return 0

def without_gil(f):
    with nogil:
        _down(f)
    return f

def handles(f, x):
    try:
        raise KeyError(x)
    except KeyError as error:
        f()
        return sys.exc_info()[1] is error and error.args == (x,)

def fails(f):
    with nogil:
        _down(f)

def numbers(f, n):
    for i in range(n):
        f()
        yield i

cdef class Holder:
    cdef public object f
    def __init__(self, f):
        self.f = f
    def __dealloc__(self):
        self.f()
"""


@pytest.fixture(scope="session")
def cythonized(build):
    needs("Cython")
    source = build / "compiled.pyx"
    source.write_text(CYTHON)
    command = [sys.executable, "-m", "cython", "-3", str(source), "-o", str(build / "made.c")]
    subprocess.run(command, check=True, capture_output=True)
    return compiled(build, "compiled", (build / "made.c").read_text())


CYTHON_CALLS = {
    "nogil": "m.without_gil(f) is f",
    "an exception being handled": "m.handles(f, i)",
    "an exception out of nogil": "fails(m, f)",
    "a generator": "list(m.numbers(f, 4)) == [0, 1, 2, 3]",
    "a destructor": "m.Holder(f) is not None",
}


@pytest.mark.parametrize("kind", CYTHON_CALLS)
def test_cython_calls(kind, cythonized, procs):
    fine(
        f"""
        import threading
        import compiled as m
        from crowd import each, run, wander
        def fails(m, f):
            def raises():
                f()
                raise LookupError
            try:
                m.fails(raises)
            except LookupError:
                return True
        def main():
            def body(i):
                for k in range(6):
                    def f():
                        thread = threading.get_native_id()
                        wander(i + k)
                        assert threading.get_native_id() == thread
                    assert {CYTHON_CALLS[kind]}
            each(20, body)
        run(main)
        print("fine")
        """,
        procs,
        [cythonized],
    )


@pytest.fixture(scope="session")
def api_mode(build):
    needs("cffi")
    import cffi

    ffi = cffi.FFI()
    ffi.cdef("""
        int fails(int code);
        extern "Python" int calls_back(void *);
        int through(void *handle);
    """)
    ffi.set_source(
        "apimode",
        """
        #include <errno.h>
        static int fails(int code) { errno = code; return -1; }
        static int calls_back(void *);
        static int through(void *handle) { return calls_back(handle) + calls_back(handle); }
        """,
    )
    ffi.emit_c_code(str(build / "made_by_cffi.c"))
    return compiled(build, "apimode", (build / "made_by_cffi.c").read_text())


def test_cffi_calls_back_in_api_mode(api_mode, procs):
    fine(
        """
        import threading
        from apimode import ffi, lib
        from crowd import each, run, wander
        @ffi.def_extern()
        def calls_back(handle):
            thread = threading.get_native_id()
            i = ffi.from_handle(handle)
            wander(i)
            assert threading.get_native_id() == thread
            return i
        def main():
            def body(i):
                handle = ffi.new_handle(i)
                return [lib.through(handle) for _ in range(6)]
            assert each(20, body) == [[2 * i] * 6 for i in range(20)]
        run(main)
        print("fine")
        """,
        procs,
        [api_mode],
    )


ERRNO = """
import time
import goroutines as G
from crowd import each, run, wander
from cffi import FFI
from apimode import ffi as api, lib
abi = FFI()
abi.cdef("long read(int, char *, size_t); int close(int);")
libc = abi.dlopen(None)
def calls(i):
    "Errors of our own: through API mode, and from the C library through ABI mode."
    if i % 2:
        lib.fails(100 + i)
        return api, 100 + i
    assert libc.close(-1) == -1
    return abi, 9
"""


@pytest.mark.parametrize("mode", ["ABI", "API"])
def test_cffi_has_the_errno_of_the_last_call(mode, api_mode, procs):
    """Rule: a goroutine changes its thread in calls of this library only, never by blocking."""
    fine(
        ERRNO
        + f"""
def main():
    def body(i):
        for k in range(20):
            wander(i + k)
            ffi, expected = calls(2 * i + {mode == "API"})
            time.sleep(0.0003)
            assert ffi.errno == expected, (ffi.errno, expected)
    each(20, body)
run(main)
print("fine")
""",
        procs,
        [api_mode],
    )


def test_cffi_s_errno_belongs_to_the_thread(api_mode, procs):
    """Who wants it after a wait locks the thread. Rule: `sched_wire`."""
    fine(
        ERRNO
        + """
def main():
    def body(i):
        G.lock_os_thread()
        for k in range(20):
            ffi, expected = calls(i)
            wander(i + k)
            assert ffi.errno == expected, (ffi.errno, expected)
    each(20, body)
run(main)
print("fine")
""",
        procs,
        [api_mode],
    )
