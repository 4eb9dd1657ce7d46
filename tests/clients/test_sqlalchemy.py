"""SQLAlchemy's pool, over several drivers. A request is a row inserted."""

import pytest
from helpers import needs

from .support import fine

PROGRAM = """
    import many
    from sqlalchemy import create_engine, text
    engine = create_engine({url!r}, pool_size=5, max_overflow=5, pool_timeout=90)
    with engine.begin() as db:
        db.execute(text("drop table if exists asked"))
        db.execute(text("create table asked (number int)"))
    insert = text("insert into asked values (:number) returning number")
    def ask(i):
        with engine.begin() as db:
            return db.execute(insert, dict(number=i)).scalar_one()
    many.each(ask, few={few})
    with engine.connect() as db:
        rows = db.execute(text("select number from asked order by number")).scalars().all()
    assert rows == list(range(many.N))
    """

pytestmark = pytest.mark.hang(120)


@pytest.mark.parametrize(("driver", "few"), [("psycopg", 20), ("psycopg2", 60)])
def test_postgres(postgres_port, driver, few):
    needs("sqlalchemy", driver)
    url = f"postgresql+{driver}://tester@127.0.0.1:{postgres_port}/postgres"
    fine(PROGRAM.format(url=url, few=few), PSYCOPG_IMPL="python")


def test_sqlite(tmp_path):
    """Its own waits for another writer are in C."""
    needs("sqlalchemy")
    fine(PROGRAM.format(url=f"sqlite:///{tmp_path}/data?timeout=90", few=60))
