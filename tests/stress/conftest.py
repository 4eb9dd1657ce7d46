"""Each stress test runs under the usual switch interval and under a tiny one."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, params=["usual", "tiny"])
def switch_interval(request: pytest.FixtureRequest) -> Iterator[None]:
    """`tiny`: the interpreter offers the GIL every 10 us, between almost any two bytecodes."""
    before = sys.getswitchinterval()
    if request.param == "tiny":
        sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)
