"""The package is typed: a stub of the extension, a marker, and what a type checker makes of it."""

import ast
import importlib.util
import inspect
import pathlib
import subprocess
import sys
import textwrap

import goroutines
import pytest

PACKAGE = pathlib.Path(goroutines.__file__).parent


def test_the_marker_is_installed():
    assert (PACKAGE / "py.typed").exists()


def test_the_stub_of_the_extension_is_installed():
    stub = PACKAGE / "_core.pyi"
    assert stub.exists()
    ast.parse(stub.read_text())


def stub_names():
    tree = ast.parse((PACKAGE / "_core.pyi").read_text())
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))


def test_the_stub_names_what_the_extension_has():
    core = importlib.import_module("goroutines._core")
    promised = {n for n in stub_names() if not n.startswith("_")}
    # Type variables and aliases exist in the stub only.
    missing = {n for n in promised if not hasattr(core, n) and not (n.isupper() or len(n) <= 2)}
    assert not missing
    public = {n for n in dir(core) if not n.startswith("_")}
    assert not public - promised, "in the extension, but not in the stub"


@pytest.mark.parametrize("cls", ["Chan", "SendChan", "RecvChan"])
def test_methods_of_the_stub_exist(cls):
    tree = ast.parse((PACKAGE / "_core.pyi").read_text())
    found = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls]
    assert found, f"{cls} is not in the stub"
    for node in found[0].body:
        if isinstance(node, ast.FunctionDef):
            assert hasattr(getattr(goroutines, cls), node.name), node.name


@pytest.mark.parametrize("name", ["go", "run", "sleep", "select", "recv", "send", "gomaxprocs"])
def test_signatures_can_be_asked_for(name):
    inspect.signature(getattr(goroutines, name))


needs_mypy = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed"
)


def check(source, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(source))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=",
         f"--cache-dir={tmp_path}/cache", str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=tmp_path,
    )  # fmt: skip
    return [line.split(": ", 1)[1] for line in done.stdout.splitlines() if ": " in line]


@needs_mypy
@pytest.mark.hang(240)
def test_a_correct_program(tmp_path):
    errors = check(
        """
        from typing import assert_type
        import goroutines as G
        from goroutines import Chan, RecvChan, Selected, SendChan, debug, recv, select, send

        def worker(jobs: RecvChan[int], results: SendChan[str], *, loud: bool = False) -> None:
            for job in jobs:
                results.send(str(job))

        def main(n: int) -> list[str]:
            jobs = Chan(int, 10)
            assert_type(jobs, Chan[int])
            results: Chan[str] = Chan(str)
            G.go(worker, jobs.receiver, results.sender, loud=True)
            jobs.send(n, timeout=1.0)
            jobs.close()
            value, ok = results.recv_ok()
            if ok:
                pass
            assert_type(jobs.recv(), int)
            assert_type(jobs.capacity, int)
            assert_type(jobs.closed, bool)
            assert_type(len(jobs), int)
            index, value2, ok = select(recv(jobs), send(results, "x"), default=True, timeout=None)
            assert_type(index, int)
            G.sleep(0.1)
            return [v for v in results]

        assert_type(G.run(main, 3), list[str])
        assert_type(G.gomaxprocs(), int)
        assert_type(G.after(1.0), RecvChan[float])
        with G.Ticker(1.0) as ticker:
            assert_type(ticker.chan, RecvChan[float])
        assert_type(G.Timer(1).stop(), bool)
        assert_type(debug.stats().procs, int)
        assert_type(debug.stacks(), str)
        """,
        tmp_path,
    )
    assert errors == []


WRONG = {
    "a value of another type": 'Chan(int).send("text")',
    "sending on a receiver": "Chan(int).receiver.send(1)",
    "receiving on a sender": "Chan(int).sender.recv()",
    "closing a receiver": "Chan(int).receiver.close()",
    "iterating over a sender": "list(Chan(int).sender)",
    "missing arguments of go": "G.go(takes_int)",
    "arguments of another type": 'G.go(takes_int, "text")',
    "arguments of run of another type": 'G.run(takes_int, "text")',
    "a number that is kept": "n: int = G.go(takes_int, 1)",
    "a received value of another type": "s: str = Chan(int).recv()",
    "sending another type in a select": 'select(send(Chan(int), "text"))',
    "setting what is read-only": "Chan(int).capacity = 3",
}


@needs_mypy
@pytest.mark.hang(240)
def test_wrong_programs(tmp_path):
    header = (
        "import goroutines as G\nfrom goroutines import Chan, select, send\n"
        "def takes_int(n: int) -> None: ...\n"
    )
    first = header.count("\n") + 1
    program = header + "".join(line + "\n" for line in WRONG.values())
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=",
         f"--cache-dir={tmp_path}/cache", str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=tmp_path,
    )  # fmt: skip
    lines = {int(x.split(":")[1]) for x in done.stdout.splitlines() if ": error:" in x}
    unseen = [name for i, name in enumerate(WRONG) if first + i not in lines]
    assert not unseen, done.stdout
