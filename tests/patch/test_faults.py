"""Patched sockets whose peers, descriptors or signals do their worst."""

import pytest
from helpers import scaled, script, slack

from .sockets import PRELUDE, TLS_PRELUDE, run

# pair(): a connection over TCP, (the far side, the near side).
PAIRS = {
    "tcp": "pair = tcp_pair\n",
    "tls": TLS_PRELUDE
    + """
def pair():
    return tls_over(*tcp_pair(), ssl.TLSVersion.TLSv1_3)
""",
}

both_kinds = pytest.mark.parametrize("kind", PAIRS)
with_and_without_timeout = pytest.mark.parametrize("timeout", [None, 20])

# ---- peers ----

WAITS = {
    "recv": "lambda s: s.recv(1)",
    "recv_into": "lambda s: s.recv_into(bytearray(10))",
    "readline": "lambda s: s.makefile('rb').readline()",
    "sendall": "lambda s: s.sendall(bytes(20_000_000))",
}


RESET = """
def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
"""


@with_and_without_timeout
@pytest.mark.parametrize("how", WAITS)
def test_a_reset_reaches_those_that_wait(how, timeout):
    run(
        RESET
        + f"""
wait = {WAITS[how]}

def main():
    far, near = tcp_pair()
    near.settimeout({timeout})
    result = in_background(wait, near)
    G.sleep(0.1)
    reset(far)
    exc = raised(result)
    assert type(exc) is ConnectionResetError and exc.errno == errno.ECONNRESET, repr(exc)
"""
    )


@with_and_without_timeout
@pytest.mark.parametrize("how", WAITS)
def test_a_reset_below_tls_ends_waits(how, timeout):
    """OpenSSL may tell it as the end of what there is to read, as in plain Python."""
    run(
        RESET
        + PAIRS["tls"]
        + f"""
wait = {WAITS[how]}

def main():
    far, near = pair()
    near.settimeout({timeout})
    result = in_background(wait, near)
    G.sleep(0.1)
    reset(far)
    try:
        assert not result()
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
"""
    )


def test_a_closed_half_still_gets_its_answer():
    run(
        """
def main():
    far, near = tcp_pair()
    answer = in_background(near.makefile("rb").read)
    near.sendall(b"question")
    near.shutdown(socket.SHUT_WR)
    assert far.makefile("rb").read() == b"question"
    far.sendall(b"answer" * 100_000)
    far.close()
    assert answer() == b"answer" * 100_000
    assert type(raised(near.send, b"x")) is BrokenPipeError
"""
    )


@both_kinds
def test_after_a_timeout_the_socket_is_as_before(kind):
    run(
        PAIRS[kind]
        + f"""
def main():
    far, near = pair()
    near.settimeout(0.2)
    f = near.makefile("rb")
    far.sendall(b"par")
    for read in (lambda: f.read(6), lambda: near.recv(10)):
        start = time.monotonic()
        assert type(raised(read)) is TimeoutError
        assert 0.199 <= time.monotonic() - start < {slack(3)}
    assert str(raised(f.read, 1)) == "cannot read from timed out object"
    far.sendall(b"tial")
    assert near.recv(10) == b"tial"
    near.sendall(b"x")
    assert far.recv(10) == b"x"
    assert near.gettimeout() == 0.2
"""
    )


@both_kinds
@with_and_without_timeout
def test_one_byte_at_a_time(kind, timeout):
    n = scaled(500, 50)
    run(
        PAIRS[kind]
        + f"""
def main():
    far, near = pair()
    near.settimeout({timeout})
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    def dribble():
        for _ in range({n}):
            far.sendall(b"x")
            G.sleep(0.0001)
        far.sendall(b"\\n")
    G.go(dribble)
    assert near.makefile("rb").readline() == b"x" * {n} + b"\\n"
"""
    )


SENDS = {
    "sendall": "lambda s: s.sendall(data)",
    "sendmsg": "lambda s: s.sendmsg([data[i : i + 20_000] for i in range(0, len(data), 20_000)])",
    "sendfile": "lambda s: s.sendfile(open(file.name, 'rb'))",
    "os.sendfile": "lambda s: os.sendfile(s.fileno(), file.fileno(), 0, len(data))",
    "os.writev": "lambda s: os.writev(s.fileno(), [data[:100], data[100:]])",
}


