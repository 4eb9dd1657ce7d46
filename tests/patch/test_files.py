"""patch.os(), patch.subprocess(): files on pipes, terminals and the like; print, sys.stdin."""

import pytest
from helpers import scaled, script, told

from .waiting import HELPERS

PROLOGUE = f"""
{HELPERS}
import errno, gc, io, os, pty, signal, socket, subprocess, sys, tempfile, threading, tty
from goroutines import patch
sys.setswitchinterval(
    float(os.environ.get("GOROUTINES_TEST_SWITCHINTERVAL") or sys.getswitchinterval()))
patch.os()
patch.threading()

def pipe(mode="b", buffering=-1):
    r, w = os.pipe()
    return open(r, "r" + mode, buffering), open(w, "w" + mode, buffering)

def raw_pty():
    master, slave = pty.openpty()
    tty.setraw(slave)
    return open(slave, "rb", 0), open(master, "wb", 0)

def fifo():
    path = os.path.join(tempfile.mkdtemp(), "fifo")
    os.mkfifo(path)
    r = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    w = open(path, "wb", 0)
    os.set_blocking(r, True)
    return open(r, "rb", 0), w

def socket_pair():
    a, b = (s.detach() for s in socket.socketpair())
    return open(a, "rb", 0), open(b, "wb", 0)
"""

on_procs = pytest.mark.parametrize("procs", [1, 2, 4])


def run(source: str, procs: int = 2) -> str:
    done = script(f"{PROLOGUE}\nG.gomaxprocs({procs})\n{source}", timeout=60)
    assert done.returncode == 0, told(done)
    return done.stdout


# ---- reading ----


@on_procs
def test_lines_of_many_processes_on_few_threads(procs):
    n = scaled(200, 60)
    run(
        f"""
CHILD = "read x; for i in 1 2 3; do echo $x $i; done; echo end >&2"

def start(text):
    return subprocess.Popen(["sh", "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=text)

def lines(process):
    got = [line for line in process.stdout]
    return got, process.stderr.read(), process.wait()

def main():
    processes = [start(i % 2 == 0) for i in range({n})]
    before = debug.stats().threads
    results = [started(lines, process) for process in processes]
    parked({n})
    few_threads(before)
    for i, process in enumerate(processes):
        process.stdin.write(f"{{i}}\\n" if i % 2 == 0 else b"%d\\n" % i)
        process.stdin.close()
    for i, result in enumerate(results):
        got, rest, code = result.recv()
        if i % 2:
            got, rest = [line.decode() for line in got], rest.decode()
        assert got == [f"{{i}} {{k}}\\n" for k in (1, 2, 3)] and (rest, code) == ("end\\n", 0)
    few_threads(before)

G.run(main)
""",
        procs,
    )


@on_procs
@pytest.mark.parametrize("make", ["pipe('b', 0)", "fifo()", "raw_pty()", "socket_pair()"])
def test_raw_reads(make, procs):
    run(
        f"""
def read_into(f):
    buffer = bytearray(5)
    return f.readinto(buffer), bytes(buffer)

READS = [lambda f: f.read(5), read_into, lambda f: f.read(1000),
         lambda f: io.BufferedReader(f).read1(), lambda f: io.BufferedReader(f).peek()]

def main():
    files = [{make} for _ in range(60)]
    results = [started(READS[i % 5], r) for i, (r, w) in enumerate(files)]
    parked(60)
    few_threads()
    for r, w in files:
        assert os.get_blocking(r.fileno()) and os.get_blocking(w.fileno())
        assert w.write(b"hello") == 5
    got = [result.recv() for result in results]
    assert got == [(5, b"hello") if i % 5 == 1 else b"hello" for i in range(60)], got
    few_threads()

G.run(main)
""",
        procs,
    )


