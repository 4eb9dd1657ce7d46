"""digest.py against hashlib, sha256sum and find; its error path; its last line and progress."""

import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

LAST_LINE = re.compile(
    r"(\d+) files, (\d+) bytes in \d+\.\d\d s; (\d+) goroutines started, (\d+) OS threads\n"
)

needs_sha256sum = pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")


@pytest.fixture
def tree(tmp_path):
    """Files of many sizes in nested folders, and things that are no files."""
    for number, size in enumerate([0, 1, 63, 64, 2047, 2048, 65536, 3_000_001]):
        folder = tmp_path.joinpath(*"abcdefgh"[: number % 4])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number}").write_bytes(os.urandom(size))
    (tmp_path / "empty folder").mkdir()
    (tmp_path / "link to file").symlink_to("file 0")
    (tmp_path / "link to folder").symlink_to(".")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def expected(root):
    """What sha256sum says of each file below, by hashlib; names must need no escape."""
    found = []
    for folder, _, names in os.walk(root):
        found += [path for name in names if os.path.isfile(path := os.path.join(folder, name))]
    return "".join(
        f"{hashlib.sha256(Path(path).read_bytes()).hexdigest()}  {path}\n"
        for path in sorted(found, key=os.fsencode)
    )


@pytest.mark.parametrize("options", [[], ["--workers", "1"], ["--workers", "50"]])
def test_sums_are_those_of_hashlib(example, tree, options):
    done = example("digest.py", tree, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected(tree)
    assert done.stdout.count("\n") == 9


@needs_sha256sum
def test_standard_library_against_sha256sum(example):
    folder = os.path.join(sysconfig.get_paths()["stdlib"], "email")
    pipeline = f"find '{folder}' -xtype f -print0 | sort -z | xargs -0 sha256sum"
    sums = subprocess.run(
        ["sh", "-c", pipeline],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    done = example("digest.py", folder)
    assert (done.returncode, done.stdout) == (0, sums)


@needs_sha256sum
def test_sha256sum_can_check_odd_names(example, tmp_path):
    names = [b"two\nlines", rb"back\slash", b"spa ce", b"\xffnot utf-8", "ünï".encode(), b"*star"]
    for name in names:
        Path(os.path.join(tmp_path, os.fsdecode(name))).write_bytes(name)
    done = example("digest.py", tmp_path)
    assert done.returncode == 0, done.stderr
    check = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet"],
        input=os.fsencode(done.stdout),
        capture_output=True,
    )
    assert check.returncode == 0, check
    assert done.stdout.count("  ") == len(names)


def test_last_line_and_quiet(example, tree):
    done = example("digest.py", "--quiet", "--workers", "5", tree)
    assert (done.returncode, done.stdout) == (0, "")
    files, size, goroutines, threads = map(int, LAST_LINE.fullmatch(done.stderr).groups())
    assert files == 9
    assert size == 1 + 63 + 64 + 2047 + 2048 + 65536 + 3_000_001
    assert goroutines == 5 + 2  # with the walker, and the one that closes the results
    assert threads >= 1


def test_empty_folder(example, tmp_path):
    done = example("digest.py", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("0 files, 0 bytes in ")


def test_progress_on_a_terminal_only(example, tmp_path):
    for number in range(250):
        (tmp_path / str(number)).touch()
    terminal, other_end = os.openpty()
    program = example.start("digest.py", "--quiet", tmp_path, stderr=other_end)
    os.close(other_end)
    assert program.wait(timeout=30) == 0
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "100 files" in shown
    assert "200 files" in shown
    assert LAST_LINE.search(shown.replace("\r\n", "\n"))
    assert "\r" not in example("digest.py", "--quiet", tmp_path).stderr


def assert_fails(done, path, reason):
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"digest: {path}: {reason}\n"


@pytest.mark.parametrize("workers", [1, 16])
def test_first_error_stops_the_pipeline(example, tree, workers):
    for number in range(500):
        (tree / f"more {number}").touch()
    bad = tree / "a" / "bad"
    bad.symlink_to("/proc/self/mem")  # opens, and cannot be read: for root too
    assert_fails(example("digest.py", "--workers", workers, tree), bad, "Input/output error")


def test_error_of_the_walk(example, tree):
    loop = tree / "a" / "loop"
    loop.symlink_to("loop")
    assert_fails(example("digest.py", tree), loop, "Too many levels of symbolic links")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(example, tree):
    secret = tree / "secret"
    secret.touch(mode=0)
    assert_fails(example("digest.py", tree), secret, "Permission denied")


def test_no_such_folder(example, tmp_path):
    missing = tmp_path / "missing"
    assert_fails(example("digest.py", missing), missing, "No such file or directory")


def test_bad_number_of_workers(example, tmp_path):
    done = example("digest.py", "--workers", "0", tmp_path)
    assert done.returncode == 2
    assert "--workers must be at least 1" in done.stderr
