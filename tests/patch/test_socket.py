"""patch.socket()."""

import socket

import pytest
from goroutines import patch
from helpers import scaled, script, slack

from .sockets import PRELUDE, run


def test_a_thousand_echoes_on_few_threads():
    n = scaled(1000, 60)
    run(
        f"""
import resource
n = {n}
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if soft < 2 * n + 100 <= hard:
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * n + 100, hard))
n = min(n, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) // 2)

def echo(conn):
    with conn:
        go_on.recv_ok()
        conn.sendall(b"go on")
        while data := conn.recv(100):
            conn.sendall(data)

go_on = G.Chan()

def serve(server):
    while True:
        G.go(echo, server.accept()[0])

def main():
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    G.go(serve, server)
    over = G.Chan(capacity=n)
    def client(i, s):
        with s:
            assert s.recv(100) == b"go on"
            for k in range(3):
                s.sendall(b"%d.%d" % (i, k))
                assert s.recv(100) == b"%d.%d" % (i, k)
        over.send(i)
    clients = [socket.create_connection(server.getsockname()) for _ in range(n)]
    for i, s in enumerate(clients):
        G.go(client, i, s)
    G.sleep(0.2)
    assert G.num_goroutine() == 2 * n + 2
    few_threads()
    go_on.close()
    assert sorted(over.recv(timeout=60) for _ in range(n)) == list(range(n))
"""
    )


RECEIVERS = {
    "recv": "lambda s: s.recv(1)",
    "recv_into": "lambda s: s.recv_into(bytearray(1), flags=0)",
    "recvfrom": "lambda s: s.recvfrom(1)",
    "recvfrom_into": "lambda s: s.recvfrom_into(bytearray(1))",
    "recvmsg": "lambda s: s.recvmsg(1)",
    "recvmsg_into": "lambda s: s.recvmsg_into([bytearray(1)])",
    "peek": "lambda s: s.recv(1, socket.MSG_PEEK)",
    "waitall": "lambda s: s.recv(1, socket.MSG_WAITALL)",
    "makefile": "lambda s: s.makefile('rb').read(1)",
}


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("how", RECEIVERS)
def test_receiving_parks(how, timeout):
    run(
        f"""
receive = {RECEIVERS[how]}

def main():
    pairs = [socket.socketpair() for _ in range(60)]
    results = []
    for a, b in pairs:
        b.settimeout({timeout})
        results.append(in_background(receive, b))
    G.sleep(0.1)
    few_threads()
    for a, b in pairs:
        a.send(b"x")
    for result in results:
        result()
"""
    )


@pytest.mark.parametrize("timeout", [None, 20])
def test_accepting_parks(timeout):
    run(
        f"""
def main():
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(60)]
    for s in servers:
        s.settimeout({timeout})
    results = [in_background(s.accept) for s in servers]
    G.sleep(0.2)
    few_threads()
    for s in servers:
        socket.create_connection(s.getsockname()).close()
    for result in results:
        result()[0].close()
"""
    )


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("how", ["connect", "connect_ex"])
def test_connecting_parks(how, timeout):
    """The listener's queue is full, so requests are dropped and sent again a second later."""
    run(
        f"""
def main():
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    sockets = [socket.socket() for _ in range(60)]
    for s in sockets:
        s.settimeout({timeout})
    connected = []
    def connect(s):
        assert s.{how}(server.getsockname()) in (None, 0)
        connected.append(s)
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16) == bytes(16)
        assert s.gettimeout() == {timeout}
    for s in sockets:
        G.go(connect, s)
    G.sleep(0.2)
    before = len(connected)
    assert before < 10, before
    few_threads()
    def accept():
        while True:
            server.accept()
    G.go(accept)
    end = time.monotonic() + 40
    while len(connected) < before + 3:
        assert time.monotonic() < end
        G.sleep(0.01)
"""
    )


SENDERS = {
    "send": "lambda s: s.send(data)",
    "sendall": "lambda s: s.sendall(data)",
    "sendto": "lambda s: s.sendto(data, s.getpeername())",
    "sendmsg": "lambda s: s.sendmsg(iter([data[:10], b'', data[10:]]))",
    "makefile": "lambda s: s.makefile('wb').write(data)",
}


