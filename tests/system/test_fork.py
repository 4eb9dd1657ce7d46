"""os.fork, subprocess and multiprocessing beside goroutines and out of them."""

import os
import signal
import subprocess
import sys
import time

import pytest
from goroutines import Chan, go, run
from helpers import eventually, in_run, on_procs, prints, script, told

CHILD = """
import os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import goroutines as G

def reap(pid):
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)

"""


def test_fork_from_the_main_thread_beside_parked_goroutines():
    prints(
        CHILD
        + """
gate = G.Chan()
for _ in range(1000):
    G.go(gate.recv_ok)
G.sleep(0.05)
pid = os.fork()
if pid == 0:
    alive = G.num_goroutine()
    c = G.Chan()
    G.go(c.send, "child")
    assert c.recv() == "child"
    assert G.run(lambda: "run") == "run"
    os._exit(0 if alive == 0 else 1)
print(reap(pid), G.num_goroutine())
gate.close()
""",
        "0 1000",
    )


def test_the_core_imports_nothing_later():
    """A goroutine that did would hold a module's lock, for ever in a child forked meanwhile."""
    prints(
        CHILD
        + """
before = {name for name in sys.modules if name.startswith("goroutines")}
def main():
    c = G.Chan(list[int], by_value=True)
    G.go(c.send, [1])
    c.recv()
    G.excepthook = lambda args: None
    G.go(lambda: 1 / 0)
    G.select(G.recv(c), timeout=0.01)
try:
    G.run(main)
except TimeoutError:
    pass
pid = os.fork()
if pid == 0:
    os._exit(0)
print(reap(pid), {name for name in sys.modules if name.startswith("goroutines")} - before)
""",
        "0 set()",
    )


def test_fork_from_the_main_goroutine():
    prints(
        CHILD
        + """
def main():
    for _ in range(100):
        G.go(G.Chan().recv)
    G.sleep(0.02)
    pid = os.fork()
    if pid == 0:
        c = G.Chan()
        alive = G.num_goroutine()
        G.go(c.send, 40)
        os._exit(c.recv(timeout=10) if alive <= 1 else alive)
    return reap(pid), G.num_goroutine()
print(G.run(main))
""",
        # In the child the forking goroutine is alone.
        "(40, 101)",
    )


def test_fork_from_a_goroutine():
    prints(
        CHILD
        + """
def main():
    out = G.Chan()
    def body():
        pid = os.fork()
        if pid == 0:
            c = G.Chan()
            def in_child():
                for i in range(10):
                    G.sleep(0.001)
                    c.send(i)
                c.close()
            G.go(in_child)
            os._exit(sum(c))
        out.send(reap(pid))
    for _ in range(5):
        G.go(body)
    return [out.recv() for _ in range(5)]
print(G.run(main))
""",
        str([45] * 5),
    )


def test_run_in_a_forked_child():
    prints(
        CHILD
        + """
def main():
    out = G.Chan()
    def body():
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(G.run(lambda: 7))
            finally:
                os._exit(99)
        out.send(reap(pid))
    G.go(body)
    return out.recv()
print(G.run(main))
""",
        "7",
    )


def test_a_child_that_falls_off_the_end_of_the_forking_goroutine():
    """It is the main goroutine of the child: when it ends, the process ends as after main."""
    done = script(
        CHILD
        + """
import atexit
def main():
    out = G.Chan()
    def body():
        pid = os.fork()
        if pid == 0:
            atexit.register(lambda: os.write(1, b"atexit in the child\\n"))
            return
        out.send(reap(pid))
    G.go(body)
    return out.recv()
print("parent", G.run(main), flush=True)
"""
    )
    lines = done.stdout.splitlines()
    assert lines.count("atexit in the child") == 1, told(done)
    assert lines[-1] == "parent 0" and lines.count("parent 0") == 1, told(done)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit(5)", 5),
        ("sys.exit(-1)", 255),
        ("raise ValueError('in the child')", 1),
        ("return", 0),
        ("raise KeyboardInterrupt", -2),
    ],
)
def test_exit_codes_of_a_forked_goroutine(end, code):
    done = script(
        CHILD
        + f"""
def main():
    out = G.Chan()
    def body():
        pid = os.fork()
        if pid == 0:
            {end}
        out.send(reap(pid))
    G.go(body)
    return out.recv()
print(G.run(main))
"""
    )
    assert done.stdout.splitlines()[-1] == str(code), told(done)
    assert done.returncode == 0


def test_goroutines_of_the_parent_do_not_run_in_the_child():
    prints(
        CHILD
        + """
log = []
def ticks():
    while True:
        log.append(os.getpid())
        G.sleep(0.001)
def main():
    for _ in range(5):
        G.go(ticks)
    G.sleep(0.02)
    pid = os.fork()
    if pid == 0:
        mine = os.getpid()
        del log[:]
        G.sleep(0.05)
        os._exit(1 if mine in log else 0)
    return reap(pid)
print(G.run(main))
""",
        "0",
    )


