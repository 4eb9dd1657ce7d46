"""scraper.py: the same pages on threads and on goroutines; pages that cannot be had; Ctrl-C."""

import os
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from helpers import eventually

from .support import interrupted, load

REPORT = re.compile(
    r"495 pages, 5 missing, in \d+\.\d\d s, on (\d+) OS threads, (\d+) MB\n", re.MULTILINE
)


@pytest.mark.parametrize(("patched", "threads"), [(False, range(100, 510)), (True, range(2, 100))])
def test_all_pages_at_once(example, patched, threads):
    done = example("scraper.py", patched=patched)
    assert (done.returncode, done.stderr) == (0, "")
    os_threads, megabytes = map(int, REPORT.fullmatch(done.stdout).groups())
    assert os_threads in threads
    assert 10 < megabytes < 1000


def read_all(terminal):
    """Until nobody has its other end open any more."""
    shown = b""
    try:
        while True:
            shown += os.read(terminal, 65536)
    except OSError:
        os.close(terminal)
    return shown.decode()


def test_progress_on_a_terminal(example):
    terminal, other_end = os.openpty()
    example.start("scraper.py", patched=True, stderr=other_end)
    os.close(other_end)
    shown = read_all(terminal)
    assert f"\r[{'#' * 20:40}] 250/500\r" in shown
    assert shown.endswith(f"\r[{'#' * 40}] 500/500\r\x1b[K")


# ---- another site ----


class Site(ThreadingHTTPServer):
    request_queue_size = 500  # Linux resets some connections of a longer queue

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.hits = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.hits.append(self.path)
        match self.path:
            case "/many":
                self.answer("".join(f'<a href="{n}">' for n in range(300)))
            case "/":
                self.answer('<a href="good">, <a href="untitled"> <a href="cut"> <a href="/gone">')
            case "/good":
                self.answer("<title>A page</title>")
            case "/untitled":
                self.answer("")
            case "/cut":
                self.answer("<title>Half a page</title>", more=10)
            case _:
                self.send_error(410)

    def answer(self, text, more=0):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text) + more))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    with Site() as site:
        thread = Thread(target=site.serve_forever, args=[0.02])
        thread.start()
        yield site
        site.shutdown()
        thread.join()


def test_titles_and_errors(site):
    found = list(load("scraper.py").scrape(site.url, 3))
    assert {total for _, total in found} == {4}
    pages = {page.url.removeprefix(site.url): page for page, _ in found}
    assert (pages["good"].title, pages["good"].error) == ("A page", "")
    assert (pages["untitled"].title, pages["untitled"].error) == ("", "")
    assert "10 more expected" in pages["cut"].error and not pages["cut"].title
    assert "410 Client Error: Gone" in pages["gone"].error


def test_no_index(site):
    scraper = load("scraper.py")
    with pytest.raises(scraper.requests.HTTPError, match="410"):
        next(scraper.scrape(f"{site.url}gone", 1))


def test_who_leaves_early_does_not_wait_for_the_rest(site):
    pages = load("scraper.py").scrape(f"{site.url}many", 1)
    next(pages)
    pages.close()
    assert len(site.hits) < 300


# ---- the end ----


@pytest.mark.parametrize("patched", [False, True])
def test_interrupt_ends_the_site_too(example, patched):
    program = example.start("scraper.py", patched=patched)
    descriptors = Path(f"/proc/{program.pid}/fd")
    assert eventually(lambda: len(list(descriptors.iterdir())) > 20, seconds=20)  # connections
    interrupted(program)  # which waits until nobody has its stderr any more


def test_without_requests(monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(SystemExit, match="pip install requests"):
        load("scraper.py")


def test_no_workers(example):
    assert example("scraper.py", "--workers", "0").returncode == 2
