"""goroutines.ext.gunicorn: a real gunicorn, its arbiter and workers, and clients on threads."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import eventually, needs, scaled, slack

CERTIFICATE = Path(__file__).parent.parent / "patch" / "localhost.pem"
APP = """
import os, threading, time

def threads():
    return len(os.listdir("/proc/self/task"))

def answer(environ):
    path = environ["PATH_INFO"]
    if path == "/slow":
        open("begun", "w").close()
        time.sleep(float(environ["QUERY_STRING"]))
        return b"slow %d" % threads()
    if path == "/echo":
        return environ["wsgi.input"].read()
    if path == "/pid":
        return b"%d" % os.getpid()
    if path == "/raise":
        raise ValueError("on purpose")
    return b"hello"

def app(environ, start_response):
    body = answer(environ)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Server:
    def __init__(self, process, log, port, context):
        self.process, self.log, self.port, self.context = process, log, port, context

    def connection(self):
        if self.context:
            return http.client.HTTPSConnection(
                "localhost", self.port, timeout=20, context=self.context
            )
        return http.client.HTTPConnection("localhost", self.port, timeout=20)

    def get(self, path, body=None):
        """Of a connection of its own."""
        connection = self.connection()
        connection.request("POST" if body else "GET", path, body)
        with connection.getresponse() as response:
            return response.read()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(slack(20))


@contextmanager
def serving(tmp_path, *options, context=None):
    needs("gunicorn")
    (tmp_path / "app.py").write_text(APP)
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-k", "goroutines.ext.gunicorn.GoroutineWorker",
             "-b", "localhost:0", *options, "app:app"],
            cwd=tmp_path, stderr=file, stdout=file,
        )  # fmt: skip

    def started():
        told = log.read_text()
        assert process.poll() is None, told
        return "Booting worker" in told and re.search(r"https?://\S+?:(\d+)", told)

    try:
        assert eventually(started, slack(20)), log.read_text()
        yield Server(process, log, int(started()[1]), context)
    finally:
        process.kill()
        process.wait()


def test_many_at_once_on_few_threads(tmp_path):
    n = scaled(100, 60)
    with serving(tmp_path) as server:
        with ThreadPoolExecutor(n) as pool:
            begun = time.monotonic()
            got = list(pool.map(server.get, ["/slow?0.5"] * n))
            assert time.monotonic() - begun < slack(8)
        assert max(int(answer.split()[1]) for answer in got) < 40, got
        assert server.stop() == 0


def test_no_more_than_worker_connections(tmp_path):
    with serving(tmp_path, "--worker-connections=2") as server, ThreadPoolExecutor(6) as pool:
        begun = time.monotonic()
        list(pool.map(server.get, ["/slow?0.2"] * 6))
        assert time.monotonic() - begun > 0.55


def test_what_is_sent_and_what_fails(tmp_path):
    with serving(tmp_path) as server:
        body = os.urandom(1_000_000)
        assert server.get("/echo", body) == body
        assert b"Internal Server Error" in server.get("/raise")
        assert "on purpose" in server.log.read_text()
        assert server.get("/") == b"hello"


def test_connections_that_are_kept(tmp_path):
    with serving(tmp_path, "--keep-alive=1") as server:
        connection = server.connection()
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"
        kept = connection.sock
        assert kept is not None
        assert kept.recv(1) == b""  # after a second


def test_the_end_waits_for_requests_but_not_for_idle_connections(tmp_path):
    with serving(tmp_path, "--keep-alive=60") as server:
        idle = server.connection()
        idle.request("GET", "/")
        idle.getresponse().read()
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(server.get, "/slow?1")
            assert eventually((tmp_path / "begun").exists, slack(10))
            assert server.stop() == 0
            assert slow.result().startswith(b"slow")


def test_the_end_does_not_wait_for_ever(tmp_path):
    with serving(tmp_path, "--graceful-timeout=1") as server:
        with socket.create_connection(("localhost", server.port)) as s:
            s.sendall(b"GET /slow?60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert eventually((tmp_path / "begun").exists, slack(10))
            begun = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - begun < slack(10)


def test_at_once(tmp_path):
    with serving(tmp_path) as server, socket.create_connection(("localhost", server.port)) as s:
        s.sendall(b"GET /slow?60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert eventually((tmp_path / "begun").exists, slack(10))
        begun = time.monotonic()
        assert server.stop(signal.SIGQUIT) == 0
        assert time.monotonic() - begun < slack(5)


def keep_asking(server, until, got, failures):
    while not until.is_set():
        try:
            got.add(server.get("/pid"))
        except Exception as failed:
            failures.append(failed)


@pytest.mark.parametrize("why", ["reload", "max_requests"])
def test_nothing_is_lost_when_workers_change(tmp_path, why):
    options = ["-w", "2"] + (["--max-requests=40"] if why == "max_requests" else [])
    with serving(tmp_path, *options) as server:
        until, pids, failures = threading.Event(), set(), []
        clients = [
            threading.Thread(target=keep_asking, args=(server, until, pids, failures))
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        if why == "reload":
            assert eventually(lambda: len(pids) >= 1, slack(10))
            server.process.send_signal(signal.SIGHUP)
        changed = eventually(lambda: len(pids) >= 4 or failures, slack(25))
        until.set()
        for client in clients:
            client.join()
        assert changed, (pids, server.log.read_text())
        assert not failures, (failures[:3], server.log.read_text())
        assert server.stop() == 0


def test_over_tls(tmp_path):
    context = ssl.create_default_context(cafile=CERTIFICATE)
    key = CERTIFICATE.with_suffix(".key")
    with serving(
        tmp_path, f"--certfile={CERTIFICATE}", f"--keyfile={key}", context=context
    ) as server:
        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(server.get, ["/"] * 20)) == {b"hello"}
        body = os.urandom(300_000)
        assert server.get("/echo", body) == body
        assert server.stop() == 0
