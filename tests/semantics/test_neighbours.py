"""Native code beside us that keeps something per OS thread: libstdc++'s exceptions, greenlet."""

import shutil
import subprocess
import sysconfig
import textwrap
import threading

import pytest
from goroutines import Chan, debug, go, gosched, run, sleep
from helpers import eventually, script

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
    static PyMethodDef methods[] = {{"guard", guard, METH_O, 0}, {0, 0, 0, 0}};
    static PyModuleDef module = {PyModuleDef_HEAD_INIT, "rethrows", 0, -1, methods};
    PyMODINIT_FUNC PyInit_rethrows() { return PyModule_Create(&module); }
"""

USES_IT = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from goroutines import Chan, go, gomaxprocs, gosched, run, sleep
    import rethrows
    gomaxprocs(4)
    def main():
        out = Chan()
        def body(i):
            def parks(k):
                sleep(0.0003 * ((i + k) % 4))
                gosched()
            out.send(all(rethrows.guard(lambda: parks(k)) for k in range(10)))
        for i in range(50):
            go(body, i)
        print(all(out.recv() for _ in range(50)))
    run(main)
"""


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_a_catch_block_that_parks_rethrows_its_own_exception(tmp_path):
    source, module = tmp_path / "rethrows.cpp", tmp_path / "rethrows.so"
    source.write_text(textwrap.dedent(THROWS))
    include = sysconfig.get_paths()["include"]
    command = ["g++", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(module)]
    subprocess.run(command, check=True)
    done = script(USES_IT, args=[str(tmp_path)])
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_greenlets_in_many_goroutines():
    greenlet = pytest.importorskip("greenlet")

    def main():
        out = Chan()

        def body(i):
            thread, log = threading.get_native_id(), []
            me = greenlet.getcurrent()

            def inner(x):
                log.append(x)
                sleep(0.001)
                y = me.switch(x + 1)
                gosched()
                log.append(y)
                return "end"

            g = greenlet.greenlet(inner)
            first = g.switch(i)
            sleep(0.001)
            second = g.switch(2 * first)
            same = threading.get_native_id() == thread
            out.send((first, second, log, same) == (i + 1, "end", [i, 2 * i + 2], True))

        for i in range(100):
            go(body, i)
        return [out.recv() for _ in range(100)]

    before = debug.stats().threads
    assert run(main) == [True] * 100
    assert eventually(lambda: debug.stats().threads <= before + 8), "wired Ms end"


def test_an_import_of_greenlet_before_ours_is_seen():
    pytest.importorskip("greenlet")
    done = script(
        """
        import greenlet
        from goroutines import *
        def main():
            def body():
                g = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch(1) + 1)
                out.send(g.switch() + g.switch(5))
            out = Chan()
            for _ in range(20):
                go(body)
            print(sum(out.recv() for _ in range(20)))
        run(main)
        """
    )
    assert (done.returncode, done.stdout) == (0, "140\n"), done.stderr