def test_timers_and_deadlocks_in_the_child():
    prints(
        CHILD
        + """
def main():
    t = G.Timer(600)
    pid = os.fork()
    if pid == 0:
        start = time.monotonic()
        G.after(0.02).recv()
        t.reset(0.02)
        t.chan.recv(timeout=10)
        try:
            G.Chan().recv()
        except G.DeadlockError:
            os._exit(3)
        os._exit(4)
    return reap(pid)
print(G.run(main))
""",
        "3",
    )


@pytest.mark.parametrize("n_procs", [1, 4])
def test_fork_while_everybody_is_busy(n_procs):
    """No lock of the runtime is held by somebody else at the moment of the fork."""
    prints(
        CHILD
        + f"""
G.gomaxprocs({n_procs})
def main():
    stop, c = [], G.Chan()
    def busy():
        while not stop:
            G.select(G.recv(c), G.send(c, 1), G.recv(G.after(0.0005)))
    def sleeps():
        while not stop:
            time.sleep(0.0005)
            G.sleep(0.0005)
    for _ in range(5):
        G.go(busy)
        G.go(sleeps)
    codes = set()
    for _ in range(20):
        G.sleep(0.001)
        pid = os.fork()
        if pid == 0:
            d = G.Chan()
            G.go(lambda: [G.sleep(0.001), d.send(1)])
            os._exit(d.recv(timeout=10))
        codes.add(reap(pid))
    stop.append(1)
    return codes
print(G.run(main))
""",
        "{1}",
        timeout=50,
    )


def test_a_fork_in_a_fork():
    prints(
        CHILD
        + """
def generation(n):
    if n == 0:
        return 1
    out = G.Chan(capacity=1)
    def body():
        pid = os.fork()
        if pid == 0:
            os._exit(generation(n - 1))
        out.send(reap(pid))
    G.go(body)
    return out.recv() + 1
print(G.run(generation, 4))
""",
        "5",
    )


def test_a_wired_goroutine_forks():
    prints(
        CHILD
        + """
def main():
    G.lock_os_thread()
    pid = os.fork()
    if pid == 0:
        c = G.Chan()
        G.go(c.send, 9)
        os._exit(c.recv(timeout=10))
    return reap(pid)
print(G.run(main))
""",
        "9",
    )


def test_signals_in_a_forked_child():
    done = script(
        CHILD
        + """
import signal
def main():
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        G.sleep(10)
        os._exit(1)
    return reap(pid)
print(G.run(main))
"""
    )
    assert done.stdout == f"{-signal.SIGTERM}\n", told(done)


def test_a_signal_handler_runs_in_a_forked_child_that_computes():
    prints(
        CHILD
        + """
import signal
def main():
    computes, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
        os.write(told, b"x")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pass
        os._exit(1)
    os.read(computes, 1)
    os.kill(pid, signal.SIGTERM)
    return reap(pid)
print(G.run(main))
""",
        "3",
    )


# ------------------------------------------------------------------ subprocess


@pytest.mark.parametrize("n_procs", [1, 2, 4])
@pytest.mark.hang(120)
def test_subprocesses_by_the_dozen(n_procs):
    def main():
        out = Chan(object)

        def body(i):
            command = [sys.executable, "-S", "-c", f"print({i} * 2)"]
            out.send(int(subprocess.run(command, capture_output=True, check=True).stdout))

        for i in range(24):
            go(body, i)
        return sorted(out.recv() for _ in range(24))

    assert on_procs(n_procs, main) == [2 * i for i in range(24)]


@in_run
def test_a_subprocess_with_input_and_output():
    out = Chan(bytes)

    def body(i):
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        got, _ = process.communicate(b"%d" % i * 1000)
        out.send(got)

    for i in range(10):
        go(body, i)
    assert {out.recv() for _ in range(10)} == {b"%d" % i * 1000 for i in range(10)}


@in_run
def test_a_subprocess_that_is_killed():
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    code = Chan(int, 1)
    go(lambda: code.send(process.wait()))
    process.kill()
    assert code.recv() == -signal.SIGKILL


@in_run
def test_a_subprocess_with_a_preexec_function():
    out = Chan(int)

    def body():
        out.send(
            subprocess.run(["true"], preexec_fn=lambda: os.setpgid(0, 0), check=False).returncode
        )

    for _ in range(5):
        go(body)
    assert [out.recv() for _ in range(5)] == [0] * 5


@in_run
def test_a_child_inherits_no_blocked_signals():
    out = Chan(bytes)
    command = ["grep", "SigBlk", "/proc/self/status"]
    go(lambda: out.send(subprocess.run(command, capture_output=True, check=True).stdout))
    assert int(out.recv().split()[1], 16) == 0


