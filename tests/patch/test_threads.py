"""Threads that are goroutines."""

import pytest
from helpers import script

PROLOGUE = """
import contextvars, gc, os, sys, threading, time, weakref, _thread
import goroutines as G
from goroutines import patch
from threading import get_ident as early_get_ident
patch.all()
"""


def run(source: str, *, code: int = 0) -> tuple[str, str]:
    done = script(PROLOGUE + source, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("call", ["main()", "G.run(main)"])
def test_a_thread_is_a_goroutine_wherever_it_is_started(call):
    run(
        f"""
def main():
    before, threads = G.num_goroutine(), threading.active_count()
    event = threading.Event()
    crowd = [threading.Thread(target=event.wait, name=f"t{{i}}") for i in range(300)]
    for t in crowd:
        t.start()
    assert G.num_goroutine() == before + 300
    assert len(os.listdir("/proc/self/task")) < 20
    assert threading.active_count() == threads + 300 and set(crowd) <= set(threading.enumerate())
    assert all(t.is_alive() and t.ident for t in crowd)
    event.set()
    for t in crowd:
        t.join()
    assert not any(t.is_alive() for t in crowd)
    assert threading.active_count() == threads
    assert len({{t.ident for t in crowd}}) == 300

{call}
"""
    )


def test_identity():
    run(
        """
def main():
    me = threading.current_thread()
    assert me is threading.main_thread() and me.name == "MainThread" and not me.daemon
    assert early_get_ident() == me.ident == threading.get_ident()
    seen = []
    def member():
        ident, thread = threading.get_ident(), threading.current_thread()
        for _ in range(20):
            time.sleep(0.0005)
            assert (threading.get_ident(), threading.current_thread()) == (ident, thread)
        seen.append((ident, thread, threading.main_thread()))
    threads = [threading.Thread(target=member) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {s[1] for s in seen} == set(threads) and all(s[0] == s[1].ident for s in seen)
    assert {s[2] for s in seen} == {me}

G.run(main)
assert threading.current_thread() is threading.main_thread()
"""
    )


def test_goroutines_leave_no_dummy_threads():
    run(
        """
def main():
    names = set()
    over = G.Chan(capacity=100)
    def member():
        names.add(threading.current_thread().name)
        time.sleep(0.001)
        over.send(1)
    for _ in range(100):
        G.go(member)
    for _ in range(100):
        over.recv()
    assert len(names) == 100
    G.sleep(0.05)
    gc.collect()
    assert threading.enumerate() == [threading.main_thread()]
    assert len(threading._active) == 1

G.run(main)
"""
    )


def test_raw_threads():
    out, err = run(
        """
def main():
    done = G.Chan(capacity=9)
    for start in (_thread.start_new_thread, _thread.start_new):
        def body(*args, **kwargs):
            done.send((early_get_ident(), args, kwargs))
        ident = start(body, (1,), {"k": 2})
        assert done.recv() == (ident, (1,), {"k": 2})
    for wrong in ((), (len,), (1, ()), (len, []), (len, (), [])):
        try:
            _thread.start_new_thread(*wrong)
        except TypeError:
            done.send(1)
    print(len(done))
    _thread.start_new_thread(sys.exit, ())
    _thread.start_new_thread(lambda: 1 / 0, ())
    G.sleep(0.05)

G.run(main)
"""
    )
    assert out == "5\n"
    assert err.count("ZeroDivisionError") == 1 and "in thread started by" in err


def test_what_escapes_goes_to_threadings_hook():
    out, err = run(
        """
def main():
    def broken():
        raise ValueError("what is wrong")
    t = threading.Thread(target=broken, name="the broken one")
    t.start()
    t.join()
    t = threading.Thread(target=sys.exit, args=("silent",))
    t.start()
    t.join()
    seen = []
    threading.excepthook = seen.append
    # Ends with the program, and is nobody's failure.
    threading.Thread(target=time.sleep, args=(60,)).start()
    t = threading.Thread(target=broken)
    t.start()
    t.join()
    print([(args.exc_type.__name__, args.thread is t) for args in seen])
    return seen

seen = G.run(main)
assert len(seen) == 1
"""
    )
    assert out == "[('ValueError', True)]\n"
    assert "Exception in thread the broken one" in err and err.count("ValueError: what") == 1
    assert "GoroutineExit" not in err and "silent" not in err


def test_context_locals_hooks_and_daemons():
    run(
        """
var = contextvars.ContextVar("var", default="default")
local = threading.local()

def plain_context():
    # What a real thread starts with.
    return sys.version_info >= (3, 14) and getattr(sys.flags, "thread_inherit_context", 0)

def main():
    var.set("main")
    local.x = "main"
    seen, traced = [], []
    def member():
        seen.append((var.get(), hasattr(local, "x"), threading.current_thread().daemon))
        var.set("thread")
        local.x = "thread"
    threading.settrace(lambda frame, event, arg: traced.append(frame.f_code.co_name))
    t = threading.Thread(target=member, daemon=True)
    t.start()
    t.join()
    threading.settrace(None)
    assert seen == [("main" if plain_context() else "default", False, True)], seen
    assert "member" in traced and var.get() == local.x == "main"
    gone = []
    class Value:
        def __del__(self):
            gone.append(1)
    def keeps():
        local.value = Value()
    t = threading.Thread(target=keeps)
    t.start()
    t.join()
    assert gone == [1]
    ref = weakref.ref(t)
    del t
    gc.collect()
    assert ref() is None

G.run(main)
"""
    )


def test_join():
    run(
        """
def main():
    t = threading.Thread(target=time.sleep, args=(0.2,))
    try:
        t.join()
    except RuntimeError:
        pass
    t.start()
    start = time.monotonic()
    t.join(0.05)
    assert t.is_alive() and time.monotonic() - start < 0.19
    over = G.Chan(capacity=100)
    for _ in range(50):
        G.go(lambda: over.send(t.join()))
    for _ in range(50):
        over.recv()
    assert not t.is_alive()
    t.join()
    own = []
    def joins_itself():
        try:
            threading.current_thread().join()
        except RuntimeError as exc:
            own.append(exc)
    t = threading.Thread(target=joins_itself)
    t.start()
    t.join()
    assert own

main()
G.run(main)
"""
    )


def test_threads_that_existed_before():
    """A goroutine joins them, though nobody tells when they end."""
    out = script(
        """
        import threading
        import goroutines as G
        from goroutines import patch
        go = threading.Event()
        t = threading.Thread(target=go.wait)
        t.start()
        patch.all()
        def main():
            G.after_func(0.1, go.set)
            t.join(0.01)
            assert t.is_alive()
            t.join()
            print(t.is_alive())
        G.run(main)
        """
    )
    assert out.stdout == "False\n", out.stderr


def test_handles():
    """From Python 3.13 on, threads are started with one."""
    run(
        """
if hasattr(_thread, "start_joinable_thread"):
    def main():
        done = []
        def body():
            time.sleep(0.05)
            done.append(early_get_ident())
        handle = _thread.start_joinable_thread(body)
        assert not handle.is_done()
        handle.join()
        assert handle.is_done() and done == [handle.ident]
        fresh = _thread._ThreadHandle()
        _thread.start_joinable_thread(lambda: time.sleep(0.05), handle=fresh, daemon=False)
        try:
            _thread.start_joinable_thread(len, handle=fresh)
        except RuntimeError as exc:
            assert str(exc) == "thread already started"
        fresh.join(0.001)
        assert not fresh.is_done()
        fresh.join()
        for wrong in (dict(function=1), dict(function=len, handle=1), dict()):
            try:
                _thread.start_joinable_thread(**wrong)
            except TypeError:
                continue
            raise AssertionError(wrong)
    main()
    G.run(main)
"""
    )


def test_idents_where_the_os_wants_one():
    run(
        """
import signal
def main():
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread()))
    event = threading.Event()
    t = threading.Thread(target=event.wait)
    t.start()
    signal.pthread_kill(t.ident, 0)
    for n, ident in enumerate((t.ident, threading.get_ident()), 1):
        signal.pthread_kill(ident, signal.SIGUSR1)
        while len(seen) < n:
            time.sleep(0.001)
    assert set(seen) == {threading.main_thread()}
    clock = time.pthread_getcpuclockid(t.ident)
    assert time.clock_gettime(clock) >= 0
    event.set()
    t.join()

G.run(main)
"""
    )


def test_non_daemon_threads_are_waited_for_at_exit():
    out, _ = run(
        """
def late(seconds):
    time.sleep(seconds)
    print("late", seconds)
for seconds in (0.2, 0.1):
    threading.Thread(target=late, args=(seconds,)).start()
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
print("top")
"""
    )
    assert out.split("\n") == ["top", "late 0.1", "late 0.2", ""]


def test_stack_size_and_pools():
    run(
        """
import concurrent.futures, logging
def main():
    threading.stack_size(16 << 20)
    def deep(n):
        return sorted([n], key=lambda n: deep(n - 1) if n else 0) if n else 0
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(lambda x: (time.sleep(0.01), x)[1], range(200))) == 19900
        pool.submit(deep, 100).result()
        assert len(os.listdir("/proc/self/task")) < 20

G.run(main)
"""
    )


def test_fork():
    out, _ = run(
        """
def child(who):
    me = threading.current_thread()
    assert me is threading.main_thread() and me.is_alive()
    assert threading.enumerate() == [me] and me.ident == threading.get_ident()
    def work():
        time.sleep(0.01)
        print("thread of", who, flush=True)
    def main():
        assert threading.current_thread() is threading.main_thread()
        t = threading.Thread(target=work)
        t.start()
        t.join()
    G.run(main)
    threading.Thread(target=work).start()  # waited for at the end

def forks(who, rlock):
    with rlock:
        pid = os.fork()
        if not pid:
            assert rlock._is_owned()
    if not pid:
        child(who)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0, who

def main():
    rlock = threading.RLock()
    forks("main", rlock)
    t = threading.Thread(target=forks, args=("worker", rlock))
    t.start()
    t.join()

import warnings
warnings.simplefilter("ignore", DeprecationWarning)
G.run(main)
"""
    )
    assert sorted(out.split("\n")) == ["", *["thread of main"] * 2, *["thread of worker"] * 2]


@pytest.mark.parametrize("start", ["_thread.start_new_thread(forks, ())", "G.go(forks)"])
def test_fork_by_one_who_has_no_thread_object(start):
    run(
        f"""
def forks():
    pid = os.fork()
    if not pid:
        me = threading.current_thread()
        os._exit(threading.enumerate() != [me] or me is not threading.main_thread())
    statuses.send(os.waitpid(pid, 0)[1])

import warnings
warnings.simplefilter("ignore", DeprecationWarning)
statuses = G.Chan(int)
{start}
assert statuses.recv() == 0
"""
    )


@pytest.mark.hang(100)
def test_fork_while_threads_end():
    """A thread state that is cleared, and about to be deleted, is cleared again in the child."""
    run(
        """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
sys.setswitchinterval(1e-6)

def main():
    for i in range(300):
        t = threading.Thread(target=int)
        t.start()
        pid = os.fork()
        if not pid:
            os._exit(11 if t.is_alive() else 10)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 10
        t.join()

G.run(main)
"""
    )


def test_executors_end_silently():
    out, err = run(
        """
from concurrent.futures import ThreadPoolExecutor
def main():
    executor = ThreadPoolExecutor(3)
    return list(executor.map(str, range(3)))
patch.all()
print(G.run(main))
"""
    )
    assert (out, err) == ("['0', '1', '2']\n", "")


def test_cleanup_may_start_threads():
    out, err = run(
        """
def member(n):
    try:
        G.select()
    finally:
        thread = threading.Thread(target=lambda: [time.sleep(0.001), log.append(n)])
        thread.start()
        thread.join()
        log.append("joined")
def main():
    for n in range(20):
        G.go(member, n)
    G.sleep(0.01)
log = []
patch.all()
G.run(main)
print(log.count("joined"), sorted(n for n in log if n != "joined") == list(range(20)))
"""
    )
    assert (out, err) == ("20 True\n", "")


def test_asyncio_ends_with_run():
    """It joins its executor's threads, by a thread that it starts for that."""
    out, err = run(
        """
import asyncio
async def server():
    try:
        log.append(await asyncio.to_thread(lambda: 5))
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.01)
        log.append("finally")
def main():
    G.go(asyncio.run, server())
    while not log:
        G.sleep(0.001)
    G.sleep(0.01)
log = []
patch.all()
for _ in range(3):
    log.clear()
    start = time.monotonic()
    G.run(main)
    print(log, time.monotonic() - start < 20)
"""
    )
    assert (out, err) == ("[5, 'finally'] True\n" * 3, "")


def test_the_end_of_run_does_not_interrupt_what_forgets_a_goroutine():
    """From 3.12 on a goroutine that threading knew is forgotten under a lock, after its end."""
    done = script(
        """
        import threading
        import goroutines as G
        from goroutines import patch
        patch.all()

        def known(leave):
            threading.current_thread()
            leave.recv()

        def holds(locked):
            with threading._active_limbo_lock:
                locked.send(None)
                G.Chan().recv()

        def main():
            leave, locked = G.Chan(), G.Chan()
            G.go(known, leave)
            G.sleep(0.01)
            G.go(holds, locked)
            locked.recv()
            leave.send(None)
            G.sleep(0.01)

        G.run(main)
        assert len(threading._active) == 1, threading._active
        """
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