@on_procs
@pytest.mark.parametrize("make", ["pipe('b', 0)", "fifo()", "socket_pair()"])
def test_reading_until_the_end(make, procs):
    run(
        f"""
DATA = os.urandom(1000) * {scaled(300, 100)}
READS = [lambda f: f.readall(), lambda f: f.read(), lambda f: f.read(None), lambda f: f.read(-7),
         lambda f: io.BufferedReader(f).read(), lambda f: io.BufferedReader(f).read(len(DATA) + 1)]

def write(w, i):
    for at in range(0, len(DATA), 50_000):
        w.write(DATA[at : at + 50_000])
        G.sleep(0)
    w.close()

def main():
    files = [{make} for _ in range(60)]
    results = [started(READS[i % 6], r) for i, (r, w) in enumerate(files)]
    parked(60)
    few_threads()
    writers = [started(write, w, i) for i, (r, w) in enumerate(files)]
    assert all(result.recv() == DATA for result in results)
    assert [writer.recv() for writer in writers] == [None] * 60
    assert [outcome(r.readall) for r, w in files if not r.closed][:1] in ([b""], [])
    few_threads()

G.run(main)
""",
        procs,
    )


def test_the_end_of_a_terminal():
    run(
        """
def main():
    r, w = raw_pty()
    done = started(r.read, 5)
    parked(1)
    w.close()
    got = done.recv()  # Linux says EIO, plain Python passes it on
    assert got == b"" or got[0] is OSError and "Errno 5" in got[1], got

G.run(main)
"""
    )


def test_eventfd():
    run(
        """
def main():
    fd = os.eventfd(0)
    f = open(fd, "rb", 0)
    read = G.Chan(capacity=3)
    for _ in range(3):
        G.go(lambda: read.send(f.read(8)))
    parked(3)
    with open(fd, "wb", 0, closefd=False) as g:
        for i in (1, 2, 3):
            value = i.to_bytes(8, sys.byteorder)
            assert g.write(value) == 8 and read.recv(timeout=20) == value

G.run(main)
"""
    )


@on_procs
def test_readers_of_one_descriptor_do_not_keep_threads(procs):
    run(
        """
def main():
    r, w = pipe("b", 0)
    readers = [started(r.read, 1) for _ in range(60)]
    parked(60)
    few_threads()
    w.write(bytes(range(60)))
    assert sorted(c.recv() for c in readers) == [bytes([i]) for i in range(60)]
    few_threads()

G.run(main)
""",
        procs,
    )


# ---- writing ----


@on_procs
def test_writing_more_than_there_is_room_for(procs):
    run(
        f"""
DATA = os.urandom(1000) * {scaled(500, 400)}

def through_buffer(w):
    f = io.BufferedWriter(w, 1000)
    n = f.write(DATA)
    f.detach()
    return n

def read(r):
    got = b""
    while part := r.read(30_000):
        got += part
        G.gosched()
    return got

def main():
    for make in (lambda: pipe("b", 0), fifo, socket_pair):
        files = [make() for _ in range(60)]
        writers = [started(through_buffer, w) if i % 2 else started(w.write, DATA)
                   for i, (r, w) in enumerate(files)]
        parked(60)
        few_threads()
        readers = [started(read, r) for r, w in files]
        assert [c.recv() for c in writers] == [len(DATA)] * 60
        for r, w in files:
            assert os.get_blocking(w.fileno())
            w.close()
        assert all(c.recv() == DATA for c in readers)
        few_threads()

G.run(main)
""",
        procs,
    )


@on_procs
def test_what_a_process_is_given(procs):
    run(
        """
DATA = b"x" * 300_000

def feed(process):
    process.stdin.write(DATA)
    process.stdin.close()

def main():
    before = debug.stats().threads
    fifo = os.path.join(tempfile.mkdtemp(), "fifo")
    os.mkfifo(fifo)
    go_on = os.open(fifo, os.O_RDWR)
    processes = [subprocess.Popen(["sh", "-c", f"read x <{fifo}; wc -c"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE) for _ in range(30)]
    feeders = [started(feed, p) for p in processes]
    counts = [started(p.stdout.read) for p in processes]
    parked(60)
    few_threads(before)
    os.write(go_on, b"\\n" * 30)
    assert [c.recv() for c in feeders] == [None] * 30
    assert [int(c.recv()) for c in counts] == [len(DATA)] * 30

G.run(main)
""",
        procs,
    )


