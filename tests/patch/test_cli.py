"""goroutines run: as plain python, with the top level as the main goroutine."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers import slack

UNDER = ["-m", "goroutines", "run"]


def python(
    *args: str, cwd: Path, stdin: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=slack(60),
        env={**os.environ, **(env or {})},
    )


def same(*args: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The program does the same as under plain python."""
    plain = python(*args, cwd=cwd, stdin=stdin)
    under = python(*UNDER, *args, cwd=cwd, stdin=stdin)
    assert (under.returncode, under.stdout) == (plain.returncode, plain.stdout), under.stderr
    assert under.stderr == plain.stderr
    return under


@pytest.fixture
def program(tmp_path: Path):
    def write(source: str, name: str = "program.py") -> str:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(source))
        return name

    return write


WHAT_IT_SEES = """
import sys, __main__
print(sys.argv, sys.path[:1], __name__, __package__)
print(getattr(__spec__, "name", None), globals().get("__file__"))
print(sorted(k for k in globals()), __main__ is sys.modules["__main__"])
print(__builtins__ is sys.modules["builtins"], type(__loader__))
class C: pass
print(C.__module__, C.__qualname__)
"""


def test_what_the_program_sees(program, tmp_path):
    name = program(WHAT_IT_SEES)
    same(name, "a", "-x", "--procs", cwd=tmp_path)
    same(f"./{name}", cwd=tmp_path)
    same(str(tmp_path / name), cwd=tmp_path)
    same("-c", WHAT_IT_SEES, "a", cwd=tmp_path)
    same("-m", "program", "a", cwd=tmp_path)
    same("-", "a", cwd=tmp_path, stdin=WHAT_IT_SEES)


def test_packages_directories_and_archives(program, tmp_path):
    program("print('init', __name__)", "pkg/__init__.py")
    program("from . import other\nprint(__name__, __package__)", "pkg/__main__.py")
    program("print(__name__)", "pkg/other.py")
    same("-m", "pkg", cwd=tmp_path)
    same("-m", "pkg.other", cwd=tmp_path)
    program("import sys, helper\nprint(sys.path[0], sys.argv, __name__)", "dir/__main__.py")
    program("print(__name__)", "dir/helper.py")
    same("dir", "x", cwd=tmp_path)
    python("-m", "zipapp", "dir", "-o", "app.pyz", cwd=tmp_path)
    same("app.pyz", "x", cwd=tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.exit()",
        "import sys; sys.exit(7)",
        "import sys; sys.exit('message')",
        "import sys; sys.exit(-1)",
        "import sys; sys.exit(257)",
        "import sys; sys.exit(True)",
        "import sys; sys.stdout = None; sys.exit('bye')",
        "import sys; sys.stderr = None; sys.exit('bye')",
        "raise SystemExit(None)",
        "def f():\n    1 / 0\nf()",
        "x =",
        "raise KeyError('k') from ValueError(1)",
        "import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[2].tb_lineno)\n1 / 0",
        "import sys\nsys.excepthook = lambda *a: sys.exit(9)\n1 / 0",
        "raise KeyboardInterrupt",
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
        "import atexit\natexit.register(print, 'atexit')\nraise LookupError",
        "class D:\n    def __del__(self): print('deleted')\nd = D()",
        "import no_such_module",
    ],
)
def test_ends(source, program, tmp_path):
    same(program(source), cwd=tmp_path)


@pytest.mark.parametrize(
    "end", ["sys.exit(3)", "sys.exit('bye')", "1 / 0", "pass", "raise KeyboardInterrupt"]
)
def test_ends_of_forked_children(end, program, tmp_path):
    source = f"""
        import atexit, os, sys, warnings
        warnings.simplefilter("ignore")  # there are threads
        pid = os.fork()
        if pid == 0:
            atexit.register(print, "atexit", flush=True)
            {end}
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    same(program(source), cwd=tmp_path)


def test_ends_of_modules_and_missing_files(program, tmp_path):
    program("1 / 0", "broken.py")
    same("-m", "broken", cwd=tmp_path)
    same("-m", "no_such_module", cwd=tmp_path)
    same("no_such_file.py", cwd=tmp_path)
    program("raise KeyboardInterrupt", "interrupted.py")
    assert same("-m", "interrupted", cwd=tmp_path).returncode == -signal.SIGINT


def test_threads_are_waited_for(program, tmp_path):
    source = """
        import threading, time, sys
        def late(seconds):
            time.sleep(seconds)
            print("thread", seconds)
        for seconds in (0.8, 0.1):
            threading.Thread(target=late, args=(seconds,)).start()
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        print("top")
        """
    assert same(program(source), cwd=tmp_path).stdout == "top\nthread 0.1\nthread 0.8\n"
    same(program(source + "sys.exit('over')\n"), cwd=tmp_path)


PLACE = """
import os, sys, threading
import goroutines as G
from goroutines import patch
print(G.num_goroutine(), G.gomaxprocs(), patch.is_patched("threading"), patch.is_patched("signal"),
      threading.current_thread() is threading.main_thread(),
      threading.get_native_id() == os.getpid())
import signal
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
print("on")
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--procs", "3"], "1 3 True True True False"),
        (["--procs=2", "--no-patch"], "1 2 False False True False"),
        (["--main-thread", "--procs", "1"], "0 1 True True True True"),
    ],
)
def test_options(options, expected, program, tmp_path):
    done = python(*UNDER, *options, program(PLACE), cwd=tmp_path)
    assert done.stdout == f"{expected}\nhandled\non\n", done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["run", "--procs", "0", "x.py"],
        ["run", "--procs", "many", "x.py"],
        ["run", "--procs"],
        ["run", "--fast", "x.py"],
        ["run", "-c"],
        ["run", "-x"],
        ["run"],
        ["walk"],
        [],
    ],
)
def test_a_wrong_command_line(args, tmp_path):
    done = python("-m", "goroutines", *args, cwd=tmp_path)
    assert done.returncode == 2 and "usage: goroutines run" in done.stderr
    assert "Traceback" not in done.stderr


def test_help(tmp_path):
    for args in (["--help"], ["run", "--help"]):
        done = python("-m", "goroutines", *args, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout.startswith("usage: goroutines run")


def test_the_command_that_is_installed(program, tmp_path):
    command = Path(sys.executable).with_name("goroutines")
    done = subprocess.run(
        [command, "run", program("import sys; print(sys.path[0], sys.argv)"), "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=slack(60),
    )
    assert done.stdout == f"{tmp_path} ['program.py', 'x']\n", done.stderr


def test_input_lets_others_run(tmp_path):
    source = """if 1:
        import threading, time
        over = threading.Event()
        def tick():
            for _ in range(5):
                over.wait(0.005)
            print("ticked", flush=True)
        t = threading.Thread(target=tick)
        t.start()
        print(input(), flush=True)
        t.join()
        """
    with subprocess.Popen(
        [sys.executable, *UNDER, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdin and process.stdout
        first = process.stdout.readline()
        out, _ = process.communicate("line\n", timeout=slack(60))
    assert (first, out) == ("ticked\n", "line\n")
