"""Event loops in goroutines, beside them, and in threads that talk to them.

Rule: the running loop belongs to the thread state, thus to the goroutine; a coroutine's step never
changes its thread, since a goroutine does so in calls of this library only.
"""

import pytest
from helpers import needs

from .support import fine

LOOPS = {"asyncio": "asyncio.run", "uvloop": "uvloop.run"}


@pytest.mark.parametrize("kind", LOOPS)
def test_several_loops_at_once(kind, procs):
    if kind == "uvloop":
        needs("uvloop")
    fine(
        f"""
        import asyncio, time
        {"import uvloop" if kind == "uvloop" else ""}
        import goroutines as G
        from crowd import each, run, wander
        async def serve(i):
            loop = asyncio.get_running_loop()
            async def handle(reader, writer):
                while line := await reader.readline():
                    writer.write(line.upper())
                    await writer.drain()
                writer.close()
            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            async def client(k):
                reader, writer = await asyncio.open_connection(*address)
                got = []
                for n in range(5):
                    writer.write(f"line {{i}} {{k}} {{n}}\\n".encode())
                    got.append((await reader.readline()).decode())
                    await asyncio.sleep(0.001)
                    assert asyncio.get_running_loop() is loop
                writer.close()
                await writer.wait_closed()
                return got == [f"LINE {{i}} {{k}} {{n}}\\n" for n in range(5)]
            results = await asyncio.gather(*(client(k) for k in range(3)))
            server.close()
            return all(results)
        def main():
            def body(i):
                assert {LOOPS[kind]}(serve(i))
                wander(i)
                return {LOOPS[kind]}(asyncio.sleep(0, i))
            assert each(6, body) == list(range(6))
        run(main)
        print("fine")
        """,
        procs,
    )


def test_a_coroutine_may_wait_in_a_channel(procs):
    """Its whole loop waits with it; other loops and goroutines go on."""
    fine(
        """
        import asyncio
        import goroutines as G
        from crowd import each, run, wander
        def main():
            c = G.Chan(int)
            def feeds():
                for i in range(40):
                    wander(i)
                    c.send(i)
            G.go(feeds)
            async def work(i):
                loop, total = asyncio.get_running_loop(), 0
                for _ in range(5):
                    total += c.recv()
                    await asyncio.sleep(0)
                    assert asyncio.get_running_loop() is loop
                return total
            assert sum(each(8, lambda i: asyncio.run(work(i)))) == sum(range(40))
        run(main)
        print("fine")
        """,
        procs,
    )


def test_no_loop_runs_in_another_goroutine(procs):
    fine(
        """
        import asyncio
        import goroutines as G
        from crowd import each, run, wander
        def main():
            gate, running = G.Chan(), G.Chan()
            async def waits():
                running.send(None)
                gate.recv()
                return True
            out = G.Chan()
            for _ in range(5):
                G.go(lambda: out.send(asyncio.run(waits())))
                running.recv()
            def body(i):
                wander(i)
                assert asyncio._get_running_loop() is None
                try:
                    asyncio.get_running_loop()
                except RuntimeError:
                    return True
            assert all(each(20, body))
            for _ in range(5):
                gate.send(None)
            assert all(out.recv() for _ in range(5))
        run(main)
        print("fine")
        """,
        procs,
    )


TALKS = """
        import asyncio, threading
        import goroutines as G
        from crowd import each, run, wander
        jobs = G.Chan(tuple)
        def worker(i):
            for job, answer in jobs:
                wander(job)
                answer.send(job * job)
        async def talk():
            async def one(i):
                answer = G.Chan(int, 1)
                await asyncio.to_thread(jobs.send, (i, answer))
                return await asyncio.to_thread(answer.recv)
            ticks = 0
            async def ticker():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.001)
                    ticks += 1
            beside = asyncio.create_task(ticker())
            squares = await asyncio.gather(*(one(i) for i in range(60)))
            beside.cancel()
            assert ticks > 0
            return sorted(squares)
"""


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_in_the_main_thread_talks_to_goroutines(kind, procs):
    """Over channels, from asyncio.to_thread: the loop itself never waits."""
    if kind == "uvloop":
        needs("uvloop")
    fine(
        TALKS
        + f"""
        {"import uvloop" if kind == "uvloop" else ""}
        for i in range(5):
            G.go(worker, i)
        assert {LOOPS[kind]}(talk()) == [i * i for i in range(60)]
        jobs.close()
        print("fine")
        """,
        procs,
    )


def test_a_loop_in_a_thread_beside_run(procs):
    fine(
        TALKS
        + """
        def main():
            for i in range(5):
                G.go(worker, i)
            got = []
            thread = threading.Thread(target=lambda: got.append(asyncio.run(talk())))
            thread.start()
            thread.join()
            assert got == [[i * i for i in range(60)]]
            jobs.close()
        run(main)
        print("fine")
        """,
        procs,
    )


def test_goroutines_call_into_a_loop(procs):
    """What is meant for calls from other threads serves goroutines, too."""
    fine(
        """
        import asyncio, threading
        import goroutines as G
        from crowd import each, run, wander
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        def main():
            async def double(x):
                await asyncio.sleep(0.001)
                return 2 * x
            def body(i):
                c = G.Chan(int, 1)
                for k in range(5):
                    wander(k)
                    future = asyncio.run_coroutine_threadsafe(double(i + k), loop)
                    assert future.result(timeout=50) == 2 * (i + k)
                    loop.call_soon_threadsafe(c.send, k)
                    assert c.recv() == k
            each(10, body)
        run(main)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        print("fine")
        """,
        procs,
    )


def test_signal_handlers_of_a_loop_are_the_main_thread_s(procs):
    """As in any thread but the main one; what is documented is what happens."""
    fine(
        """
        import asyncio, signal
        from crowd import each, run
        async def work():
            try:
                asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
            except (RuntimeError, ValueError):
                return True
        def main():
            assert all(each(3, lambda i: asyncio.run(work())))
        run(main)
        print("fine")
        """,
        procs,
    )


def test_the_end_of_run_cancels_what_a_loop_runs(procs):
    """GoroutineExit goes through asyncio.run: tasks are cancelled, finally blocks run."""
    fine(
        """
        import asyncio
        import goroutines as G
        from crowd import run
        log = []
        async def task():
            try:
                await asyncio.sleep(1000)
            finally:
                log.append("task")
        async def work(begun):
            beside = asyncio.create_task(task())
            await asyncio.sleep(0)
            begun.send(None)
            try:
                G.Chan().recv()
            finally:
                log.append("work")
        def main():
            begun = G.Chan()
            for _ in range(3):
                G.go(lambda: asyncio.run(work(begun)))
                begun.recv()
        run(main)
        assert sorted(log) == ["task"] * 3 + ["work"] * 3, log
        print("fine")
        """,
        procs,
    )
