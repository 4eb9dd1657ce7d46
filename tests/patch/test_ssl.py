"""patch.ssl()."""

import pytest
from helpers import scaled, script, slack

from . import sockets
from .sockets import PRELUDE, TLS_PRELUDE

VERSIONS = ["ssl.TLSVersion.TLSv1_2", "ssl.TLSVersion.TLSv1_3"]
both_versions = pytest.mark.parametrize("version", VERSIONS)
with_and_without_timeout = pytest.mark.parametrize("timeout", [None, 20])


def run(source: str, timeout: float = 60) -> str:
    return sockets.run(TLS_PRELUDE + source, timeout)


@both_versions
@with_and_without_timeout
def test_reading_parks_on_both_sides(version, timeout):
    """Also where session tickets are read first, which are no data."""
    run(
        f"""
def main():
    pairs = [tls_pair({version}, {timeout}) for _ in range(30)]
    results = [in_background(near.recv, 10) for far, near in pairs]
    results += [in_background(far.recv_into, bytearray(10)) for far, near in pairs]
    G.sleep(0.2)
    few_threads()
    for far, near in pairs:
        far.sendall(b"x")
        near.sendall(b"y")
    assert [result() for result in results] == [b"x"] * 30 + [1] * 30
    for far, near in pairs:
        assert far.gettimeout() == near.gettimeout() == {timeout}
        assert near.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == bytes(16)
"""
    )


@both_versions
def test_a_handshake_parks(version):
    run(
        f"""
def main():
    server, client = contexts({version})
    pairs = [socket.socketpair() for _ in range(80)]
    results = [
        in_background(lambda a=a: server.wrap_socket(a, server_side=True)) for a, b in pairs[:40]
    ] + [
        in_background(lambda b=b: client.wrap_socket(b, server_hostname="localhost"))
        for a, b in pairs[40:]
    ]
    G.sleep(0.3)
    few_threads()
    others = [in_background(lambda b=b: client.wrap_socket(b, server_hostname="localhost"))
              for a, b in pairs[:40]]
    others += [in_background(lambda a=a: server.wrap_socket(a, server_side=True))
               for a, b in pairs[40:]]
    for one, other in zip(results, others):
        one, other = one(), other()
        one.sendall(b"x")
        assert other.recv(1) == b"x"
"""
    )


@both_versions
@with_and_without_timeout
def test_much_data_both_ways_at_once(version, timeout):
    size = scaled(4_000_000, 200_000)
    run(
        f"""
import hashlib

def main():
    far, near = tls_pair({version}, {timeout})
    data = os.urandom({size})
    def read(s):
        h, n = hashlib.sha256(), 0
        while n < len(data):
            chunk = s.recv(30_000)
            h.update(chunk)
            n += len(chunk)
        return h.digest()
    readers = [in_background(read, s) for s in (far, near)]
    writers = [in_background(s.sendall, data) for s in (far, near)]
    for result in writers:
        result()
    assert [r() for r in readers] == [hashlib.sha256(data).digest()] * 2
"""
    )


@both_versions
@with_and_without_timeout
def test_a_record_that_does_not_fit_keeps_nobody_from_reading(version, timeout):
    size = scaled(400_000, 40_000)
    run(
        f"""
def main():
    far, near = tls_pair({version}, {timeout})
    for s in (far, near):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    G.gomaxprocs(4)
    writers = [in_background(s.sendall, bytes([k]) * {size}) for k in range(3) for s in (far, near)]
    G.sleep(0.05)
    def read(s):
        data = bytearray()
        while len(data) < 3 * {size}:
            data += s.recv(5000)
        return [data.count(k) for k in range(3)]
    readers = [in_background(read, s) for s in (far, near)]
    for result in writers:
        result()
    assert [r() for r in readers] == [[{size}] * 3] * 2
"""
    )


@both_versions
def test_writing_parks(version):
    run(
        f"""
def main():
    pairs = [tls_pair({version}) for _ in range(60)]
    data = bytes(1_000_000)
    results = [in_background(far.write, data) for far, near in pairs]
    G.sleep(0.2)
    few_threads()
    for (far, near), result in zip(pairs, results):
        with near.makefile("rb") as f:
            assert f.read(len(data)) == data
        assert result() == len(data)
"""
    )


def test_timeouts():
    run(
        f"""
def main():
    far, near = tls_pair(ssl.TLSVersion.TLSv1_3)
    far.settimeout(0.1)
    near.settimeout(0.1)
    silent, other = socket.socketpair()
    silent.settimeout(0.1)
    server, client = contexts(ssl.TLSVersion.TLSv1_3)
    calls = [
        (lambda: near.recv(1), "The read operation timed out"),
        (lambda: near.sendall(bytes(10_000_000)), "The write operation timed out"),
        (lambda: client.wrap_socket(silent, server_hostname="localhost"),
         "handshake operation timed"),
    ]
    for call, text in calls:
        start = time.monotonic()
        exc = raised(call)
        took = time.monotonic() - start
        assert isinstance(exc, TimeoutError) and text in str(exc), repr(exc)
        assert 0.099 <= took < {slack(3)}, took
    far.settimeout(0)
    near.settimeout(0)
    assert type(raised(near.recv, 1)) is ssl.SSLWantReadError
"""
    )


