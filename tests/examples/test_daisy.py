"""daisy.py: each link adds one, and all links are alive at once."""

import re

import pytest
from helpers import scaled

ALIVE = re.compile(
    r"(\d+) goroutines alive at once, in (\d+) MB \((-?\d+\.\d) KB each\), on (\d+) OS threads"
)


@pytest.mark.parametrize("n", [0, 1, 1000, scaled(100_000, least=1000)])
def test_chain(example, n):
    done = example("daisy.py", n)
    assert (done.returncode, done.stderr) == (0, "")
    result, alive, _ = done.stdout.splitlines()
    assert int(result) == n + 1
    count, _, each, threads = ALIVE.fullmatch(alive).groups()
    assert int(count) == n
    assert int(threads) <= 16
    if n >= 10_000:
        assert 0 < float(each) < 20
