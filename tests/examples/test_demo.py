"""demo.py: its own checks hold, and it says what it found."""

import re

import pytest


@pytest.mark.hang(240)
def test_demo(example):
    done = example("demo.py", timeout=200)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"[\d,]+ files, [\d,]+\.\d MB in .* goroutines on \d+ OS threads", done.stdout)
    assert len(done.stdout.splitlines()) < 25
    assert "20 sums compared with those of plain hashlib: equal" in done.stdout
    assert "100,000 goroutines alive at once in" in done.stdout
    assert "the last one heard 100,001: right" in done.stdout
    assert "async and await in the source of both: 0." in done.stdout
