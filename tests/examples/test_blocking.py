"""blocking.py: 500 goroutines that block in C finish together, and the ticker stays punctual."""

import re

from helpers import slack

REPORT = re.compile(
    r"500 goroutines slept 2500 times and read (\d+) MB in (\d+\.\d+) s "
    r"\(one after another: 125 s\)\n"
    r"a ticker of 10 ms beside them: (\d+) ticks, the worst (\d+\.\d) ms late\n"
    r"(\d+) OS threads at the peak\n"
)


def test_ticker_beside_blocking_calls(example):
    done = example("blocking.py")
    assert (done.returncode, done.stderr) == (0, "")
    megabytes, seconds, ticks, late, threads = map(float, REPORT.fullmatch(done.stdout).groups())
    assert megabytes > 0
    assert seconds < slack(20)
    assert ticks >= 5
    assert late < slack(250)
    assert 2 <= threads <= 600
