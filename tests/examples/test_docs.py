"""The programs in the documentation say what it says they say.

A program that is followed by a `text` block prints that. In the from-*.md pages two programs stand
side by side, and print the same.
"""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import script, slack

DOCS = Path(__file__).parents[2] / "docs"

PRINTS = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
PAIR = re.compile(
    r"## ([^\n]*)\n\n<table>.*?```(python|go)\n(.*?)```.*?```python\n(.*?)```.*?</table>", re.DOTALL
)


def told():
    for name in ("context.md", "group.md"):
        for i, (program, output) in enumerate(PRINTS.findall((DOCS / name).read_text())):
            yield pytest.param(program, output, id=f"{name}-{i}")


def pairs():
    for page in ("from-asyncio.md", "from-threads.md", "from-gevent.md", "from-go.md"):
        for title, language, theirs, ours in PAIR.findall((DOCS / page).read_text()):
            yield pytest.param(page, language, theirs, ours, id=f"{page}-{title}")


def test_there_are_programs():
    assert len(list(told())) >= 7 and len(list(pairs())) == 20


def output_of(program):
    done = script(program)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize(("program", "output"), list(told()))
def test_a_program_prints_what_is_told(program, output):
    assert output_of(program) == output


def go_output(program, folder):
    go = shutil.which("go")
    if go is None or "golang.org/x" in program:
        pytest.skip("no Go, or a package that has to be fetched")
    (folder / "main.go").write_text(program)
    done = subprocess.run(
        [go, "run", "main.go"], cwd=folder, capture_output=True, text=True, timeout=slack(120),
        check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.hang(150)
@pytest.mark.parametrize(("page", "language", "theirs", "ours"), list(pairs()))
def test_both_programs_print_the_same(page, language, theirs, ours, tmp_path):
    printed = output_of(ours)
    assert printed
    if page == "from-gevent.md" and importlib.util.find_spec("gevent") is None:
        pytest.skip("gevent is not installed")
    other = go_output(theirs, tmp_path) if language == "go" else output_of(theirs)
    # Go's lists have no commas.
    assert other.replace(",", "") == printed.replace(",", "")
