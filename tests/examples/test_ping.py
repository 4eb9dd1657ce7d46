"""ping.py: the seed decides what is lost; the times are measured; Ctrl-C ends it quietly."""

import random
import re

import pytest

from .support import interrupted

RTT = re.compile(r"rtt min/avg/max = (\d+\.\d)/(\d+\.\d)/(\d+\.\d) ms")


def fate(seed, count):
    """What the host decides: for each question whether it is lost, and the delay in ms."""
    luck = random.Random(seed)
    return [(luck.random() < 0.25, luck.random() * 25) for _ in range(count)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_summary(example, seed):
    count = 12
    delays = [delay for lost, delay in fate(seed, count) if not lost]
    done = example("ping.py", "--seed", seed, "--count", count, "--interval", "0.02")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, summary, rtt = done.stdout.splitlines()

    numbers = sorted(int(re.match(r"seq=(\d+) ", line)[1]) for line in lines)
    assert numbers == list(range(count))
    assert sum(line.endswith("timeout") for line in lines) == count - len(delays)
    loss = f"{1 - len(delays) / count:.0%}"
    assert summary == f"{count} sent, {len(delays)} received, {loss} loss"

    fastest, mean, slowest = map(float, RTT.fullmatch(rtt).groups())
    assert fastest >= min(delays) - 0.1
    assert max(delays) - 0.1 <= slowest < 250
    assert sum(delays) / len(delays) - 0.1 <= mean <= slowest


def test_interrupt(example):
    program = example.start("ping.py", "--count", "100000")
    program.stdout.readline()
    interrupted(program)


def test_bad_arguments(example):
    assert example("ping.py", "--count", "0").returncode == 2
    assert example("ping.py", "--interval", "nan").returncode == 2
