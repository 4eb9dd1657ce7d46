"""pipeline_cancel.py: a hit, or none in time; no stage is left in either case."""

import hashlib

import pytest


@pytest.mark.parametrize("workers", [1, 3, 20])
@pytest.mark.parametrize("prefix", ["0", "000"])
def test_a_hit(example, workers, prefix):
    done = example("pipeline_cancel.py", "--prefix", prefix, "--workers", workers)
    assert (done.returncode, done.stderr) == (0, "")
    hit, left = done.stdout.splitlines()
    number, digest = hit.split(" has ")
    assert digest.startswith(prefix)
    assert hashlib.sha256(number.encode()).hexdigest() == digest
    assert left == f"{workers} workers, nobody left"


def test_none_in_time(example):
    done = example("pipeline_cancel.py", "--prefix", "0" * 20, "--timeout", "0.3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["nothing in time", "3 workers, nobody left"]
