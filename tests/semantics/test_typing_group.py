"""What type checkers make of contexts and groups: mypy --strict, and pyright where it is there."""

import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

needs_mypy = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed"
)
needs_pyright = pytest.mark.skipif(
    importlib.util.find_spec("pyright") is None, reason="pyright is not installed"
)

HEADER = """
from goroutines import Chan, Group, recv, select
from goroutines.context import (
    after_func, background, with_cancel, with_timeout, with_value, without_cancel
)

def f(x: int, *, loud: bool = False) -> str:
    return str(x)

class Crawler:
    def fetch(self, url: str) -> bytes:
        return b""

def generic_list(n: int) -> list[int]:
    return [n]

ctx = with_cancel(background())
"""

# Expression -> what reveal_type() says, as mypy and as pyright write it.
REVEALED = {
    "Group().go(f, 1)": ("goroutines.group.Result[str]", "Result[str]"),
    "Group().go(f, 1).value()": ("str", "str"),
    "Group().go(f, 1, loud=True).value(timeout=1.0)": ("str", "str"),
    "Group().go(Crawler().fetch, 'url').value()": ("bytes", "bytes"),
    "Group().go(generic_list, 1).value()": ("list[int]", "list[int]"),
    "Group().go(lambda: 3).value()": ("int", "int"),
    "Group().go(Chan(int).recv).value()": ("int", "int"),
    "Group().go(f, 1).done": ("bool", "bool"),
    "Group().context.cancel()": ("None", "None"),
    "ctx.done()": ("goroutines._core.RecvChan[None]", "RecvChan[None]"),
    "background().done()": (
        "goroutines._core.RecvChan[None] | None", "RecvChan[None] | None",
    ),
    "with_value(ctx, 'key', 1)": ("goroutines.context.Context", "Context"),
    "with_timeout(ctx, 1.0)": ("goroutines.context.CancelContext", "CancelContext"),
    "without_cancel(ctx)": ("goroutines.context.Context", "Context"),
    "ctx.err()": ("Exception | None", "Exception | None"),
    "ctx.cause()": ("BaseException | None", "BaseException | None"),
    "ctx.deadline()": ("float | None", "float | None"),
    "ctx.remaining()": ("float | None", "float | None"),
    "ctx.check()": ("None", "None"),
    "after_func(ctx, print)": ("def () -> bool", "() -> bool"),
    "after_func(ctx, print)()": ("bool", "bool"),
    "select(recv(background().done())).index": ("int", "int"),
}  # fmt: skip

# Mistakes that a checker has to see.
WRONG = {
    "a member's arguments of another type": 'Group().go(f, "text")',
    "a member's missing arguments": "Group().go(f)",
    "a keyword that is none": "Group().go(f, 1, quiet=True)",
    "a result of another type": "n: int = Group().go(f, 1).value()",
    "setting what is read-only": "Group().go(f, 1).done = True",
    "a limit that is no number": 'Group(limit="1")',
    "a ctx that is none": "Group(3)",
    "a context's parent that is none": "with_cancel(None)",
    "cancelling what cannot be cancelled": "background().cancel()",
    "closing done()": "ctx.done().close()",
    "receiving from what may be None": "background().done().recv()",
    "a cause that is no exception": 'ctx.cancel("why")',
    "an after_func with arguments": "after_func(ctx, f)",
}


def program(lines):
    return textwrap.dedent(HEADER) + "".join(line + "\n" for line in lines)


FIRST = textwrap.dedent(HEADER).count("\n") + 1


def mypy(path, *options):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=",
         f"--cache-dir={path.parent}/cache", *options, str(path)],
        capture_output=True, text=True, check=False, timeout=200, cwd=path.parent,
    )  # fmt: skip
    return done.stdout


def pyright(path):
    """(line, message) of each diagnostic."""
    (path.parent / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, path],
        capture_output=True, text=True, check=False, timeout=200, cwd=path.parent,
    )  # fmt: skip
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [(d["range"]["start"]["line"] + 1, d["severity"], d["message"]) for d in found]


@needs_mypy
@pytest.mark.hang(240)
def test_revealed_by_mypy(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(program(f"reveal_type({expression})" for expression in REVEALED))
    out = mypy(path)
    assert "error:" not in out, out
    seen = re.findall(r'Revealed type is "(.*)"', out)
    # Versions differ in whether builtins are spelled out.
    assert [s.replace("builtins.", "") for s in seen] == [m for m, _ in REVEALED.values()]


@needs_pyright
@pytest.mark.hang(240)
def test_revealed_by_pyright(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(program(f"reveal_type({expression})" for expression in REVEALED))
    found = pyright(path)
    assert not [d for d in found if d[1] == "error"], found
    seen = [re.search(r' is "(.*)"', m)[1] for _, kind, m in found if kind == "information"]
    assert seen == [p for _, p in REVEALED.values()]


@needs_mypy
@pytest.mark.hang(240)
def test_mistakes_seen_by_mypy(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(program(WRONG.values()))
    out = mypy(path)
    lines = {int(x.split(":")[1]) for x in out.splitlines() if ": error:" in x}
    assert not [name for i, name in enumerate(WRONG) if FIRST + i not in lines], out


@needs_pyright
@pytest.mark.hang(240)
def test_mistakes_seen_by_pyright(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(program(WRONG.values()))
    lines = {line for line, severity, _ in pyright(path) if severity == "error"}
    assert not [name for i, name in enumerate(WRONG) if FIRST + i not in lines]


CHECKED = ["crawler.py", "ratelimit.py", "pubsub.py", "pipeline_cancel.py"]


@needs_mypy
@pytest.mark.hang(240)
@pytest.mark.parametrize("name", CHECKED)
def test_mypy_accepts_the_example(name, tmp_path):
    path = tmp_path / name
    path.write_text((EXAMPLES / name).read_text())
    assert mypy(path) == ""


@needs_pyright
@pytest.mark.hang(240)
@pytest.mark.parametrize("name", CHECKED)
def test_pyright_accepts_the_example(name, tmp_path):
    path = tmp_path / name
    path.write_text((EXAMPLES / name).read_text())
    found = [d for d in pyright(path) if d[1] == "error"]
    assert not found