@pytest.mark.parametrize("how", SENDERS)
def test_sending_parks_and_sends_everything(how):
    """One blocking call sends all that it is given."""
    run(
        f"""
send = {SENDERS[how]}
data = os.urandom(1000) * 4000

def main():
    pairs = [tcp_pair() for _ in range(60)]
    for a, b in pairs:
        a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)
    results = [in_background(send, a) for a, b in pairs]
    G.sleep(0.3)
    few_threads()
    for (a, b), result in zip(pairs, results):
        got = b.recv(len(data), socket.MSG_WAITALL)
        assert got == data
        assert result() in (None, len(data))
"""
    )


@pytest.mark.parametrize("timeout", [None, 30])
def test_50_mb(timeout):
    size = scaled(50_000_000, 1_000_000)
    run(
        f"""
import hashlib

def main():
    a, b = tcp_pair()
    a.settimeout({timeout})
    data = os.urandom(1 << 16) * ({size} >> 16)
    def reader():
        h = hashlib.sha256()
        while chunk := b.recv(1 << 18):
            h.update(chunk)
        return h.digest()
    result = in_background(reader)
    assert a.sendall(data) is None
    a.shutdown(socket.SHUT_WR)
    assert result() == hashlib.sha256(data).digest()
"""
    )


def test_timeouts():
    run(
        f"""
def main():
    a, b = socket.socketpair()
    listening = socket.create_server(("127.0.0.1", 0))
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    queued = [socket.socket() for _ in range(3)]
    for s in queued:
        s.setblocking(False)
        s.connect_ex(full.getsockname())
    c, d = socket.socket(), socket.socket()
    for s in (a, b, listening, c, d):
        s.settimeout(0.1)
    calls = [
        lambda: b.recv(1),
        lambda: b.recv_into(bytearray(1)),
        lambda: b.makefile("rb").read(1),
        lambda: a.sendall(bytes(10_000_000)),
        lambda: listening.accept(),
        lambda: c.connect(full.getsockname()),
    ]
    for call in calls:
        start = time.monotonic()
        exc = raised(call)
        took = time.monotonic() - start
        assert type(exc) is TimeoutError and str(exc) == "timed out", repr(exc)
        assert 0.099 <= took < {slack(3)}, took
    assert d.connect_ex(full.getsockname()) == errno.EWOULDBLOCK
"""
    )


def test_sendall_has_one_deadline():
    """A reader that takes a little again and again does not put it off."""
    run(
        f"""
def main():
    a, b = socket.socketpair()
    a.settimeout(0.5)
    stop = False
    def slowly():
        while not stop:
            b.recv(20_000)
            G.sleep(0.02)
    G.go(slowly)
    start = time.monotonic()
    exc = raised(a.sendall, bytes(50_000_000))
    took = time.monotonic() - start
    stop = True
    assert type(exc) is TimeoutError and 0.499 <= took < {slack(3)}, (exc, took)
"""
    )


def test_closing_wakes():
    """Whoever closes it and however, also if a duplicate lives on."""
    run(
        """
def main():
    def in_thread(fn):
        done = threading.Event()
        patch.original("_thread", "start_new_thread")(lambda: (fn(), done.set()), ())
        done.wait()
    closers = [
        lambda s: s.close(),
        lambda s: socket.close(s.fileno()),
        lambda s: in_thread(s.close),
    ]
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    queued = [socket.socket() for _ in range(3)]
    for s in queued:
        s.setblocking(False)
        s.connect_ex(full.getsockname())
    for close in closers:
        for timeout in (None, 30):
            reads, other = socket.socketpair()
            writes, another = socket.socketpair()
            server, client = socket.create_server(("127.0.0.1", 0)), socket.socket()
            closed = (reads, writes, server, client)
            duplicates = [s.dup() for s in closed]
            for s in closed:
                s.settimeout(timeout)
            waits = [
                in_background(reads.recv, 1),
                in_background(reads.recv, 1),
                in_background(writes.sendall, bytes(10_000_000)),
                in_background(server.accept),
                in_background(client.connect, full.getsockname()),
            ]
            G.sleep(0.1)
            for s in closed:
                close(s)
            for wait in waits:
                exc = raised(wait)
                assert type(exc) is OSError and exc.errno == errno.EBADF, repr(exc)
            for s in closed:
                if s.fileno() >= 0:
                    s.detach()
"""
    )


