"""httpbench.py: it makes as many requests as asked for, and counts what comes of them."""

import re
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers import eventually

from .support import interrupted, reset

REPORT = re.compile(
    r"(\d+) requests in \d+\.\d\d s, \d+ a second, (\d+\.\d) MB, by (\d+) clients "
    r"on \d+ OS threads\n"
    r"(.+)\n"
    r"latency: (\d+\.\d) ms \(median\), (\d+\.\d) ms \(90 %\), "
    r"(\d+\.\d) ms \(99 %\), (\d+\.\d) ms \(worst\)\n"
)


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.hits, self.connections = Counter(), 0
        self.lock, self.over = threading.Lock(), threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self):
        with self.server.lock:
            self.server.hits[self.path] += 1
            turn = self.server.hits.total()
        match self.path:
            case "/missing":
                self.answer(404)
            case "/cut":
                self.answer(200, cut=1)
            case "/silent":
                self.close_connection = True
            case "/uneven" if turn % 4 == 0:
                self.answer(500)
            case "/five" if turn > 5:
                self.server.over.wait()
            case _:
                self.answer(200)

    def answer(self, status, cut=0):
        self.send_response(status)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.wfile.write(b"x" * (10000 - cut))
        self.close_connection = cut > 0

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=[0.02])
        thread.start()
        yield site
        site.over.set()
        site.shutdown()
        thread.join()


def report(output):
    """How many requests, their MB, how many clients, the outcomes."""
    requests, megabytes, clients, outcomes, *latencies = REPORT.fullmatch(output).groups()
    assert latencies == sorted(latencies, key=float)
    return int(requests), float(megabytes), int(clients), outcomes


def bench(example, url, clients, requests):
    done = example("httpbench.py", url, "--clients", clients, "--requests", requests)
    assert (done.returncode, done.stderr) == (0, "")
    return report(done.stdout)


@pytest.mark.parametrize(("clients", "requests"), [(1, 1), (1, 20), (50, 300), (20, 5)])
def test_no_more_and_no_fewer_than_asked_for(example, site, clients, requests):
    told = bench(example, site.url, clients, requests)
    assert told == (requests, round(requests / 100, 1), clients, f"200: {requests}")
    assert site.hits == {"/": requests}
    assert site.connections <= clients


def test_path_and_query(example, site):
    bench(example, f"{site.url}/a/b?c=d&e", 2, 4)
    assert site.hits == {"/a/b?c=d&e": 4}


@pytest.mark.parametrize(
    ("path", "outcomes"),
    [
        ("/missing", "404: 20"),
        ("/uneven", "200: 15, 500: 5"),
        ("/cut", "IncompleteRead: 20"),
        ("/silent", "RemoteDisconnected: 20"),
    ],
)
def test_what_comes_of_requests(example, site, path, outcomes):
    assert bench(example, site.url + path, 3, 20)[3] == outcomes


def test_nobody_there(example):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert bench(example, f"http://127.0.0.1:{port}/", 3, 10)[3] == "ConnectionRefusedError: 10"


def test_a_server_that_resets(example):
    def serve():
        for _ in range(5):
            conn = server.accept()[0]
            conn.recv(1000)
            reset(conn)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert bench(example, url, 1, 5)[3] == "ConnectionResetError: 5"
        thread.join()


def test_interrupt_ends_with_the_report_on_what_there_is(example, site):
    program = example.start("httpbench.py", f"{site.url}/five", "--clients", "2")
    assert eventually(lambda: site.hits.total() == 7, seconds=20)
    assert report(interrupted(program))[3] == "200: 5"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost/", "http:///path"])
def test_not_the_url_of_a_server(example, url):
    done = example("httpbench.py", url)
    assert done.returncode == 2 and "http://HOST" in done.stderr