def test_a_large_write_ends_with_its_reader():
    run(
        """
def main():
    r, w = pipe("b", 0)
    done = started(w.write, b"x" * 1_000_000)
    parked(1)
    assert len(r.read(70_000)) == 65536
    parked(1)
    r.close()
    assert 65536 <= done.recv() < 1_000_000
    assert outcome(lambda: w.write(b"x"))[0] is BrokenPipeError

G.run(main)
"""
    )


@on_procs
def test_print_to_a_full_pipe(procs):
    """Whole lines, few threads, and everybody gets its turn."""
    n = scaled(200, 160)
    run(
        f"""
def main():
    r, w = pipe("")
    w.reconfigure(line_buffering=True)
    raw = r.buffer.raw
    printers = [started(lambda k=k: [print(chr(65 + k % 26) * 700, file=w) for _ in range(5)])
                for k in range({n})]
    parked({n} - 95)
    few_threads()
    got = b""
    while got.count(b"\\n") < {n} * 5:
        got += raw.read(10_000)
    for c in printers:
        assert c.recv(timeout=20) == [None] * 5
    lines = got.splitlines()
    assert all(len(line) == 700 and len(set(line)) == 1 for line in lines)
    few_threads()

G.run(main)
""",
        procs,
    )


@on_procs
def test_one_that_prints_all_the_time_does_not_keep_others_out(procs):
    run(
        """
def main():
    r, w = pipe("b")
    over = False
    def for_ever():
        while not over:
            w.write(b"a" * 70_000)
            w.flush()
    busy = started(for_ever)
    parked(1)
    def once():
        w.write(b"b")
        w.flush()
    other = started(once)
    parked(2)
    def drain():
        while r.raw.read(60_000):
            G.sleep(0.001)
    drained = started(drain)
    assert other.recv(timeout=20) is None
    over = True
    assert busy.recv(timeout=20) is None
    w.close()
    drained.recv()

G.run(main)
""",
        procs,
    )


def test_print_in_a_finalizer():
    run(
        """
class Loud:
    def __del__(self):
        print("x" * 70_000, file=w, flush=True)

def main():
    global w
    r, w = pipe("")
    def collect():
        loud = Loud()
        loud.self = loud
        del loud
        gc.collect()
        return "collected"
    done = started(collect)
    parked(1)
    assert r.read(70_001) == "x" * 70_000 + "\\n"
    assert done.recv() == "collected"

G.run(main)
"""
    )


# ---- what ends a wait ----


CLOSES = ["f.close()", "os.close(f.fileno())", "os.dup2(0, f.fileno())"]


@pytest.mark.parametrize("close", CLOSES)
@pytest.mark.parametrize("by", ["goroutine", "thread"])
@pytest.mark.parametrize(
    "call", ["r.read(1)", "r.readall()", "r.readinto(bytearray(1))", "w.write(bytes(1000000))"]
)
def test_closing_wakes(call, by, close):
    out = run(
        f"""
def main():
    r, w = pipe("b", 0)
    f = r if {call!r}[0] == "r" else w
    done = started(lambda: {call})
    parked(1)
    if {by!r} == "thread":
        thread = threading.Thread(target=lambda: {close})
        thread.start()
        thread.join()
    else:
        {close}
    kind, text = done.recv(timeout=20)
    assert kind is OSError and "Errno 9" in text, (kind, text)
    print("ok", flush=True)
    os._exit(0)  # some descriptors are closed behind their files' backs

G.run(main)
"""
    )
    assert out == "ok\n"


def test_closing_the_raw_file_wakes_the_buffered_one():
    run(
        """
def main():
    for read in (lambda f: f.readline(), lambda f: f.read(), lambda f: next(f)):
        r, w = pipe()
        done = started(read, r)
        parked(1)
        r.raw.close()
        kind, text = done.recv(timeout=20)
        assert kind is OSError and "Errno 9" in text, (kind, text)

G.run(main)
"""
    )


