"""greenlet, and what is built on it: SQLAlchemy's asyncio extension, gevent.

Rule: `switch_wired` in neighbours.c. greenlet keeps the current greenlet of a thread, so the first
switch of a greenlet in a goroutine wires that goroutine to its thread for life, and the thread ends
with it. Without it greenlets of two goroutines on one thread are mixed up.
"""

import pytest
from helpers import needs

from .support import fine

BODY = """
    def main():
        def body(i):
            log = []
            me = greenlet.getcurrent()
            def inner(x):
                log.append(x)
                wander(i)
                y = me.switch(x + 1)
                wander(i)
                log.append(y)
                return "end"
            g = greenlet.greenlet(inner)
            first = g.switch(i)
            thread = threading.get_native_id()
            wander(i)
            second = g.switch(2 * first)
            assert threading.get_native_id() == thread
            return first, second, log
        for _ in range(3):
            assert each(30, body) == [(i + 1, "end", [i, 2 * i + 2]) for i in range(30)]
        assert eventually(lambda: debug.stats().threads < 30), debug.stats()
    run(main)
    print("fine")
"""

EVENTUALLY = """
    import time
    from goroutines import debug
    def eventually(condition):
        end = time.monotonic() + 20
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)
        return condition()
"""


@pytest.mark.parametrize("first", ["greenlet", "goroutines"])
def test_greenlets_in_many_goroutines(first, procs):
    """Whether greenlet was imported before us or after; wired threads end with their goroutines."""
    needs("greenlet")
    fine(
        f"    import {first}\n    import greenlet, threading\n"
        "    from crowd import each, run, wander\n" + EVENTUALLY + BODY,
        procs,
    )


def test_exceptions_thrown_into_greenlets(procs):
    needs("greenlet")
    fine(
        """
        import greenlet
        from crowd import each, run, wander
        def main():
            def body(i):
                def inner():
                    try:
                        me.switch("ready")
                    except KeyError as error:
                        wander(i)
                        return error.args
                me = greenlet.getcurrent()
                g = greenlet.greenlet(inner)
                assert g.switch() == "ready"
                wander(i)
                return g.throw(KeyError(i))
            assert each(20, body) == [(i,) for i in range(20)]
        run(main)
        print("fine")
        """,
        procs,
    )


def test_sqlalchemy_s_asyncio_engine(procs):
    """It runs blocking code in greenlets on the loop's thread; aiosqlite adds a thread for each."""
    needs("greenlet", "sqlalchemy", "aiosqlite")
    fine(
        """
        import asyncio
        # Not by several at once: importlib sets it in its parent after others can have it.
        import sqlalchemy.dialects.sqlite.aiosqlite
        from sqlalchemy import Integer, String, select
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
        from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
        from crowd import each, run, wander
        class Base(DeclarativeBase):
            pass
        class Row(Base):
            __tablename__ = "rows"
            key: Mapped[int] = mapped_column(Integer, primary_key=True)
            name: Mapped[str] = mapped_column(String)
        async def work(i):
            engine = create_async_engine("sqlite+aiosqlite://")
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
            async with AsyncSession(engine) as session:
                for k in range(3):
                    session.add(Row(key=k, name=f"{i}-{k}"))
                    wander(i)
                    await session.flush()
                await session.commit()
                rows = (await session.execute(select(Row).order_by(Row.key))).scalars().all()
                names = [row.name for row in rows]
            await engine.dispose()
            return names
        def main():
            got = each(6, lambda i: asyncio.run(work(i)))
            assert got == [[f"{i}-{k}" for k in range(3)] for i in range(6)], got
        run(main)
        print("fine")
        """,
        procs,
        env={"SQLALCHEMY_WARN_20": "0"},
    )


def test_gevent_in_a_thread_of_its_own(procs):
    """Its hub belongs to one thread; goroutines elsewhere go on, and values go through channels."""
    needs("gevent")
    fine(
        """
        import threading
        import gevent
        import goroutines as G
        from crowd import each, run, wander
        def main():
            ask, answer = G.Chan(int), G.Chan(int)
            def greenlets():
                def double(x):
                    gevent.sleep(0.001)
                    return 2 * x
                for x in ask:
                    jobs = [gevent.spawn(double, x + k) for k in range(3)]
                    gevent.joinall(jobs)
                    answer.send(sum(job.value for job in jobs))
            thread = threading.Thread(target=greenlets)
            thread.start()
            for x in range(20):
                ask.send(x)
                wander(x)
                assert answer.recv() == 6 * x + 6
            ask.close()
            thread.join()
        run(main)
        print("fine")
        """,
        procs,
    )


def test_gevent_hubs_in_goroutines(procs):
    """Each goroutine that uses it is wired, and has a hub of its own."""
    needs("gevent")
    fine(
        """
        import gevent
        from crowd import each, run, wander
        def main():
            def body(i):
                def work(x):
                    gevent.sleep(0.001 * (x % 3))
                    return i * x
                jobs = [gevent.spawn(work, x) for x in range(5)]
                gevent.joinall(jobs)
                wander(i)
                gevent.get_hub().destroy(destroy_loop=True)
                return [job.value for job in jobs]
            assert each(8, body) == [[i * x for x in range(5)] for i in range(8)]
        run(main)
        print("fine")
        """,
        procs,
    )