def test_shutdown_wakes():
    run(
        """
def main():
    a, b = tcp_pair()
    result = in_background(b.recv, 1)
    server = socket.create_server(("127.0.0.1", 0))
    accept = in_background(server.accept)
    G.sleep(0.1)
    b.shutdown(socket.SHUT_RD)
    assert result() == b""
    server.shutdown(socket.SHUT_RDWR)
    assert raised(accept).errno == errno.EINVAL
"""
    )


def test_many_take_from_one_socket():
    """Each of them gets one, whoever was woken; the built-in is entered by one at a time."""
    run(
        """
def main():
    for timeout in (None, 30):
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(timeout)
        accepts = [in_background(server.accept) for _ in range(30)]
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        b.settimeout(timeout)
        recvs = [in_background(b.recv, 10) for _ in range(30)]
        G.sleep(0.1)
        clients = []
        for i in range(30):
            clients.append(socket.create_connection(server.getsockname()))
            a.send(b"%d" % i)
        assert len({r()[1] for r in accepts}) == 30
        assert sorted(int(r()) for r in recvs) == list(range(30))
        few_threads()
        # Nobody turns round and round while another one takes his.
        assert G.debug.stats().switches < 50_000, G.debug.stats()
"""
    )


def test_datagrams():
    run(
        """
def main():
    for timeout in (None, 30):
        a, b = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for s in (a, b):
            s.bind(("127.0.0.1", 0))
            s.settimeout(timeout)
        result = in_background(b.recvfrom, 100)
        into = bytearray(100)
        G.sleep(0.05)
        assert a.sendto(b"to", b.getsockname()) == 2
        assert result() == (b"to", a.getsockname())
        result = in_background(b.recvfrom_into, into)
        a.sendmsg([b"ms", b"g"], [], 0, b.getsockname())
        assert result() == (3, a.getsockname()) and into[:3] == b"msg"
        result = in_background(b.recv, 100)
        G.sleep(0.05)
        a.sendto(b"", 0, b.getsockname())
        assert result() == b""
"""
    )


def test_unix_sockets():
    """Names, descriptors, and a datagram socket whose reader has enough for now."""
    run(
        """
def main():
    name = "\\0goroutines-%d" % os.getpid()
    server = socket.socket(socket.AF_UNIX)
    server.bind(name)
    server.listen()
    accept = in_background(server.accept)
    client = socket.socket(socket.AF_UNIX)
    client.connect(name)
    conn = accept()[0]
    r, w = os.pipe()
    receive = in_background(socket.recv_fds, conn, 10, 1)
    socket.send_fds(client, [b"fd"], [w])
    message, fds, *_ = receive()
    os.write(fds[0], b"x")
    assert message == b"fd" and os.read(r, 1) == b"x"

    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.bind(name + "d")
    connected, other = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    connected.connect(name + "d")
    def send_many(send):
        for i in range(100):
            send(b"%d" % i)
    both = [
        in_background(send_many, connected.send),
        in_background(send_many, lambda data: other.sendto(data, name + "d")),
    ]
    G.sleep(0.1)
    got = sorted(int(far.recv(10)) for _ in range(200))
    assert got == sorted(list(range(100)) * 2)
    for result in both:
        result()
"""
    )


def test_refused():
    run(
        """
def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for timeout in (None, 5):
            exc = raised(socket.create_connection, free.getsockname(), timeout)
            assert type(exc) is ConnectionRefusedError and exc.errno == errno.ECONNREFUSED
            with socket.socket() as s:
                s.settimeout(timeout)
                assert s.connect_ex(free.getsockname()) == errno.ECONNREFUSED
                assert s.gettimeout() == timeout
"""
    )


@pytest.mark.parametrize("timeout", [None, 5])
def test_the_next_connect_is_as_in_plain_python(timeout):
    """After a refusal, and once connected."""
    done = script(
        f"""
import socket
import goroutines as G
from goroutines import patch

def outcomes():
    s, free = socket.socket(), socket.socket()
    free.bind(("127.0.0.1", 0))
    s.settimeout({timeout})
    seen = [s.connect_ex(free.getsockname()) for _ in range(3)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        return seen + [s.connect_ex(server.getsockname()) for _ in range(3)]

before = outcomes()
patch.all()
assert G.run(outcomes) == before, before
"""
    )
    assert done.returncode == 0, done.stderr


