"""Threads that Python has not started call in through PyGILState_Ensure and use channels.

Rules: a thread without an M waits natively (`park_thread`); each attach of a goroutine binds its
thread state for PyGILState (`bind_gilstate` in compat.c, the interpreter's own from 3.12 on).
"""

import pytest

from .support import compiled, fine

pytestmark = pytest.mark.hang(240)  # the first test of a module compiles it

CALLER = """
    #include <Python.h>
    #include <pthread.h>
    #include <unistd.h>
    struct job { PyObject *fn; int times; };
    /* Ensures and releases again for each call: a new thread state every time. */
    static void *body(void *arg) {
        struct job *job = arg;
        for (int i = 0; i < job->times; i++) {
            PyGILState_STATE state = PyGILState_Ensure();
            PyObject *r = PyObject_CallFunction(job->fn, "i", i);
            if (!r)
                PyErr_WriteUnraisable(job->fn);
            Py_XDECREF(r);
            PyGILState_Release(state);
            usleep(50);
        }
        PyGILState_STATE state = PyGILState_Ensure();
        Py_DECREF(job->fn);
        PyGILState_Release(state);
        free(job);
        return NULL;
    }
    static PyObject *start(PyObject *self, PyObject *args) {
        struct job *job = malloc(sizeof *job);
        pthread_t thread;
        if (!PyArg_ParseTuple(args, "Oi", &job->fn, &job->times))
            return NULL;
        Py_INCREF(job->fn);
        pthread_create(&thread, NULL, body, job);
        return PyLong_FromUnsignedLong(thread);
    }
    static PyObject *join(PyObject *self, PyObject *thread) {
        pthread_t id = PyLong_AsUnsignedLong(thread);
        Py_BEGIN_ALLOW_THREADS
        pthread_join(id, NULL);
        Py_END_ALLOW_THREADS
        Py_RETURN_NONE;
    }
    /* In the calling thread, with the GIL given up in between. */
    static PyObject *here(PyObject *self, PyObject *fn) {
        PyObject *r;
        Py_BEGIN_ALLOW_THREADS
        PyGILState_STATE outer = PyGILState_Ensure();
        PyGILState_STATE inner = PyGILState_Ensure();
        r = PyObject_CallNoArgs(fn);
        PyGILState_Release(inner);
        PyGILState_Release(outer);
        Py_END_ALLOW_THREADS
        return r;
    }
    static PyMethodDef methods[] = {{"start", start, METH_VARARGS, 0}, {"join", join, METH_O, 0},
                                    {"here", here, METH_O, 0}, {0, 0, 0, 0}};
    static PyModuleDef module = {PyModuleDef_HEAD_INIT, "caller", 0, -1, methods};
    PyMODINIT_FUNC PyInit_caller(void) { return PyModule_Create(&module); }
"""


@pytest.fixture(scope="session")
def caller(build):
    return compiled(build, "caller", CALLER)


def test_native_threads_send_and_receive(caller, procs):
    fine(
        """
        import caller
        import goroutines as G
        from crowd import each, run, wander
        def main():
            up, down, never = G.Chan(int), G.Chan(int), G.Chan(int)
            def echoes(i):
                index, value, ok = G.select(G.recv(never), G.recv(down))
                up.send(value + 1000 * i)
            threads = [caller.start(echoes, 40) for _ in range(4)]
            def feeds(i):
                for k in range(40):
                    down.send(k)
                    wander(k)
            for i in range(4):
                G.go(feeds, i)
            got = sum(up.recv() for _ in range(4 * 40))
            assert got == 4 * sum(range(40)) * 1001, got
            for thread in threads:
                caller.join(thread)
        run(main)
        print("fine")
        """,
        procs,
        [caller],
    )


def test_native_threads_start_goroutines(caller, procs):
    fine(
        """
        import caller
        import goroutines as G
        from crowd import run, wander
        def main():
            out = G.Chan(int)
            def starts(i):
                G.go(lambda: [wander(i), out.send(i)])
            threads = [caller.start(starts, 50) for _ in range(4)]
            assert sum(out.recv() for _ in range(200)) == 4 * sum(range(50))
            for thread in threads:
                caller.join(thread)
        run(main)
        print("fine")
        """,
        procs,
        [caller],
    )


def test_a_goroutine_enters_again_through_pygilstate(caller, procs):
    """It finds its own thread state, and stays on its thread while it waits in there."""
    fine(
        """
        import threading
        import caller
        from crowd import each, run, wander
        def main():
            def body(i):
                local = threading.local()
                local.mine = i
                for k in range(10):
                    def inside():
                        thread = threading.get_native_id()
                        wander(i + k)
                        assert threading.get_native_id() == thread
                        return local.mine
                    wander(i + k)
                    assert caller.here(inside) == i
                    assert caller.here(lambda: caller.here(inside)) == i
            each(20, body)
        run(main)
        print("fine")
        """,
        procs,
        [caller],
    )
