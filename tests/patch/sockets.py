"""What programs of test_socket.py and test_ssl.py begin with."""

PRELUDE = """
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

def threads():
    return len(os.listdir("/proc/self/task"))

"""
