"""C++ in extension modules: exceptions, and pybind11's frames.

Rule: `foreign_on_stack` in foreign.c. A goroutine that waits below foreign native code keeps its
thread, and nobody else runs there meanwhile. Without it a catch block rethrows the exception of
another goroutine, and pybind11 ends the process ("loader_life_support: internal error").
"""

import shutil

import pytest
from helpers import needs

from .support import PREFIX, compiled, fine

pytestmark = pytest.mark.hang(240)  # the first test of a module compiles it

THROWS = """
    #include <Python.h>
    #include <stdexcept>
    #include <string>
    static PyObject *guard(PyObject *, PyObject *fn) {
        std::string mine = std::to_string((long)fn);
        try {
            try {
                throw std::runtime_error(mine);
            } catch (std::runtime_error &) {
                PyObject *r = PyObject_CallNoArgs(fn);
                if (!r)
                    return NULL;
                Py_DECREF(r);
                throw;
            }
        } catch (std::runtime_error &e) {
            return PyBool_FromLong(mine == e.what());
        }
    }
    /* A destructor that runs Python while an exception is under way. */
    struct Calls {
        PyObject *fn;
        ~Calls() { Py_XDECREF(PyObject_CallNoArgs(fn)); }
    };
    static PyObject *unwinds(PyObject *, PyObject *fn) {
        std::string mine = std::to_string((long)fn);
        try {
            Calls calls = {fn};
            throw std::runtime_error(mine);
        } catch (std::runtime_error &e) {
            return PyBool_FromLong(mine == e.what() && std::uncaught_exceptions() == 0);
        }
    }
    static PyMethodDef methods[] = {
        {"guard", guard, METH_O, 0}, {"unwinds", unwinds, METH_O, 0}, {0, 0, 0, 0}};
    static PyModuleDef module = {PyModuleDef_HEAD_INIT, "rethrows", 0, -1, methods};
    PyMODINIT_FUNC PyInit_rethrows() { return PyModule_Create(&module); }
"""


@pytest.fixture(scope="session")
def rethrows(build):
    return compiled(build, "rethrows", THROWS, (), "-std=c++17")


@pytest.mark.parametrize("kind", ["guard", "unwinds"])
def test_exceptions_of_a_goroutine_that_waits(kind, rethrows, procs):
    fine(
        f"""
        import rethrows
        from crowd import each, run, wander
        def main():
            def body(i):
                return all(rethrows.{kind}(lambda: wander(i + k)) for k in range(8))
            assert all(each(30, body))
        run(main)
        print("fine")
        """,
        procs,
        [rethrows],
    )


def test_an_extension_module_that_is_called_like_a_library(build, procs):
    """What is not the system's counts as foreign, whatever its name."""
    source = THROWS.replace("rethrows", "librethrows")
    folder = compiled(build, "librethrows", source, (), "-std=c++17")
    plain = folder / "plain"
    plain.mkdir(exist_ok=True)
    shutil.copy(next(folder.glob("librethrows.*.so")), plain / "librethrows.so")
    fine(
        """
        import librethrows
        from crowd import each, run, wander
        assert librethrows.__file__.endswith("/librethrows.so")
        def main():
            def body(i):
                return all(librethrows.guard(lambda: wander(i + k)) for k in range(8))
            assert all(each(30, body))
        run(main)
        print("fine")
        """,
        procs,
        [plain],
    )


def test_nested_catch_blocks(rethrows, procs):
    fine(
        """
        import rethrows
        from crowd import each, run, wander
        def main():
            def nested(i, depth):
                wander(i)
                if depth:
                    assert rethrows.guard(lambda: nested(i + 1, depth - 1))
                    wander(i)
            each(20, lambda i: nested(i, 5))
        run(main)
        print("fine")
        """,
        procs,
        [rethrows],
    )


BOUND = """
    #include <pybind11/pybind11.h>
    #include <pybind11/functional.h>
    #include <string>
    namespace py = pybind11;
    struct Thing { int value; };
    struct Base {
        virtual ~Base() {}
        virtual int value(int x) { return x; }
    };
    struct Trampoline : Base {
        int value(int x) override { PYBIND11_OVERRIDE(int, Base, value, x); }
    };
    PYBIND11_MODULE(NAME, m) {
        py::class_<Thing>(m, "Thing").def(py::init<int>()).def_readwrite("value", &Thing::value);
        py::class_<Base, Trampoline>(m, "Base").def(py::init<>()).def("value", &Base::value);
        m.def("virtually", [](Base &b, int x) { py::gil_scoped_release r; return b.value(x); });
        m.def("call", [](py::object f, std::string s) { return py::str(s) + py::str(f()); });
        m.def("function", [](std::function<int(int)> f, int x) {
            py::gil_scoped_release r;
            return f(x) + f(x);
        });
        m.def("acquires", [](int x) {
            py::gil_scoped_release r;
            py::gil_scoped_acquire a;
            return x;
        });
        m.def("rethrows", [](py::object f, std::string s) {
            try {
                try {
                    throw std::runtime_error(s);
                } catch (std::exception &) {
                    f();
                    throw;
                }
            } catch (std::runtime_error &e) {
                return std::string(e.what());
            }
        });
    }
"""

