"""A web crawler with a bound on everything: pages at a time, depth, and time.

It crawls a small site that it serves itself, on a free port of this machine: pages that link to
each other, one link that leads nowhere, and a page that may take very long. No page is fetched
twice. A page is fetched by an ordinary blocking call, --at-once of them at a time, for members of a
Group.

    crawl --go--> visit(page) --links--> crawl ...      until no visit is under way
                     |
                 fetch(page)      a goroutine of its own, left alone when the time is over

The context ends the crawl: visits that wait for a page stop waiting when its deadline passes, and
what was found until then is printed.

    $ python crawler.py --pages 30 --at-once 5
    30 pages, 1 broken link, all of the site
    $ python crawler.py --pages 30 --slow 60 --timeout 0.5
    29 pages, 1 broken link, out of time
"""

import argparse
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from goroutines import Chan, Group, SendChan, go, recv, run, select
from goroutines.context import Context, background, with_timeout


class Page(NamedTuple):
    path: str
    links: list[str]
    error: str = ""


class Found(NamedTuple):
    pages: list[str]
    broken: list[str]
    complete: bool


# ---- the crawler ----


def fetch(site: str, path: str, answer: SendChan[Page]) -> None:
    try:
        with urllib.request.urlopen(site + path, timeout=30) as response:
            text = response.read().decode()
        answer.send(Page(path, re.findall(r'href="([^"]+)"', text)))
    except OSError as error:  # HTTPError and URLError are OSErrors
        answer.send(Page(path, [], str(error)))


def visit(ctx: Context, site: str, path: str, found: SendChan[Page]) -> None:
    """Fetch one page, unless ctx ends first; what came of it goes to `found`."""
    answer = Chan(Page, 1)  # room for an answer that nobody waits for any more
    go(fetch, site, path, answer.sender)
    match select(recv(answer), recv(ctx.done())):
        case 0, Page() as page, _:
            found.send(page)
        case _:
            found.send(Page(path, [], "not in time"))


def crawl(ctx: Context, site: str, at_once: int) -> Found:
    pages: list[str] = []
    broken: list[str] = []
    complete = True
    seen, waiting, under_way = {"/"}, ["/"], 0
    found = Chan(Page, at_once)
    with Group(ctx) as g:
        while waiting or under_way:
            while waiting and under_way < at_once and not ctx.err():
                g.go(visit, g.context, site, waiting.pop(), found.sender)
                under_way += 1
            if not under_way:
                break
            page = found.recv()
            under_way -= 1
            if page.error == "not in time":
                complete = False
            elif page.error:
                broken.append(page.path)
            else:
                pages.append(page.path)
            new = [link for link in dict.fromkeys(page.links) if link not in seen]
            seen.update(new)
            waiting.extend(new)
    return Found(sorted(pages), broken, complete and not waiting)


# ---- the site ----


class Site(ThreadingHTTPServer):
    """Page n links to 2n and 2n + 1; page 3 to a page that is not there; the last may be slow."""

    daemon_threads = True
    request_queue_size = 100  # Linux resets some connections of a longer queue

    def __init__(self, pages: int, slow: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.slow = pages, slow
        self.hits: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def links_of(self, path: str) -> list[str] | None:
        if path != "/" and not re.fullmatch(r"/\d+", path):
            return None
        number = 1 if path == "/" else int(path[1:])
        if not 1 <= number <= self.pages:
            return None
        links = [f"/{n}" for n in (2 * number, 2 * number + 1, number // 2) if 2 <= n <= self.pages]
        return [*links, "/", *(["/nowhere"] if number == 3 else [])]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site = self.server
        assert isinstance(site, Site)
        site.hits.append(self.path)
        links = site.links_of(self.path)
        if links is None:
            self.send_error(404)
            return
        if self.path == f"/{site.pages}":
            time.sleep(site.slow)
        body = "".join(f'<a href="{link}">{link}</a>\n' for link in links).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # the crawler has gone

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(site: Site) -> Generator[Site, None, None]:
    """In threads of its own: to the crawler it is somebody else's site."""
    thread = threading.Thread(
        target=site.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        thread.join()
        site.socket.close()


def main(pages: int, at_once: int, timeout: float, slow: float) -> int:
    with serving(Site(pages, slow)) as site, with_timeout(background(), timeout) as ctx:
        found = crawl(ctx, site.url, at_once)
    twice = len(site.hits) - len(set(site.hits))
    links = "link" if len(found.broken) == 1 else "links"
    end = "all of the site" if found.complete else "out of time"
    print(f"{len(found.pages)} pages, {len(found.broken)} broken {links}, {end}")
    return 1 if twice else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="crawl a small site that this program serves")
    parser.add_argument("--pages", type=int, default=30, help="of the site; default: %(default)s")
    parser.add_argument("--at-once", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds; default: %(default)s")
    parser.add_argument(
        "--slow", type=float, default=0.0, help="seconds that the last page takes; %(default)s"
    )
    args = parser.parse_args()
    if args.pages < 1 or args.at_once < 1:
        parser.error("every number must be at least 1")
    try:
        sys.exit(run(main, args.pages, args.at_once, args.timeout, args.slow))
    except KeyboardInterrupt:
        sys.exit(130)
