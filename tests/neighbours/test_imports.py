"""Modules that wait while they are imported.

Rule: `_import_locks.py` gives importlib the goroutine's identity for that of the thread. Without it
a second goroutine on the same thread sees the module half made, and one that has come back on
another thread cannot release the module's lock.
"""

from .support import fine


def modules(folder, sources):
    """A folder for sys.path with these files in it."""
    for name, source in sources.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    return [folder]


WAITS = "import goroutines as G\nimport time\n" + "G.sleep(0.002)\ntime.sleep(0.001)\nG.gosched()\n"


def test_one_module_in_a_hundred_goroutines(tmp_path, procs):
    path = modules(tmp_path, {"slow": f"first = 1\n{WAITS * 5}last = 2\n"})
    fine(
        """
        from crowd import each, run, wander
        def main():
            def body(i):
                wander(i)
                import slow
                return slow.first, slow.last
            assert each(100, body) == [(1, 2)] * 100
        run(main)
        print("fine")
        """,
        procs,
        path,
    )


def test_a_circle_of_modules_in_a_hundred_goroutines(tmp_path, procs):
    """Whoever began with one of them sees all of them whole; nobody waits for ever."""
    path = modules(
        tmp_path,
        {
            "one": f"{WAITS}import two\n{WAITS}x = 1\n",
            "two": f"{WAITS}import three\n{WAITS}x = 2\n",
            "three": f"{WAITS}import one\n{WAITS}x = 3\n",
        },
    )
    fine(
        """
        import importlib
        from crowd import each, run, wander
        def main():
            def body(i):
                wander(i)
                importlib.import_module(["one", "two", "three"][i % 3])
            each(100, body)
            import one, two, three
            assert (one.x, two.x, three.x) == (1, 2, 3)
        run(main)
        print("fine")
        """,
        procs,
        path,
    )


def test_a_package_and_its_modules(tmp_path, procs):
    """All import the package first: nothing else is safe in threads either."""
    path = modules(
        tmp_path,
        {
            "pack/__init__": f"{WAITS}from . import a, b\n{WAITS}done = a.x + b.x\n",
            "pack/a": f"{WAITS}from . import b\nx = 1\n",
            "pack/b": f"{WAITS}x = 2\n",
        },
    )
    fine(
        """
        from crowd import each, run, wander
        def main():
            def body(i):
                wander(i)
                import pack
                from pack import a, b
                return pack.done, a.x, b.x
            assert each(60, body) == [(3, 1, 2)] * 60
        run(main)
        print("fine")
        """,
        procs,
        path,
    )


def test_an_import_that_fails(tmp_path, procs):
    """As in threads, those who waited for it may find the half-made module; nobody hangs."""
    path = modules(tmp_path, {"broken": f"{WAITS}raise ValueError('no')\n"})
    fine(
        """
        from crowd import each, run, wander
        def main():
            def body(i):
                try:
                    import broken
                except ValueError as error:
                    return str(error)
                return "imported"
            answers = each(20, body)
            assert "no" in answers and set(answers) <= {"no", "imported"}, answers
        run(main)
        print("fine")
        """,
        procs,
        path,
    )


def test_threads_and_goroutines_import_one_module(tmp_path, procs):
    path = modules(tmp_path, {"slow": f"{WAITS * 5}last = 2\n"})
    fine(
        """
        import threading
        import goroutines as G
        from crowd import each, run, wander
        def main():
            got = []
            def imports(i=0):
                import slow
                got.append(slow.last)
            threads = [threading.Thread(target=imports) for _ in range(10)]
            for thread in threads:
                thread.start()
            each(20, imports)
            for thread in threads:
                thread.join()
            assert got == [2] * 30
        run(main)
        print("fine")
        """,
        procs,
        path,
    )


def test_a_module_that_imports_in_goroutines_of_its_own(tmp_path, procs):
    path = modules(
        tmp_path,
        {
            "parent": "import goroutines as G\nc = G.Chan()\n"
            "def child(i):\n    import other\n    c.send(other.x + i)\n"
            "for i in range(10): G.go(child, i)\n"
            "total = sum(c.recv() for _ in range(10))\n",
            "other": f"{WAITS}x = 1\n",
        },
    )
    fine(
        """
        from crowd import each, run
        def main():
            def body(i):
                import parent
                return parent.total
            assert each(20, body) == [55] * 20
        run(main)
        print("fine")
        """,
        procs,
        path,
    )


def test_the_standard_library(procs):
    fine(
        """
        import importlib
        from crowd import each, run
        names = ["json", "csv", "decimal", "email.message", "http.client", "xml.etree.ElementTree",
                 "unittest", "asyncio", "concurrent.futures", "sqlite3", "tarfile", "argparse"]
        def main():
            got = each(36, lambda i: importlib.import_module(names[i % 12]).__name__)
            assert got == names * 3
        run(main)
        print("fine")
        """,
        procs,
    )


def test_extension_modules_of_others(procs):
    """Whatever of them is installed."""
    fine(
        """
        import importlib, importlib.util
        from crowd import each, run
        names = ["numpy", "pydantic_core", "greenlet", "cffi", "sqlalchemy"]
        names = [name for name in names if importlib.util.find_spec(name)] or ["_ctypes"]
        def main():
            got = each(30, lambda i: importlib.import_module(names[i % len(names)]).__name__)
            assert got == [names[i % len(names)] for i in range(30)]
        run(main)
        print("fine")
        """,
        procs,
    )
