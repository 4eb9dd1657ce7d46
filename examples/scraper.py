"""500 pages with `requests` and a pool of threads; what a thread is, is decided from outside.

Neither `scrape` nor requests knows of goroutines. The site is a process of its own, so that its
threads and memory do not count; it takes a second over each page.

    $ python scraper.py            # a thread for each worker
    495 pages, 5 missing, in 1.64 s, on 501 OS threads, 60 MB
    $ goroutines run scraper.py    # a goroutine for each worker
    495 pages, 5 missing, in 1.50 s, on 10 OS threads, 56 MB
"""

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urljoin

try:
    import requests
except ImportError:
    sys.exit("scraper needs requests: pip install requests")

PAGES = 500
DELAY = 1.0  # of each page but the index, in seconds


# ---- the scraper ----


class Page(NamedTuple):
    url: str
    title: str = ""
    error: str = ""


def fetch(url: str) -> Page:
    try:
        response = requests.get(url, timeout=30)
        response.raise_for_status()
    except requests.RequestException as error:
        return Page(url, error=str(error))
    title = re.search("<title>(.*?)</title>", response.text)
    return Page(url, title[1] if title else "")


def scrape(index: str, workers: int) -> Iterator[tuple[Page, int]]:
    """Each page that the index links to, as it comes, and how many there are."""
    response = requests.get(index, timeout=30)
    response.raise_for_status()
    urls = [urljoin(index, link) for link in re.findall('href="(.*?)"', response.text)]
    pool = ThreadPoolExecutor(workers)
    try:
        for fetched in as_completed([pool.submit(fetch, url) for url in urls]):
            yield fetched.result(), len(urls)
    finally:
        pool.shutdown(cancel_futures=True)


# ---- what it takes ----


def os_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def peak_of_memory() -> int:
    """Of this process, in KB."""
    with open("/proc/self/status") as status:
        return int(re.findall(r"^VmHWM:\s*(\d+)", status.read(), re.MULTILINE)[0])


def show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        bar = "#" * (40 * done // total)
        end = "\r\x1b[K" if done == total else ""
        print(f"\r[{bar:40}] {done}/{total}{end}", end="", file=sys.stderr, flush=True)


# ---- the site ----


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = PAGES  # all of them may connect at the same moment


class Handler(BaseHTTPRequestHandler):
    """The index links to all pages; each hundredth is not there."""

    def do_GET(self) -> None:
        number = self.path[1:]
        if not number:
            self.answer("".join(f'<a href="{n}">{n}</a>\n' for n in range(PAGES)))
            return
        time.sleep(DELAY)
        if int(number) % 100:
            self.answer(f"<title>Page {number}</title>\n")
        else:
            self.send_error(404)

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve() -> None:
    """Until standard input ends, as it does with the program at its other end."""
    site = Site(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        os.write(1, f"http://127.0.0.1:{site.server_port}/\n".encode())
    except BrokenPipeError:
        return  # it has ended already
    sys.stdin.read()


@contextmanager
def serving() -> Iterator[str]:
    command = [sys.executable, "-m", "goroutines", "run", __file__, "--serve"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # Ctrl-C is not for it
    ) as site:
        assert site.stdout is not None
        # Not readline(), which blocks in C: a goroutine there could not be interrupted.
        yield os.read(site.stdout.fileno(), 100).decode().strip()


def main(workers: int) -> None:
    os.environ["no_proxy"] = "127.0.0.1"
    done = missing = threads = 0
    with serving() as index:
        began = time.perf_counter()
        for page, total in scrape(index, workers):
            done += 1
            missing += bool(page.error)
            threads = max(threads, os_threads())
            show_progress(done, total)
        seconds = time.perf_counter() - began
    print(
        f"{done - missing} pages, {missing} missing, in {seconds:.2f} s, "
        f"on {threads} OS threads, {peak_of_memory() / 1000:.0f} MB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=f"scrape a site of {PAGES} pages")
    parser.add_argument("--workers", type=int, default=PAGES, help="default: %(default)s")
    parser.add_argument("--serve", action="store_true", help="be the site instead")
    args = parser.parse_args()
    if args.workers < 1:
        parser.error("--workers must be at least 1")
    try:
        serve() if args.serve else main(args.workers)
    except KeyboardInterrupt:
        sys.exit(130)