WRONG = """
import socket, errno
def outcomes():
    a, b = socket.socketpair()
    b.sendall(b"abcdef")
    buffer = bytearray(3)
    class Index:
        def __index__(self):
            return 1
    calls = []
    for name, arguments in {
        "recv": [(), (-1,), (0,), ("1",), (1, "flags"), (1, 2, 3), (Index(),),
                 (1, Index()), (10**30,)],
        "recvfrom": [(), (-1,), ("1",), (1, 0, 0), (1,)],
        "recv_into": [(), (b"",), (buffer, 4), (buffer, -1), (b"abc",), (bytearray(),),
                      (buffer, 1, 0, 0)],
        "recvfrom_into": [(), (buffer, 4), (buffer, -1), (b"abc",)],
        "recvmsg": [(), (-1,), (1, -1), (1, 0, 0, 0)],
        "recvmsg_into": [(), (1,), ([b"abc"],), ([buffer], -1)],
        "send": [(), ("text",), (b"x", "flags"), (b"x", 0, 0), (b"",), (b"x", 1 << 70)],
        "sendall": [(), ("text",), (b"x", "flags"), (b"",), (memoryview(b"abcd")[::2],)],
        "sendto": [(b"x",), (b"x", 0, 0, 0), ("x", None), (b"x", "y", None)],
        "sendmsg": [(), (1,), (["text"],), ([b"x"], 1), ([b"x"], [], "flags"), ([],),
                    ([b"x"], (), 0, 1, 2)],
        "connect": [(), (1, 2), (b"nobody",)],
        "accept": [(1,)],
    }.items():
        for args in arguments:
            calls.append((name, args, {}))
    calls.append(("recv_into", (), {"nbytes": 1, "buffer": buffer}))
    calls.append(("recv_into", (buffer,), {"nonsense": 1}))
    calls.append(("recv", (), {"bufsize": 1}))
    calls.append(("recv", (1, socket.MSG_DONTWAIT), {}))
    calls.append(("recv", (1, socket.MSG_OOB), {}))
    seen = []
    for name, args, kwargs in calls:
        try:
            seen.append(getattr(a, name)(*args, **kwargs))
        except Exception as exc:
            seen.append((type(exc), str(exc)))
        if name in ("send", "sendall", "sendto", "sendmsg"):
            b.setblocking(False)
            while True:
                try:
                    b.recv(10)
                except BlockingIOError:
                    break
    a.close()
    for name in ("recv", "recvfrom", "_accept", "send", "sendall", "connect_ex"):
        try:
            args = {"_accept": (), "recv": (1,), "recvfrom": (1,)}.get(name, (b"x",))
            seen.append(getattr(a, name)(*args))
        except Exception as exc:
            seen.append((type(exc), str(exc)))
    return seen
"""


UNFIT = """
import socket
def outcomes():
    listening = socket.create_server(("127.0.0.1", 0))
    connected, other = socket.socketpair()
    datagrams = socket.socket(type=socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    new = socket.socket()
    seen = []
    for s in (listening, connected, datagrams, new):
        for name, args in [("recv", (1,)), ("send", (b"x",)), ("sendall", (b"x",)), ("accept", ())]:
            if (s, name) in [(listening, "accept"), (datagrams, "recv"), (connected, "recv")]:
                continue
            try:
                seen.append(getattr(s, name)(*args))
            except OSError as exc:
                seen.append((type(exc), str(exc)))
    return seen
"""


@pytest.mark.parametrize("timeout", [None, 0.2, 0])
@pytest.mark.parametrize("wrong", [WRONG, UNFIT], ids=["arguments", "socket"])
def test_what_is_wrong_is_as_in_plain_python(wrong, timeout):
    done = script(
        f"import goroutines as G\nfrom goroutines import patch\n{wrong}\n"
        f"socket.setdefaulttimeout({timeout})\n"
        "before = outcomes()\npatch.all()\nafter = G.run(outcomes)\n"
        "assert before == after, [p for p in zip(before, after) if p[0] != p[1]]\n"
        "assert outcomes() == before\n"
    )
    assert done.returncode == 0, done.stderr


def test_what_an_iterator_raises_comes_out_of_sendmsg():
    run(
        """
def broken():
    yield b"x"
    raise TypeError

def main():
    a, b = socket.socketpair()
    assert type(raised(a.sendmsg, broken())) is TypeError
"""
    )


