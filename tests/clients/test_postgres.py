"""psycopg 3 and psycopg2, and a PostgreSQL server. A request is a row inserted."""

import pytest
from helpers import needs

from .support import fine

pytestmark = pytest.mark.hang(120)


@pytest.mark.parametrize(
    ("settings", "few"),
    [
        ({"PSYCOPG_IMPL": "python"}, 30),  # ctypes leaves the interpreter
        ({"PSYCOPG_IMPL": "binary", "PSYCOPG_WAIT_FUNC": "wait_poll"}, 20),
        ({"PSYCOPG_IMPL": "binary"}, 100),  # waits in C
    ],
    ids=["python", "binary-wait_poll", "binary"],
)
def test_psycopg(postgres_port, settings, few):
    needs("psycopg", "psycopg_pool")
    if settings["PSYCOPG_IMPL"] == "binary":
        needs("psycopg_binary")
    fine(
        f"""
        import many
        from psycopg_pool import ConnectionPool
        where = "host=127.0.0.1 port={postgres_port} user=tester dbname=postgres"
        with ConnectionPool(where, min_size=40, timeout=90) as pool:
            with pool.connection() as db:
                db.execute("drop table if exists asked")
                db.execute("create table asked (number int)")
            def ask(i):
                with pool.connection() as db:
                    db.execute("select pg_sleep(0.01)")
                    row = db.execute("insert into asked values (%s) returning number", [i])
                    return row.fetchone()[0]
            many.each(ask, few={few})
            with pool.connection() as db:
                rows = db.execute("select number from asked order by number").fetchall()
            assert rows == [(i,) for i in range(many.N)]
        """,
        **settings,
    )


@pytest.mark.parametrize("callback", ["None", "psycopg2.extras.wait_select"])
def test_psycopg2(postgres_port, callback):
    """libpq waits in C. Below a callback from C, too, a goroutine keeps its thread."""
    needs("psycopg2")
    fine(
        f"""
        import many, psycopg2.extensions, psycopg2.extras
        from psycopg2.pool import ThreadedConnectionPool
        psycopg2.extensions.set_wait_callback({callback})
        where = "host=127.0.0.1 port={postgres_port} user=tester dbname=postgres"
        pool = ThreadedConnectionPool(40, 40, where)
        def query(*sql):
            db = pool.getconn()
            try:
                with db, db.cursor() as cursor:
                    cursor.execute(*sql)
                    return cursor.fetchall()
            finally:
                pool.putconn(db)
        def ask(i):
            query("select pg_sleep(0.01)")
            ((number,),) = query("insert into asked values (%s) returning number", [i])
            return number
        query("drop table if exists asked; create table asked (number int); select 1")
        many.each(ask, limit=40, few=100)
        rows = query("select number from asked order by number")
        assert rows == [(i,) for i in range(many.N)]
        """
    )