def test_a_file_that_leaves_its_descriptor_open_wakes_nobody():
    run(
        """
def main():
    r, w = pipe("b", 0)
    other = open(r.fileno(), "rb", 0, closefd=False)
    done = started(r.read, 5)
    parked(1)
    other.close()
    G.sleep(0.05)
    w.write(b"hello")
    assert done.recv(timeout=20) == b"hello"

G.run(main)
"""
    )


@on_procs
@pytest.mark.parametrize("read", ["f.readline()", "next(f)", "f.read()"])
def test_close_waits_for_a_reader(procs, read):
    run(
        f"""
def main():
    f, w = pipe()
    line = started(lambda: {read})
    parked(1)
    closed = [started(f.close) for _ in range(60)]
    parked(61)
    assert not f.closed
    few_threads()
    w.write(b"line\\n")
    w.close()
    assert line.recv() == b"line\\n"
    assert [c.recv() for c in closed] == [None] * 60 and f.closed

G.run(main)
""",
        procs,
    )


@pytest.mark.parametrize(
    "call", ["r.readline()", "r.raw.readall()", "next(r)", "w.write(bytes(1000000))"]
)
def test_keyboard_interrupt(call):
    out = run(
        f"""
def main():
    r, w = pipe()
    def interrupt():
        parked(1)
        os.kill(os.getpid(), signal.SIGINT)
    G.go(interrupt)
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted")

G.run(main)
"""
    )
    assert out == "interrupted\n"


def test_the_end_of_run_reaches_those_that_wait():
    out = run(
        """
def wait(call, *args):
    try:
        call(*args)
    finally:
        os.write(1, b"over\\n")

kept = []

def main():
    for way in ("read", "readline", "readinto", "write", "__next__", "peek"):
        r, w = pipe()
        kept.append((r, w))
        args = {"readinto": [bytearray(5)], "write": [bytes(1_000_000)]}.get(way, [])
        G.go(wait, getattr(w if way == "write" else r, way), *args)
    for _ in range(3):
        G.go(wait, r.readline)
    parked(9)

G.run(main)
"""
    )
    assert out == "over\n" * 9


def test_a_writer_that_is_told_to_end_knows_what_has_gone():
    """Else the buffered file would write it a second time."""
    run(
        """
DATA = os.urandom(150_000)

def main():
    global r, w
    r, w = pipe(buffering=200_000)
    w.write(DATA)
    G.go(w.flush)
    parked(1)

G.run(main)
closing = threading.Thread(target=w.close)
closing.start()
assert r.read() == DATA
closing.join()
"""
    )


def test_undo_while_some_wait():
    run(
        """
def main():
    r, w = pipe()
    done = [started(r.readline) for _ in range(5)] + [started(next, r) for _ in range(5)]
    parked(10)
    patch.undo()
    G.sleep(0.05)
    w.write(b"".join(b"%d\\n" % i for i in range(10)))
    w.flush()
    assert sorted(c.recv(timeout=20) for c in done) == [b"%d\\n" % i for i in range(10)]

G.run(main)
"""
    )


# ---- one buffered file, many goroutines ----


@on_procs
@pytest.mark.parametrize("how", ["f", "iter(f.readline, b'')", "iter(lambda: next(f, b''), b'')"])
@pytest.mark.parametrize("type", ["io.BufferedReader", "Derived"])
def test_each_of_many_that_iterate_gets_other_lines(procs, how, type):
    n = scaled(300, 30)
    run(
        f"""
class Derived(io.BufferedReader):
    pass

def lines(f):
    got = []
    for line in {how}:
        got.append(line)
        G.gosched()
    return got

def main():
    r, w = os.pipe()
    f, w = {type}(open(r, "rb", 0)), open(w, "wb", 0)
    readers = [started(lines, f) for _ in range(60)]
    parked(60)
    few_threads()
    for i in range({n}):
        line = b"%05d\\n" % i
        w.write(line[:3])
        G.gosched()
        w.write(line[3:])
    w.close()
    got = [line for c in readers for line in c.recv(timeout=30)]
    assert sorted(got) == [b"%05d\\n" % i for i in range({n})], got
    few_threads()

G.run(main)
""",
        procs,
    )