# Two versions cannot be installed side by side: the Makefile has the old one in a folder.
PYBIND11 = {"pybind11 2.13": PREFIX / "pybind11-2", "pybind11 3": None}


@pytest.fixture(scope="session", params=PYBIND11)
def bound(request, build):
    """(folder, name) of a module made with each pybind11."""
    folder = PYBIND11[request.param]
    if folder is None:
        needs("pybind11")
        import pybind11

        include = pybind11.get_include()
    else:
        include = folder / "pybind11" / "include"
        if not include.exists():
            pytest.skip(f"{request.param} is not installed")
    name = "bound" + request.param[9]
    flags = f"-DNAME={name}", "-std=c++17"
    return compiled(build, name, BOUND, [str(include)], *flags), name


PYBIND11_CALLS = {
    "an object": "m.call(lambda: wander(i + k) or i, 'i is ') == f'i is {i}'",
    "a std::function": "m.function(lambda x: wander(i + k) or x + i, k) == 2 * (k + i)",
    "a catch block": "m.rethrows(lambda: wander(i + k), str(i)) == str(i)",
    "an overridden method": "m.virtually(Derived(i), k) == i + k",
    "from within": "m.call(lambda: m.call(lambda: wander(k) or i, 'b'), 'a') == f'ab{i}'",
}


@pytest.mark.parametrize("kind", PYBIND11_CALLS)
def test_pybind11_calls(kind, bound, procs):
    folder, name = bound
    fine(
        f"""
        import {name} as m
        from crowd import each, run, wander
        class Derived(m.Base):
            def __init__(self, i):
                super().__init__()
                self.i = i
            def value(self, x):
                wander(x)
                return m.Thing(self.i + x).value
        def main():
            each(20, lambda i: [wander(i) for k in range(3)])
            def body(i):
                for k in range(8):
                    assert {PYBIND11_CALLS[kind]}
                    assert m.Thing(i).value == i
            each(20, body)
        run(main)
        print("fine")
        """,
        procs,
        [folder],
    )


def test_pybind11_imported_in_a_goroutine(bound, procs):
    """Rule: `pybind11_internals` in neighbours.c, which wires the goroutine that makes them.

    pybind11 2 keeps the thread state of that goroutine in the thread, and would take it for that
    of the next goroutine there: gil_scoped_acquire waits for ever.
    """
    folder, name = bound
    fine(
        f"""
        import threading, time
        import goroutines as G
        from crowd import each, run, wander
        def main():
            ready, gate = G.Chan(), G.Chan()
            def imports():
                import {name}
                ready.send(None)
                gate.recv()
            G.go(imports)
            ready.recv()
            import {name} as m
            def body(i):
                for k in range(10):
                    wander(i + k)
                    assert m.acquires(i) == i
                    assert m.function(lambda x: wander(k) or x, k) == 2 * k
            each(20, body)
            gate.send(None)
            each(20, body)
        run(main)
        print("fine")
        """,
        procs,
        [folder],
    )


def test_a_goroutine_that_has_left_foreign_code_changes_threads(bound, procs):
    """Addresses that such a call left on the stack do not count."""
    folder, name = bound
    fine(
        f"""
        import threading, time
        import goroutines as G
        import {name} as m
        from crowd import each, run, wander
        def main():
            def body(i):
                m.call(lambda: G.sleep(0.001), "x")
                threads = set()
                while len(threads) < 2:
                    m.Thing(i).value
                    threads.add(threading.get_native_id())
                    time.sleep(0.0003)
                    G.gosched()
            each(5, body)
        run(main)
        print("fine")
        """,
        procs,
        [folder],
    )


def test_thousands_wait_after_foreign_code_without_a_thread_each(bound):
    folder, name = bound
    fine(
        f"""
        import goroutines as G
        import {name} as m
        from goroutines import debug
        def main():
            gate, out = G.Chan(), G.Chan()
            def body(i):
                m.call(lambda: m.Thing(i).value, "x")
                out.send(None)
                gate.recv_ok()
                out.send(None)
            for i in range(2000):
                G.go(body, i)
            for i in range(2000):
                out.recv()
            assert debug.stats().threads < 50, debug.stats()
            gate.close()
            for i in range(2000):
                out.recv()
        G.run(main)
        print("fine")
        """,
        path=[folder],
    )


def test_deep_in_foreign_code(bound, procs):
    """There is little stack left for looking at it."""
    folder, name = bound
    fine(
        f"""
        import goroutines as G
        import {name} as m
        from crowd import each, run, wander
        def main():
            def down(n):
                try:
                    return m.call(lambda: down(n + 1), "x")
                except RecursionError:
                    G.gosched()
                    G.sleep(0.0001)
                    return n
            results = each(4, lambda i: down(0))
            assert all(r.startswith("x") for r in results)
        run(main)
        print("fine")
        """,
        procs,
        [folder],
    )