@pytest.mark.parametrize("how", SENDS)
def test_a_slow_reader_gets_everything(how):
    size = scaled(1_000_000, 300_000)
    run(
        f"""
import tempfile
send = {SENDS[how]}
data = os.urandom({size})
file = tempfile.NamedTemporaryFile(buffering=0)
file.write(data)

def main():
    pairs = [tcp_pair() for _ in range(60)]
    results = []
    for far, near in pairs:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        results.append(in_background(send, far))
    def read(s):
        got, chunk = bytearray(), bytearray(100_000)
        while len(got) < len(data):
            got += memoryview(chunk)[: s.recv_into(chunk)]
            G.sleep(0.001)
        assert got == data
    readers = [in_background(read, near) for far, near in pairs]
    G.sleep(0.05)
    few_threads()
    for result in results + readers:
        assert result() in (None, len(data))
"""
    )


# ---- descriptors ----

FEW_DESCRIPTORS = """
import resource

def few_descriptors():
    '''Afterwards there are none; returns what frees them again.'''
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    kept = []
    for _ in range(10):  # the scheduler may have one for a moment
        with contextlib.suppress(OSError):
            while True:
                kept.append(os.dup(0))
        G.sleep(0.01)
    return lambda: [os.close(fd) for fd in kept]
"""


@with_and_without_timeout
def test_accept_goes_on_when_there_are_descriptors_again(timeout):
    run(
        FEW_DESCRIPTORS
        + f"""
def main():
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout({timeout})
    clients = [socket.socket() for _ in range(2)]
    accept = in_background(server.accept)
    G.sleep(0.1)
    free = few_descriptors()
    for c in clients:
        c.connect(server.getsockname())
    for wait in (accept, server.accept):
        assert raised(wait).errno == errno.EMFILE
    free()
    assert {{server.accept()[1] for _ in clients}} == {{c.getsockname() for c in clients}}
"""
    )


def test_without_descriptors_for_a_poller_a_wait_keeps_its_thread():
    run(
        FEW_DESCRIPTORS
        + """
def main():
    a, b = socket.socketpair()
    few_descriptors()
    result = in_background(b.recv, 1)
    G.sleep(0.05)
    a.send(b"x")
    assert result() == b"x"
"""
    )


def test_a_server_outlives_a_lack_of_descriptors():
    run(
        FEW_DESCRIPTORS
        + """
import socketserver

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())

def main():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        G.go(server.serve_forever, 0.05)
        G.sleep(0.05)  # the poller has its descriptors
        client = socket.socket()
        free = few_descriptors()
        client.connect(server.server_address)
        client.sendall(b"hello\\n")
        client.settimeout(0.3)
        assert type(raised(client.recv, 10)) is TimeoutError
        free()
        client.settimeout(30)
        assert client.recv(10) == b"hello\\n"
        server.shutdown()
"""
    )


@with_and_without_timeout
@pytest.mark.parametrize("close", ["os.close", "patch.original('posix', 'close')"])
def test_a_number_that_was_closed_and_is_used_again(close, timeout):
    """Who waits for the old file is told, at the latest when somebody waits for the new one."""
    run(
        f"""
kept = []

def closed_and_used_again():
    old, other = socket.socketpair()
    kept.append(other)
    old.settimeout({timeout})
    result = in_background(old.recv, 10)
    G.sleep(0.05)
    number = old.fileno()
    kept.extend(os.dup(0) for _ in range(20))
    {close}(number)
    new, peer = socket.socketpair()
    kept.extend([new, peer])
    return result, old, *((new, peer) if new.fileno() == number else (peer, new))

def main():
    for _ in range(20):  # now and then another thread has the number for a moment
        result, old, new, peer = closed_and_used_again()
        if new.fileno() == old.fileno():
            break
        old.detach()
    new.settimeout({timeout})
    receive = in_background(new.recv, 10)
    assert raised(result).errno == errno.EBADF
    peer.sendall(b"new")
    assert receive() == b"new"
    old.detach()
"""
    )


@with_and_without_timeout
def test_a_plain_process_may_use_what_we_wait_in(timeout):
    """It is given the descriptor of a connection, and blocks in it, as we do."""
    run(
        f"""
import subprocess
WORKER = '''
import socket, sys
channel = socket.socket(fileno=0)
_, fds, *_ = socket.recv_fds(channel, 10, 1)
conn = socket.socket(fileno=fds[0])
channel.sendall(b"ready")
while data := conn.recv(100):
    conn.sendall(data.upper())
'''

def main():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    conn, _ = server.accept()
    ours, theirs = socket.socketpair()
    with subprocess.Popen([sys.executable, "-c", WORKER], stdin=theirs) as worker:
        socket.send_fds(ours, [b"x"], [conn.fileno()])
        assert ours.recv(10) == b"ready"
        client.settimeout({timeout})
        for word in (b"one", b"two"):
            answer = in_background(client.recv, 10)
            G.sleep(0.02)
            client.sendall(word)
            assert answer() == word.upper()
        # Both wait for the same connection: each byte goes to one of them.
        here = in_background(conn.recv, 10)
        G.sleep(0.05)
        for _ in range(5):
            client.sendall(b"word")
        client.shutdown(socket.SHUT_WR)
        taken = len(here())
        worker.wait(30)
        conn.close()
        assert taken + len(client.makefile("rb").read()) == 20
"""
    )


