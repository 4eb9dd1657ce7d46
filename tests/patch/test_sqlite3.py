"""patch.sqlite3()."""

from helpers import script


def test_connections_are_bound_to_no_thread_unless_told():
    done = script(
        """
        import sqlite3, threading
        import goroutines as G
        from goroutines import patch
        start_os_thread = patch.original("_thread", "start_new_thread")

        class Derived(sqlite3.Connection):
            pass

        class Initialized(sqlite3.Connection):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)

        def bound(db):
            seen, over = [], threading.Lock()
            over.acquire()
            def use():
                try:
                    db.execute("select 1").fetchall()
                    seen.append(False)
                except sqlite3.ProgrammingError:
                    seen.append(True)
                over.release()
            start_os_thread(use, ())
            over.acquire()
            db.close()
            return seen[0]

        makers = [
            lambda **k: sqlite3.connect(":memory:", **k),
            lambda **k: sqlite3.Connection(":memory:", **k),
            lambda **k: sqlite3.connect(":memory:", factory=Derived, **k),
            lambda **k: Derived(":memory:", **k),
            lambda **k: Initialized(":memory:", **k),
        ]

        def main(expected):
            for make in makers:
                assert bound(make()) is expected
                assert bound(make(check_same_thread=True)) is True
                assert bound(make(check_same_thread=False)) is False
            try:
                sqlite3.connect(":memory:", nonsense=1)
            except TypeError:
                pass

        main(True)
        patch.sqlite3()
        main(True)
        G.run(main, False)
        patch.undo()
        main(True)
        G.run(main, True)
        """,
        options=["-W", "ignore"],
    )
    assert done.returncode == 0, done.stderr
