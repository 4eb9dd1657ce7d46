"""ratelimit.py: the rate is kept, bursts go through at once, and who has no time gives up."""

import re

from helpers import slack


def numbers(done):
    assert (done.returncode, done.stderr) == (0, "")
    return re.fullmatch(
        r"(\d+) calls went through, (\d+) gave up; (\d+) at once, the others took ([\d.]+) s\n",
        done.stdout,
    ).groups()


def test_all_go_through(example):
    went, gave_up, at_once, took = numbers(
        example("ratelimit.py", "--rate", 100, "--burst", 10, "--calls", 40, "--patience", 60)
    )
    assert (went, gave_up) == ("40", "0")
    assert int(at_once) >= 10
    # No faster than the rate: the first of the others comes a tick after the start.
    assert float(took) >= (40 - int(at_once)) / 100 - 0.02


def test_some_give_up(example):
    went, gave_up, at_once, took = numbers(
        example("ratelimit.py", "--rate", 20, "--burst", 5, "--calls", 100, "--patience", 0.5)
    )
    assert int(went) + int(gave_up) == 100 and int(gave_up) > 0 and int(at_once) >= 5
    assert float(took) < slack(5)


def test_fewer_calls_than_the_burst(example):
    went, gave_up, at_once, took = numbers(example("ratelimit.py", "--burst", 10, "--calls", 3))
    assert (went, gave_up, at_once, took) == ("3", "0", "3", "0.00")