# ---- signals and forks ----


@both_kinds
@with_and_without_timeout
def test_signals_while_data_flows(kind, timeout):
    run(
        PAIRS[kind]
        + f"""
import signal
data = os.urandom(200_000)
seen = []

def read(s):
    got = bytearray()
    while len(got) < len(data):
        got += s.recv(5000)
    return got

def main():
    ends = pair()
    for s in ends:
        s.settimeout({timeout})
    signal.signal(signal.SIGALRM, lambda *args: seen.append(args))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    while len(seen) < 20:
        writers = [in_background(s.sendall, data) for s in ends]
        readers = [in_background(read, s) for s in ends]
        assert [result() for result in readers] == [data, data]
        assert [result() for result in writers] == [None, None]
    signal.setitimer(signal.ITIMER_REAL, 0)
"""
    )


def test_a_signal_does_not_end_a_wait():
    run(
        """
import signal

def main():
    seen = []
    signal.signal(signal.SIGUSR1, lambda *args: seen.append(args))
    server = socket.create_server(("127.0.0.1", 0))
    for timeout in (None, 20):
        server.settimeout(timeout)
        del seen[:]
        def later():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGUSR1)
                G.sleep(0.02)
            socket.create_connection(server.getsockname()).sendall(b"x")
        G.go(later)
        conn, _ = server.accept()
        assert len(seen) == 3 and conn.recv(1) == b"x"
"""
    )


def test_a_fork_amid_waits():
    """The child has a poller of its own; the parent's waits are not disturbed."""
    run(
        """
def echo(s):
    while data := s.recv(10):
        s.sendall(data)

def child(a):
    mine, theirs = socket.socketpair()
    G.go(echo, theirs)
    for i in range(10):
        mine.sendall(b"%d" % i)
        assert mine.recv(10) == b"%d" % i
    a.sendall(b"child")

def main():
    a, b = socket.socketpair()
    server = socket.create_server(("127.0.0.1", 0))
    accept = in_background(server.accept)
    G.sleep(0.05)
    for _ in range(3):
        result = in_background(b.recv, 10)
        G.sleep(0.02)
        pid = os.fork()
        if pid == 0:
            child(a)
            os._exit(7)
        assert result() == b"child"
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    socket.create_connection(server.getsockname()).close()
    assert accept()[0].recv(1) == b""
"""
    )


# ---- names and routes ----


def test_names_are_looked_up_at_the_same_time():
    run(
        """
def main():
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    expected = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)
    lookups = [
        in_background(lambda: socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM))
        for _ in range(30)
    ]
    clients = [in_background(socket.create_connection, ("localhost", port)) for _ in range(30)]
    wrong = in_background(socket.getaddrinfo, "no such name", None)
    for lookup in lookups:
        assert expected[0] in lookup()
    assert {c().getsockname() for c in clients} == {server.accept()[1] for _ in clients}
    assert type(raised(wrong)) is socket.gaierror
"""
    )


@pytest.mark.parametrize("timeout", [None, 5])
def test_where_no_route_leads_is_as_in_plain_python(timeout):
    done = script(
        PRELUDE
        + f"""
def outcomes():
    seen = []
    for address in [("255.255.255.255", 9), ("224.0.0.1", 9), ("127.0.0.1", 0)]:
        for name in ("connect", "connect_ex"):
            with socket.socket() as s:
                s.settimeout({timeout})
                try:
                    seen.append(getattr(s, name)(address))
                except OSError as exc:
                    seen.append((type(exc), str(exc)))
    return seen

before = outcomes()
patch.all()
after = G.run(outcomes)
assert after == before, (before, after)
"""
    )
    assert done.returncode == 0, done.stderr


@with_and_without_timeout
def test_a_datagram_that_nobody_takes_ends_the_wait_for_an_answer(timeout):
    run(
        f"""
def main():
    s, free = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    free.bind(("127.0.0.1", 0))
    s.connect(free.getsockname())
    free.close()
    s.settimeout({timeout})
    answer = in_background(s.recv, 1)
    G.sleep(0.05)
    s.send(b"x")
    assert type(raised(answer)) is ConnectionRefusedError
"""
    )