@with_and_without_timeout
def test_to_read_nothing_is_no_wait(timeout):
    run(
        f"""
def main():
    far, near = tls_pair(ssl.TLSVersion.TLSv1_3, {timeout})
    assert near.recv(0) == b""
    assert near.recv_into(bytearray()) == 0
"""
    )


@both_versions
@with_and_without_timeout
def test_closing_wakes(version, timeout):
    run(
        f"""
def main():
    far, near = tls_pair({version}, {timeout})
    writes, reads_not = tls_pair({version}, {timeout})
    lives_on = socket.socket(fileno=os.dup(near.fileno()))
    silent, other = socket.socketpair()
    silent.settimeout({timeout})
    wrapped = contexts({version})[1].wrap_socket(
        silent, server_hostname="localhost", do_handshake_on_connect=False)
    waits = [
        in_background(near.recv, 1),
        in_background(writes.sendall, bytes(10_000_000)),
        in_background(wrapped.do_handshake),
    ]
    G.sleep(0.2)
    for s in (near, writes, wrapped):
        s.close()
    for wait in waits:
        assert isinstance(raised(wait), (OSError, ValueError))
""",
    )


@both_versions
def test_unwrap_and_the_end(version):
    run(
        f"""
def main():
    for timeout in (None, 20):
        far, near = tls_pair({version}, timeout)
        unwrapped = in_background(far.unwrap)
        G.sleep(0.05)
        raw = near.unwrap()
        other = unwrapped()
        other.sendall(b"plain")
        assert raw.recv(10) == b"plain"
        far, near = tls_pair({version}, timeout)
        result = in_background(near.recv, 1)
        G.sleep(0.05)
        in_background(far.unwrap)
        assert result() == b""
"""
    )


@both_versions
def test_records_that_come_in_pieces(version):
    """On one thread more at most, while they come."""
    run(
        f"""
def main():
    server, client = contexts({version})
    a, b = socket.socketpair()
    c, d = socket.socketpair()
    def pump(source, target):
        while data := source.recv(1):
            target.sendall(data)
    G.go(pump, b, c)
    G.go(pump, c, b)
    far = in_background(lambda: server.wrap_socket(a, server_side=True))
    near = client.wrap_socket(d, server_hostname="localhost")
    far = far()
    far.sendall(b"x" * 2000)
    with near.makefile("rb") as f:
        assert f.read(2000) == b"x" * 2000
    for s in (far, near, b, c):
        s.close()
"""
    )


def test_a_plain_thread_on_the_same_connection():
    run(
        """
start_os_thread = patch.original("_thread", "start_new_thread")

def main():
    far, near = tls_pair(ssl.TLSVersion.TLSv1_3)
    got = G.Chan(capacity=1)
    def echo():
        while data := far.recv(100):
            far.sendall(data)
    G.go(echo)
    def thread():
        for i in range(200):
            near.sendall(b"%d" % i)
            assert near.recv(100) == b"%d" % i
        got.send(True)
    start_os_thread(thread, ())
    assert got.recv(timeout=30)
"""
    )


def test_memory_bios_are_untouched():
    run(
        """
def main():
    server, client = contexts(ssl.TLSVersion.TLSv1_3)
    c_in, c_out, s_in, s_out = (ssl.MemoryBIO() for _ in range(4))
    near = client.wrap_bio(c_in, c_out, server_hostname="localhost")
    far = server.wrap_bio(s_in, s_out, server_side=True)
    done = set()
    while len(done) < 2:
        for side in (near, far):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
            s_in.write(c_out.read())
            c_in.write(s_out.read())
    assert type(raised(far.read, 10)) is ssl.SSLWantReadError
    near.write(b"hello")
    s_in.write(c_out.read())
    assert far.read(10) == b"hello"
"""
    )


def test_https():
    run(
        """
import asyncio, http.server, urllib.request

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode() * 5000)
    def log_message(self, *args):
        pass

def main():
    server, client = contexts(ssl.TLSVersion.TLSv1_3)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as https:
        https.socket = server.wrap_socket(https.socket, server_side=True)
        G.go(https.serve_forever, 0.05)
        def fetch(i):
            url = f"https://localhost:{https.server_port}/{i}"
            with urllib.request.urlopen(url, context=client) as page:
                return page.read()
        results = [in_background(fetch, i) for i in range(20)]
        for i, result in enumerate(results):
            assert result() == b"/%d" % i * 5000
        https.shutdown()
""",
        timeout=120,
    )


def test_ssl_alone():
    """Without patch.socket(): TLS parks, and closing wakes."""
    done = script(
        PRELUDE
        + TLS_PRELUDE
        + """
def main():
    patch.ssl()
    far, near = tls_pair(ssl.TLSVersion.TLSv1_3)
    assert patch.is_patched("ssl") and not patch.is_patched("socket")
    result = in_background(near.recv, 1)
    G.sleep(0.1)
    near.close()
    assert isinstance(raised(result), (OSError, ValueError))
    patch.undo()
    far.close()
    far, near = tls_pair(ssl.TLSVersion.TLSv1_3)
    far.sendall(b"x")
    assert near.recv(1) == b"x"
G.run(main)
"""
    )
    assert done.returncode == 0, done.stderr