def test_os_system_and_popen():
    def main():
        out = Chan(object)
        go(lambda: out.send(os.system("exit 3") >> 8))
        go(lambda: out.send(os.popen("echo hello").read()))
        return {out.recv(), out.recv()}

    assert run(main) == {3, "hello\n"}


# ------------------------------------------------------------------ multiprocessing

MULTIPROCESSING = """
import multiprocessing, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import goroutines as G

def square(n):
    def main():
        c = G.Chan(int)
        for i in range(n):
            G.go(c.send, n)
        return sum(c.recv() for _ in range(n))
    return G.run(main)

def main():
    context = multiprocessing.get_context({method!r})
    out = G.Chan()
    def body(k):
        with context.Pool(2) as pool:
            out.send(pool.map(square, range(k, k + 5)))
    for k in (0, 10):
        G.go(body, k)
    return sorted([out.recv(), out.recv()])

if __name__ == "__main__":
    print(G.run(main))
"""


@pytest.mark.hang(120)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(MULTIPROCESSING.format(method=method))
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=100, check=False
    )
    expected = [[n * n for n in range(k, k + 5)] for k in (0, 10)]
    assert done.stdout.strip() == str(expected), told(done)
    assert done.returncode == 0, told(done)
    assert time.monotonic() - start < 90


# ------------------------------------------------------------------ by the hundred, and for good


@pytest.mark.hang(120)
def test_fork_from_a_goroutine_beside_ten_thousand():
    """The child forgets them all, and has room for as many of its own."""
    prints(
        CHILD
        + """
def crowd(n):
    gate, out = G.Chan(), G.Chan(int, n)
    for i in range(n):
        G.go(lambda i=i: [gate.recv_ok(), out.send(i)])
    return gate, out

def main():
    n, codes = 10_000, G.Chan()
    gate, out = crowd(n)
    def forks():
        pid = os.fork()
        if pid == 0:
            alive = G.num_goroutine()
            gate, out = crowd(n)
            gate.close()
            ok = sum(out.recv(timeout=60) for _ in range(n)) == n * (n - 1) // 2
            os._exit(10 * ok + alive)
        codes.send(reap(pid))
    G.go(forks)
    code = codes.recv()
    gate.close()
    return code, sum(out.recv() for _ in range(n)) == n * (n - 1) // 2
print(G.run(main))
""",
        # num_goroutine() counts from 0 in the child.
        "(10, True)",
        timeout=90,
    )


@pytest.mark.hang(180)
def test_subprocesses_by_the_hundred_at_once():
    """Each waits for its own child: no exit status gets lost or mixed up, and no child is left."""
    prints(
        CHILD
        + """
import subprocess
def main():
    out = G.Chan()
    def body(i):
        p = subprocess.Popen(["/bin/sh", "-c", f"read x; exit {i}"], stdin=subprocess.PIPE)
        ready.send(None)
        gate.recv_ok()
        p.communicate(b"go\\n")
        out.send((i, p.returncode))
    ready, gate = G.Chan(), G.Chan()
    for i in range(100):
        G.go(body, i)
    for _ in range(100):
        ready.recv()
    gate.close()
    return all(i == code for i, code in [out.recv() for _ in range(100)])
print(G.run(main))
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("none left")
""",
        "True\nnone left",
        timeout=120,
    )


@pytest.mark.parametrize("place", ["main thread", "goroutine"])
def test_a_program_that_becomes_a_daemon(place, tmp_path):
    """The double fork: the grandchild, with another session and without its parents, has
    goroutines and timers, and ends in order."""
    told_in = tmp_path / "daemon"
    prints(
        CHILD
        + f"""
import atexit
def daemonize():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)

def serve():
    c = G.Chan()
    for i in range(100):
        G.go(lambda i=i: [G.sleep(0.001), c.send(i)])
    return sum(c.recv(timeout=30) for _ in range(100))

def note(text):
    with open({str(told_in)!r}, "a") as f:
        f.write(f"{{text}}\\n")

def body():
    daemonize()
    note(serve())
    if {place!r} == "goroutine":
        note(G.run(serve))
    else:
        note(serve())
    atexit.register(note, "end")

def main():
    pid = os.fork()
    if pid == 0:
        body()
    else:
        print(reap(pid))
for _ in range(100):
    G.go(G.select)
G.sleep(0.01)
if {place!r} == "goroutine":
    def only_here():
        over = G.Chan()
        G.go(lambda: [main(), over.send(None)])
        over.recv()
    G.run(only_here)
else:
    main()
""",
        "0",
    )
    assert eventually(lambda: told_in.exists() and "end" in told_in.read_text(), 20)
    assert told_in.read_text().split() == ["4950", "4950", "end"]