@on_procs
def test_threads_and_goroutines_read_together(procs):
    """A line at a time: plain Python loses lines when threads share what is in the buffer."""
    n = scaled(100, 20)
    run(
        f"""
def main():
    f, w = pipe()
    got = []
    def lines():
        for line in f:
            got.append(line)
    readers = [started(lines) for _ in range(4)]
    parked(4)
    threads = [threading.Thread(target=lines) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range({n}):
        w.write(b"%05d\\n" % i)
        w.flush()
        end = time.monotonic() + 20
        while len(got) <= i:
            assert time.monotonic() < end, debug.stacks()
            G.sleep(0)
    w.close()
    assert [c.recv(timeout=30) for c in readers] == [None] * 4
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert sorted(got) == [b"%05d\\n" % i for i in range({n})], got

G.run(main)
""",
        procs,
    )


@on_procs
def test_a_file_for_reading_and_writing(procs):
    """Not a file of the kernel: those that park cannot be sought in."""
    run(
        """
class Raw(io.RawIOBase):
    def __init__(self, r):
        self.r = r
    def readable(self):
        return True
    writable = seekable = readable
    def readinto(self, buffer):
        return self.r.readinto(buffer)
    def write(self, data):
        return len(data)
    def seek(self, at, whence=0):
        return 0

def lines(f):
    return [line for line in f]

def main():
    r, w = pipe("b", 0)
    f = io.BufferedRandom(Raw(r))
    calls = [started(lines, f) for _ in range(5)] + [started(f.readline) for _ in range(5)]
    parked(1)  # now and then one waits in the lock: the raw file is in Python
    G.sleep(0.05)
    closed = started(f.close)
    w.write(b"".join(b"%d\\n" % i for i in range(5)))
    w.close()
    got = [c.recv(timeout=20) for c in calls]
    assert closed.recv(timeout=20) is None
    assert all(not isinstance(x, tuple) or "closed" in x[1] for x in got), got

G.run(main)
""",
        procs,
    )


def test_a_call_from_within_is_still_an_error():
    run(
        """
class Raw(io.RawIOBase):
    def readable(self):
        return True
    def readinto(self, buffer):
        seen.append(outcome(call))
        return 0

def main():
    global f, call
    for outer in (lambda: next(f, b""), lambda: f.readline()):
        for call in (lambda: f.read(1), lambda: next(f)):
            f = io.BufferedReader(Raw())
            assert outer() == b""
    assert [(kind, text[:14]) for kind, text in seen] == [(RuntimeError, "reentrant call")] * 4

seen = []
G.run(main)
"""
    )


# ---- nothing else changes ----


