"""Patched sockets, many at once."""

import resource

import pytest
from helpers import scaled, slack

from .sockets import run

CONNECTIONS = scaled(10_000, 100)
PEERS = scaled(1000, 60)

ALL_DESCRIPTORS = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
"""


def needs_descriptors(n: int) -> pytest.MarkDecorator:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return pytest.mark.skipif(hard < n, reason=f"needs {n} descriptors; the limit is {hard}")


# Plain Python: it connects everything at once and then, for each line, says how many echoes came.
CLIENT = (
    ALL_DESCRIPTORS
    + """
import socket, sys
port, n = map(int, sys.argv[1:])
sockets = [socket.socket() for _ in range(n)]

def echo_came(i, s):
    return s.recv(6, socket.MSG_WAITALL) == b"%06d" % i

for s in sockets:
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", port))
for s in sockets:
    s.setblocking(True)
print("connecting", flush=True)
for _ in sys.stdin:
    for i, s in enumerate(sockets):
        s.sendall(b"%06d" % i)
    print(sum(echo_came(i, s) for i, s in enumerate(sockets)), flush=True)
"""
)


@pytest.mark.hang(200)
@needs_descriptors(CONNECTIONS + 200)
def test_ten_thousand_connections_at_once():
    run(
        ALL_DESCRIPTORS
        + f"""
import subprocess
n = {CONNECTIONS}
accepted = G.Chan(capacity=1)

def resident_mb():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() / 1e6

def echo(conn):
    with conn:
        while data := conn.recv(6):
            conn.sendall(data)

def serve(server):
    for _ in range(n):
        G.go(echo, server.accept()[0])
    accepted.send(True)

def main():
    server = socket.create_server(("127.0.0.1", 0), backlog=4096)
    G.go(serve, server)
    command = [sys.executable, "-c", {CLIENT!r}, str(server.getsockname()[1]), str(n)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        accepted.recv(timeout={slack(100)})
        assert client.stdout.readline() == "connecting\\n"
        assert G.num_goroutine() > n
        few_threads()
        assert resident_mb() < 150, resident_mb()
        for _ in range(3):
            print("go", file=client.stdin, flush=True)
            assert int(client.stdout.readline()) == n
            few_threads()
        client.stdin.close()
""",
        timeout=150,
    )


@needs_descriptors(PEERS + 100)
def test_a_thousand_peers_of_one_datagram_socket():
    run(
        ALL_DESCRIPTORS
        + f"""
n = {PEERS}

def serve(server):
    while True:
        data, address = server.recvfrom(100)
        server.sendto(data.upper(), address)

def ask(address, i):
    question = b"peer %d" % i
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.connect(address)
        s.settimeout(0.5)
        for _ in range(100):  # datagrams may be lost
            s.send(question)
            with contextlib.suppress(TimeoutError):
                return s.recv(100) == question.upper()

def main():
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    for _ in range(20):
        G.go(serve, server)
    peers = [in_background(ask, server.getsockname(), i) for i in range(n)]
    G.sleep(0.05)
    few_threads()
    assert all(peer() for peer in peers)
"""
    )
