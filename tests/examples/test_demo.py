"""demo.py: its own checks hold, and it says what it found."""

import re
import sys

import pytest

from .support import EXAMPLES, load


@pytest.mark.hang(240)
def test_demo(example):
    done = example("demo.py", timeout=200)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"[\d,]+ files, [\d,]+\.\d MB in .* goroutines on \d+ OS threads", done.stdout)
    assert len(done.stdout.splitlines()) < 25
    assert "20 sums compared with those of plain hashlib: equal" in done.stdout
    assert "100,000 goroutines alive at once in" in done.stdout
    assert "the last one heard 100,001: right" in done.stdout
    on_threads, on_goroutines = re.findall(
        r"   (?:threads|goroutines): +495 pages, 5 missing, in .* s, on (\d+) OS threads, \d+ MB\n",
        done.stdout,
    )
    assert int(on_goroutines) < int(on_threads)
    assert "async and await in digest.py and daisy.py: 0." in done.stdout


def test_without_requests(monkeypatch, capsys):
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setitem(sys.modules, "requests", None)
    assert load("demo.py").scrape_twice()
    assert "left out: it needs requests (pip install requests)" in capsys.readouterr().out