def test_errors_and_the_rest_are_those_of_the_original():
    run(
        """
r, w = pipe("b", 0)
os.set_blocking(r.fileno(), False)
buffered = open(os.dup(r.fileno()), "rb")
some = pipe("b", 0)
os.set_blocking(some[0].fileno(), False)
empty, unread = pipe("b", 0)
full, filled = pipe("b", 0)
os.set_blocking(filled.fileno(), False)
filled.write(b"x" * 1_000_000)
a, b = (s.detach() for s in socket.socketpair())
only_out, only_in = open(a, "wb", 0), open(a, "rb", 0, closefd=False)
ended = pipe("b", 0)
ended[1].close()
broken = pipe("b", 0)
broken[0].close()
null, zero = open("/dev/null", "r+b", 0), open("/dev/zero", "rb", 0)
file = tempfile.TemporaryFile(buffering=0)
file.write(b"0123456789" * 1000)
closed = open("/dev/null", "rb", 0)
closed.close()
lost = io.FileIO(os.dup(0))
os.close(lost.fileno())

class Index:
    def __init__(self, n):
        self.n = n
    def __index__(self):
        return self.n

class Derived(io.FileIO):
    def readinto(self, buffer):
        raise AssertionError
    readable = writable = fileno = readinto
derived = [Derived(os.dup(f.fileno()), m) for f, m in ((r, "r"), (ended[0], "r"), (broken[1], "w"))]
to_the_end = [io.FileIO(os.dup(ended[0].fileno())) for _ in range(4)]

calls = [
    lambda: r.read(1), lambda: r.read(), lambda: r.readall(), lambda: r.readinto(bytearray(1)),
    lambda: some[1].write(b"abc") and some[0].read(), lambda: some[0].read(),
    lambda: some[1].write(b"abc") and some[0].read(2), lambda: some[0].readall(),
    lambda: buffered.read(1), lambda: buffered.read(), lambda: buffered.readline(),
    lambda: empty.read(0), lambda: empty.readinto(bytearray()), lambda: empty.write(b"x"),
    lambda: empty.read("x"), lambda: empty.read(1, 2), lambda: empty.read(10**30),
    lambda: empty.readinto(b"x"), lambda: empty.readinto(5), lambda: empty.readall(1),
    lambda: empty.readinto(), lambda: empty.read(size=1), lambda: unread.write(),
    lambda: unread.write("x"), lambda: unread.write(5), lambda: unread.write(b""),
    lambda: unread.write(bytearray(b"abc")), lambda: unread.write(memoryview(b"abcd")[::2]),
    lambda: unread.read(1), lambda: unread.readall(), lambda: unread.readinto(bytearray(1)),
    lambda: filled.write(b"x"), lambda: filled.write(b"x" * 1_000_000), lambda: filled.write(b""),
    lambda: only_out.read(1), lambda: only_out.read(), lambda: only_out.readinto(bytearray(1)),
    lambda: only_in.write(b"x"),
    lambda: [f.read(Index(3)) for f in to_the_end], lambda: ended[0].read(Index(-1)),
    lambda: ended[0].readall(), lambda: ended[0].readinto(bytearray(3)), lambda: ended[0].read(5),
    lambda: broken[1].write(b"x"), lambda: broken[1].write(b"x" * 100_000),
    lambda: null.read(5), lambda: null.readall(), lambda: null.write(b"x" * 100_000),
    lambda: zero.read(5), lambda: zero.readinto(bytearray(5)), lambda: zero.write(b"x"),
    lambda: file.seek(0), lambda: file.read(3), lambda: file.readinto(bytearray(3)),
    lambda: len(file.readall()), lambda: file.read(), lambda: file.write(b""),
    lambda: file.seek(20_000) and file.write(b"abc"), lambda: file.read(1),
    lambda: file.truncate(10_000),
    lambda: closed.read(1), lambda: closed.read(), lambda: closed.readall(), lambda: closed.close(),
    lambda: closed.readinto(bytearray(1)), lambda: closed.write(b"x"),
    lambda: lost.read(1), lambda: lost.readall(), lambda: lost.write(b"x"),
    lambda: derived[0].read(1), lambda: derived[0].readall(), lambda: derived[1].read(),
    lambda: derived[1].read(5), lambda: derived[2].write(b"x"),
    lambda: io.FileIO(os.dup(10_000)), lambda: io.open("/", "rb"), lambda: io.FileIO.read(5),
    lambda: io.FileIO.close(5), lambda: len(open(os.__file__).read()),
    lambda: len([line for line in open(os.__file__, "rb")]),
    lambda: io.open(os.pipe()[0], "r+b"),
]

def outcomes():
    return [outcome(call) for call in calls]

inside = G.run(outcomes)
patch.undo()
plain = G.run(outcomes)
for i, (a, b) in enumerate(zip(inside, plain, strict=True)):
    assert a == b, (i, a, b)
assert inside[:4] == [None] * 4 and inside[4:8] == [b"abc", None, b"ab", b"c"]
"""
    )