def test_the_mode_and_options_of_descriptors_are_left_alone():
    run(
        """
import fcntl

def modes(*sockets):
    return [
        (fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK, s.gettimeout(),
         s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16),
         s.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16))
        for s in sockets
    ]

def main():
    a, b = tcp_pair()
    before = modes(a, b)
    receive = in_background(b.recv, 100)
    G.sleep(0.05)
    assert modes(a, b) == before
    a.sendall(b"x")
    assert receive() == b"x" and modes(a, b) == before
    # Set by others, behind the object's back, they are obeyed.
    os.set_blocking(b.fileno(), False)
    assert type(raised(b.recv, 1)) is BlockingIOError
    os.set_blocking(b.fileno(), True)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 50_000))
    assert type(raised(b.recv, 1)) is BlockingIOError
    # Sockets that do not block never wait.
    a.setblocking(False)
    assert type(raised(a.recv, 1)) is BlockingIOError
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    assert type(raised(server.accept)) is BlockingIOError
    c = socket.socket()
    c.setblocking(False)
    assert c.connect_ex(server.getsockname()) == errno.EINPROGRESS
"""
    )


def test_the_end_of_run_reaches_those_that_wait():
    out = run(
        """
def main():
    a, b = socket.socketpair()
    c, d = socket.socketpair()
    def wait(fn, *args):
        try:
            fn(*args)
        except G.GoroutineExit:
            os.write(1, b"exit\\n")
            raise
    server = socket.create_server(("127.0.0.1", 0))
    G.go(wait, b.recv, 1)
    G.go(wait, c.sendall, bytes(10_000_000))
    G.go(wait, server.accept)
    G.sleep(0.1)
"""
    )
    assert out == "exit\n" * 3


def test_plain_threads_and_goroutines_share_a_socket():
    run(
        """
start_os_thread = patch.original("_thread", "start_new_thread")

def main():
    a, b = tcp_pair()
    size = 3_000_000
    got = G.Chan(capacity=2)
    def read(s):
        n = 0
        while n < size:
            n += len(s.recv(50_000))
        got.send(n)
    start_os_thread(read, (a,))
    G.go(read, b)
    start_os_thread(a.sendall, (bytes(size),))
    G.go(b.sendall, bytes(size))
    assert [got.recv(timeout=30) for _ in range(2)] == [size, size]
    for timeout in (None, 0.1):
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(timeout)
        def thread():
            try:
                got.send(server.accept())
            except TimeoutError:
                got.send(None)
        start_os_thread(thread, ())
        if timeout is None:
            socket.create_connection(server.getsockname()).close()
        assert (got.recv(timeout=30) is None) is (timeout is not None)
"""
    )


def test_servers_and_clients_of_the_standard_library():
    run(
        """
import http.client, http.server, socketserver, urllib.request, xmlrpc.client, xmlrpc.server

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.path.encode() * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

@contextlib.contextmanager
def serving(server):
    with server:
        G.go(server.serve_forever, 0.05)
        yield server.server_address
        server.shutdown()

def main():
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)) as address:
        with socket.create_connection(address) as s, s.makefile("rw") as f:
            print("hello", file=f, flush=True)
            assert f.readline() == "HELLO\\n"
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)) as (host, port):
        connection = http.client.HTTPConnection(host, port)
        for path in ("/a", "/b"):
            connection.request("GET", path)
            assert connection.getresponse().read() == path.encode() * 1000
        connection.close()
        def fetch(i):
            with urllib.request.urlopen(f"http://{host}:{port}/{i}") as page:
                return page.read()
        results = [in_background(fetch, i) for i in range(50)]
        for i, result in enumerate(results):
            assert result() == b"/%d" % i * 1000
    server = xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
    server.register_function(pow)
    with serving(server) as (host, port):
        with xmlrpc.client.ServerProxy(f"http://{host}:{port}") as proxy:
            assert proxy.pow(2, 10) == 1024
""",
        timeout=120,
    )


def test_undo_while_goroutines_wait():
    done = script(
        PRELUDE
        + """
def main():
    patch.socket()
    a, b = socket.socketpair()
    receive, receive_with_timeout = in_background(b.recv, 1), None
    G.sleep(0.05)
    patch.undo()
    a.send(b"x")
    assert receive() == b"x"
    assert not patch.is_patched("socket")
    a.settimeout(0.05)
    assert str(raised(a.recv, 1)) == "timed out"
G.run(main)
"""
    )
    assert done.returncode == 0, done.stderr


def test_originals_wait_in_their_thread():
    recv = patch.original("_socket", "socket.recv")
    a, b = socket.socketpair()
    with a, b:
        b.send(b"x")
        assert recv(a, 1) == b"x"
