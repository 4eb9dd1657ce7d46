"""Programs that use patched sockets, plain ones and TLS."""

from pathlib import Path

from helpers import script

from .waiting import FEW_THREADS

HERE = Path(__file__).parent

PRELUDE = f"""
{FEW_THREADS}
import contextlib, errno, os, socket, struct, sys, threading, time
import goroutines as G
from goroutines import patch

def in_background(fn, *args):
    '''fn(*args) in a goroutine; what returns its result or raises its exception.'''
    done = G.Chan(capacity=1)
    def body():
        try:
            done.send((fn(*args), None))
        except Exception as exc:
            done.send((None, exc))
    G.go(body)
    def result():
        value, exc = done.recv(timeout=30)
        if exc is not None:
            raise exc
        return value
    return result

def raised(fn, *args):
    try:
        fn(*args)
    except Exception as exc:
        return exc
    raise AssertionError("nothing was raised")

def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        a = socket.create_connection(server.getsockname())
        return a, server.accept()[0]

"""

TLS_PRELUDE = f"""
import ssl

def contexts(version):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain({str(HERE / "localhost.pem")!r}, {str(HERE / "localhost.key")!r})
    client = ssl.create_default_context(cafile={str(HERE / "localhost.pem")!r})
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
    return server, client

def tls_over(a, b, version):
    '''(server's side, client's side)'''
    server, client = contexts(version)
    result = in_background(lambda: server.wrap_socket(a, server_side=True))
    near = client.wrap_socket(b, server_hostname="localhost")
    return result(), near

def tls_pair(version, timeout=None):
    a, b = socket.socketpair()
    a.settimeout(timeout)
    b.settimeout(timeout)
    return tls_over(a, b, version)
"""


def run(source: str, timeout: float = 60) -> str:
    """The output of a program whose main(), patched, runs as the main goroutine."""
    done = script(PRELUDE + source + "\npatch.all()\nG.run(main)\n", timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout
