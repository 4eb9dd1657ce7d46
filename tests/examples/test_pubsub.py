"""pubsub.py: everybody gets what was published while he had subscribed, or is told how much not."""

import pytest


@pytest.mark.parametrize(("subscribers", "messages"), [(3, 1000), (1, 10), (50, 100)])
def test_who_gets_what(example, subscribers, messages):
    done = example("pubsub.py", "--subscribers", subscribers, "--messages", messages)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == f"{subscribers} subscribers got {messages} messages each"
    slept = min(16, messages)
    assert second == (
        f"one that left got 10 and no more; "
        f"one that slept got {slept} and missed {messages - slept}"
    )


def test_too_few(example):
    done = example("pubsub.py", "--messages", "9")
    assert done.returncode == 2 and "at least" in done.stderr
