"""crawler.py: every page once, so many at a time at most, and an end when the time is over."""

import threading
import time

import pytest
from goroutines import run
from goroutines.context import background, with_timeout

from .support import load


@pytest.mark.parametrize(("pages", "at_once"), [(30, 5), (1, 1), (12, 50), (20, 1)])
def test_the_whole_site(example, pages, at_once):
    done = example("crawler.py", "--pages", pages, "--at-once", at_once, "--timeout", "60")
    broken = "1 broken link" if pages >= 3 else "0 broken links"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{pages} pages, {broken}, all of the site\n"


def test_out_of_time(example):
    start = time.monotonic()
    done = example("crawler.py", "--pages", "10", "--slow", "600", "--timeout", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(", out of time\n")
    assert time.monotonic() - start < 30, "it does not wait for the page that takes long"


def test_no_more_at_once():
    crawler = load("crawler.py")
    now, most, lock = [], [], threading.Lock()

    class Counting(crawler.Handler):
        def do_GET(self):
            with lock:
                now.append(1)
                most.append(len(now))
            time.sleep(0.01)
            with lock:
                now.pop()
            super().do_GET()

    site = crawler.Site(20, 0.0)
    site.RequestHandlerClass = Counting
    with crawler.serving(site), with_timeout(background(), 60) as ctx:
        found = run(crawler.crawl, ctx, site.url, 3)
    assert len(found.pages) == 20 and found.complete and found.broken == ["/nowhere"]
    assert max(most) <= 3 and sorted(site.hits) == sorted(set(site.hits))


def test_a_deadline_that_has_passed():
    crawler = load("crawler.py")
    site = crawler.Site(20, 0.0)
    with crawler.serving(site), with_timeout(background(), -1) as ctx:
        found = run(crawler.crawl, ctx, site.url, 3)
    assert found.pages == [] and not found.complete and site.hits == []
