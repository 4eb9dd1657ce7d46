"""patch.signal()."""

import pytest
from helpers import script, slack

PROLOGUE = """
import _thread, os, queue, signal, sys, threading, time
import goroutines as G
from goroutines import patch
patch.all()
"""


def run(source: str) -> str:
    done = script(PROLOGUE + source, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_wants_the_main_thread_works_in_the_main_goroutine_only():
    run(
        """
calls = [lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN), lambda: signal.set_wakeup_fd(-1)]

def main():
    assert calls[0]() == signal.SIG_DFL and calls[0]() == signal.SIG_IGN and calls[1]() == -1
    signal.siginterrupt(signal.SIGUSR1, False)
    for wrong in (lambda: signal.signal(1000, signal.SIG_IGN), lambda: signal.signal(10, "x")):
        try:
            wrong()
        except (ValueError, TypeError):
            continue
        raise AssertionError
    refused = G.Chan(capacity=9)
    def elsewhere():
        for call in calls:
            try:
                call()
            except ValueError as exc:
                refused.send(str(exc))
    G.go(elsewhere)
    threading.Thread(target=elsewhere).start()
    assert all("main thread" in refused.recv() for _ in range(4))

G.run(main)
"""
    )


@pytest.mark.parametrize(
    "send",
    [
        "os.kill(os.getpid(), 10)",
        "signal.raise_signal(10)",
        "signal.pthread_kill(threading.get_ident(), 10)",
        "signal.pidfd_send_signal(os.pidfd_open(os.getpid()), 10)",
    ],
)
def test_the_handler_has_run_when_the_call_returns(send):
    out = run(
        f"""
class Stop(Exception):
    pass

def main():
    seen = []
    signal.signal(10, lambda *_: seen.append(threading.current_thread()))
    {send}
    assert seen == [threading.main_thread()]
    def stop(*_):
        raise Stop
    signal.signal(10, stop)
    try:
        {send}
        print("not reached")
    except Stop:
        print("stopped")

G.run(main)
"""
    )
    assert out == "stopped\n"


@pytest.mark.parametrize(
    "wait",
    [
        "time.sleep(30)",
        "lock.acquire()",
        "lock.acquire(timeout=30)",
        "rlock.acquire()",
        "threading.Event().wait()",
        "queue.Queue().get()",
        "queue.SimpleQueue().get()",
        "thread.join()",
        "G.Chan().recv()",
    ],
)
def test_an_exception_reaches_main_where_it_is_parked(wait):
    out = run(
        f"""
class Stop(Exception):
    pass

def stop(*_):
    raise Stop

def main():
    lock, rlock = threading.Lock(), threading.RLock()
    lock.acquire()
    thread = threading.Thread(target=time.sleep, args=(30,), daemon=True)
    thread.start()
    held = G.Chan()
    def holder():
        rlock.acquire()
        held.send(1)
        time.sleep(30)
    G.go(holder)
    held.recv()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    start = time.monotonic()
    try:
        {wait}
    except Stop:
        print("stopped", time.monotonic() - start < 10)

G.run(main)
"""
    )
    assert out == "stopped True\n"


def test_one_exception_soon_after_another_is_raised_in_main_too():
    out = run(
        """
def stop(*_):
    1 / 0

def main():
    signal.signal(signal.SIGALRM, stop)
    for _ in range(3):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            time.sleep(30)
        except ZeroDivisionError:
            print("caught")

G.run(main)
"""
    )
    assert out == "caught\n" * 3


def test_a_signal_that_comes_as_the_main_thread_goes_to_sleep_is_handled_soon():
    out = run(
        """
def main():
    rounds, handled = 500, []
    signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_REAL, 2e-5))
    signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
    start = time.monotonic()
    for n in range(rounds):
        os.kill(os.getpid(), signal.SIGUSR1)
        while len(handled) == n:
            time.sleep(1e-5)
    print(time.monotonic() - start)

G.run(main)
"""
    )
    assert float(out) < slack(5)


def test_pause():
    out = run(
        """
def main():
    signal.signal(signal.SIGALRM, lambda *_: print("handled"))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    signal.pause()
    print("over")

G.run(main)
"""
    )
    assert out == "handled\nover\n"


def test_interrupt_main():
    out = run(
        """
def main():
    t = threading.Thread(target=_thread.interrupt_main)
    try:
        t.start()
        t.join()
        print("not reached")
    except KeyboardInterrupt:
        print("interrupted")

G.run(main)
"""
    )
    assert out == "interrupted\n"


def test_a_handler_may_wait_for_the_one_who_sent_the_signal():
    out = run(
        """
def main():
    gate = threading.Event()
    signal.signal(10, lambda *_: gate.wait(10))
    def sender():
        signal.raise_signal(10)
        gate.set()
        print("sent")
    t = threading.Thread(target=sender)
    t.start()
    t.join()

G.run(main)
"""
    )
    assert out == "sent\n"


def test_run_in_another_thread():
    """There the main goroutine is not on the main thread: as before."""
    out = run(
        """
def main():
    try:
        signal.signal(10, signal.SIG_IGN)
    except ValueError:
        print("refused")
    signal.raise_signal(signal.SIGWINCH)

patch.original("_thread", "start_new_thread")(lambda: (G.run(main), over.set()), ())
over = threading.Event()
over.wait(20)
"""
    )
    assert out == "refused\n"
