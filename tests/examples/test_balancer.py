"""balancer.py: every request is answered once, and no worker gets more than its share."""

import re

import pytest


@pytest.mark.parametrize(("requesters", "workers", "requests"), [(100, 8, 1000), (3, 7, 50)])
def test_answers_and_shares(example, requesters, workers, requests):
    done = example(
        "balancer.py", "--requesters", requesters, "--workers", workers, "--requests", requests
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    total = sum(number * number for number in range(1, requests + 1))
    assert second == f"{requests} answers, their sum is {total}"

    shares = re.findall(r"worker (\d+) did (\d+)", first)
    assert [int(number) for number, _ in shares] == list(range(workers))
    assert sum(int(share) for _, share in shares) == requests
    # A worker answers before it reports, so a requester may be one request ahead of the report.
    most = int(re.search(r"never more than (\d+) in hand", first)[1])
    assert 1 <= most <= (requesters + workers - 1) // workers + 1


def test_more_requesters_than_requests(example):
    done = example("balancer.py", "--requesters", "9", "--workers", "1", "--requests", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("4 answers, their sum is 30\n")
