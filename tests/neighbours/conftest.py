"""Each test here runs on one P and on four."""

import pytest


@pytest.fixture(params=[1, 4], ids=["1P", "4P"])
def procs(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory):
    """A new folder for something compiled, kept for the session."""
    return tmp_path_factory.mktemp("build")