def test_fork_while_others_read():
    run(
        """
def main():
    r, w = pipe()
    readers = [started(r.readline) for _ in range(5)] + [started(next, r) for _ in range(5)]
    parked(10)
    mine, theirs = pipe()
    pid = os.fork()
    if pid == 0:
        w.raw.close()
        theirs.raw.close()
        # What is not read by others at this moment works as always, and may be shared.
        line = [started(next, mine), started(mine.readline)]
        os._exit(0 if sorted(c.recv(timeout=20) for c in line) == [b"1\\n", b"2\\n"] else 1)
    theirs.write(b"1\\n2\\n")
    theirs.flush()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    w.write(b"".join(b"%d\\n" % i for i in range(10)))
    w.flush()
    assert sorted(c.recv(timeout=20) for c in readers) == [b"%d\\n" % i for i in range(10)]

G.run(main)
"""
    )


def test_threads_are_as_before():
    run(
        """
patch.time()

def main():
    r, w = pipe()
    got = []
    def read():
        got.append(r.readline())
        got.extend(r)
    reader = threading.Thread(target=read)
    writer = threading.Thread(target=lambda: (w.write(b"a\\n" * 100_000), w.close()))
    reader.start()
    time.sleep(0.05)
    writer.start()
    writer.join(20)
    reader.join(20)
    assert len(got) == 100_000

G.run(main)
main()
"""
    )


def test_undo_restores_the_slots_of_derived_classes():
    run(
        """
import ctypes

AT = 224  # tp_iternext
def slot(type):
    return ctypes.c_void_p.from_address(id(type) + AT).value

class Early(io.BufferedReader):
    pass
class Own(io.BufferedReader):
    def __next__(self):
        return super().__next__()

patched = slot(io.BufferedReader)
class Late(Early):
    pass
own = slot(Own)
assert slot(Early) == slot(Late) == patched != own
patch.undo()
plain = slot(io.BufferedReader)
class After(Late):
    pass
assert plain != patched and slot(Own) == own
assert slot(Early) == slot(Late) == slot(After) == plain
assert slot(io.BufferedRandom) == plain  # one function for both
patch.subprocess()
assert slot(Early) == slot(After) == slot(io.BufferedReader) == patched
assert slot(io.BufferedRandom) != plain
"""
    )


# ---- without patch.threading() ----


@on_procs
def test_logging_to_a_full_pipe_keeps_its_lock(procs):
    """It writes while it has an RLock, which belongs to the OS thread."""
    run(
        """
import logging
patch.undo()
patch.subprocess()
r, w = pipe("", -1)
log = logging.getLogger("test")
log.addHandler(logging.StreamHandler(w))
lines, rest = 300, "x" * 3000

def member(i):
    for j in range(lines // 10):
        log.warning("%d %d %s", i, j, rest)
        G.gosched()

def main():
    with G.Group() as g:
        for i in range(10):
            g.go(member, i)
        g.go(drain)

def drain():
    seen = [r.readline().split()[:2] for _ in range(lines)]
    assert len(set(map(tuple, seen))) == lines

G.run(main)
""",
        procs,
    )


# ---- sys.stdin, goroutines run ----


@on_procs
@pytest.mark.parametrize(
    "read", ["sys.stdin", "iter(sys.stdin.readline, '')", "sys.stdin.buffer", "lines()"]
)
def test_standard_input_of_a_program(procs, read):
    out = run(
        f"""
PROGRAM = '''
import sys, threading, time
from goroutines import debug

def lines():
    try:
        while True:
            yield input()
    except EOFError:
        pass

def tick():
    for _ in range(20):
        time.sleep(0.01)
    print("[" "IO wait" in debug.stacks(), flush=True)
threading.Thread(target=tick).start()
for line in {read}:
    print(line if isinstance(line, str) else line.decode(), end="")
print("end")
'''

command = [sys.executable, "-m", "goroutines", "run", "--procs", "{procs}", "-c", PROGRAM]
p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(p.stdout.readline(), end="", flush=True)
print(p.communicate("one\\ntwo\\n")[0].replace("\\n", ""))
assert p.returncode == 0
"""
    )
    assert out == "True\nonetwoend\n"
