"""goroutines run: a program with its top level as the main goroutine, everything patched.

All that the program can see is to be as under plain python: __main__, sys.argv, sys.path,
tracebacks, exit codes. So it gets a __main__ module of its own, its code is run as the interpreter
would run it, and what escapes it is reported here, without our frames.
"""

import builtins
import os
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType
from typing import Any, NoReturn

from . import patch
from ._core import GoroutineExit, _die_of_interrupt, _patch, gomaxprocs, run
from ._forked import code_of_exit, leave

USAGE = """\
usage: goroutines run [--procs N] [--no-patch] [--main-thread]
                      SCRIPT | -m MODULE | -c CODE [ARG ...]

Run a Python program with its top level as the main goroutine and the standard library patched, so
that its threads are goroutines and what blocks parks them.

  --procs N      let N goroutines run at once (GOMAXPROCS)
  --no-patch     leave the standard library as it is
  --main-thread  keep the top level on the main OS thread, as an ordinary thread
"""


class _Wrong(Exception):
    """The command line cannot be understood."""


class _Options:
    procs: int | None = None
    patched = True
    main_thread = False


def _procs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise _Wrong(f"--procs takes a number of 1 or more, not {text!r}")
    return int(text)


def _parse_options(args: list[str]) -> _Options:
    """Take the options off the front of args."""
    options = _Options()
    while args and args[0].startswith("--"):
        name, equals, value = args.pop(0).partition("=")
        if name == "--procs":
            if not equals and not args:
                raise _Wrong("--procs takes a number")
            options.procs = _procs(value if equals else args.pop(0))
        elif equals or name not in ("--no-patch", "--main-thread"):
            raise _Wrong(f"unknown option {name}")
        elif name == "--no-patch":
            options.patched = False
        else:
            options.main_thread = True
    return options


# ---- the program ----


def _new_main(**attributes: Any) -> dict[str, Any]:
    """A __main__ module as the interpreter makes it; its namespace."""
    module = ModuleType("__main__")
    namespace = module.__dict__
    if sys.version_info < (3, 14):
        namespace["__annotations__"] = {}
    namespace["__builtins__"] = builtins
    namespace["__loader__"] = BuiltinImporter
    namespace.update(attributes)
    sys.modules["__main__"] = module
    return namespace


def _set_first_path(path: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = path


def _execute(code: CodeType, namespace: dict[str, Any]) -> None:
    exec(code, namespace)


def _source_of_command(source: str) -> str:
    """From Python 3.14 on, what is indented as a whole is accepted."""
    if sys.version_info < (3, 14):
        return source
    import textwrap

    return textwrap.dedent(source)


def _command(source: str, args: list[str]) -> Callable[[], None]:
    sys.argv = ["-c", *args]
    _set_first_path("")
    namespace = _new_main()

    def start() -> None:
        text = _source_of_command(source)
        if sys.version_info >= (3, 13):
            import linecache

            lines = text.splitlines(keepends=True)
            linecache.cache["<string>"] = (len(text), None, lines, "<string>")
        _execute(compile(text, "<string>", "exec", dont_inherit=True), namespace)

    return start


def _module(name: str, args: list[str]) -> Callable[[], None]:
    import runpy

    sys.argv = ["-m", *args]
    _set_first_path(os.getcwd())
    _new_main()
    return lambda: runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _of_file(path: str, loader: Callable[[str, str], Any]) -> dict[str, Any]:
    """What __main__ has besides when it comes from a file."""
    attributes: dict[str, Any] = {"__file__": path, "__loader__": loader("__main__", path)}
    if sys.version_info < (3, 15):
        attributes["__cached__"] = None
    return attributes


def _standard_input(args: list[str]) -> Callable[[], None]:
    sys.argv = ["-", *args]
    _set_first_path("")
    namespace = _new_main(**_of_file("<stdin>", lambda *_: BuiltinImporter))
    source = sys.stdin.buffer.read()
    return lambda: _execute(compile(source, "<stdin>", "exec", dont_inherit=True), namespace)


def _directory_or_zip(path: str) -> Callable[[], None]:
    import runpy

    if sys.flags.safe_path:
        sys.path.insert(0, path)
    else:
        sys.path[0] = path
    _new_main()
    return lambda: runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as failed:
        why = f"[Errno {failed.errno}] {failed.strerror}"
        print(f"{sys.executable}: can't open file {path!r}: {why}", file=sys.stderr)
        sys.exit(2)


def _compile_script(path: str, content: bytes) -> CodeType:
    from importlib.util import MAGIC_NUMBER

    if content.startswith(MAGIC_NUMBER):
        import marshal

        code = marshal.loads(content[16:])
        assert isinstance(code, CodeType)
        return code
    return compile(content, path, "exec", dont_inherit=True)


def _script(name: str, args: list[str]) -> Callable[[], None]:
    import pkgutil

    sys.argv = [name, *args]
    path = os.path.join(os.getcwd(), name)
    if not path.endswith((".py", ".pyc")) and pkgutil.get_importer(path) is not None:
        return _directory_or_zip(path)
    content = _read(path)
    _set_first_path(os.path.dirname(os.path.realpath(path)))
    loader = SourcelessFileLoader if path.endswith(".pyc") else SourceFileLoader
    namespace = _new_main(**_of_file(path, loader))
    return lambda: _execute(_compile_script(path, content), namespace)


def _parse_program(args: list[str]) -> Callable[[], None]:
    """What starts the program that args name, for which all has been set up."""
    if not args:
        raise _Wrong("a program is missing")
    first, rest = args[0], args[1:]
    for flag, program in (("-c", _command), ("-m", _module)):
        if first.startswith(flag):
            if first == flag and not rest:
                raise _Wrong(f"{flag} takes an argument")
            return program(first[2:], rest) if first != flag else program(rest[0], rest[1:])
    if first == "-":
        return _standard_input(rest)
    if first.startswith("-"):
        raise _Wrong(f"unknown option {first}")
    return _script(first, rest)


# ---- what escapes it ----


def _without_our_frames(exc: BaseException) -> BaseException:
    tb = exc.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next
    return exc.with_traceback(tb)


def _report_failed_hook(failure: BaseException, exc: BaseException) -> None:
    print("Error in sys.excepthook:", file=sys.stderr)
    traceback.print_exception(_without_our_frames(failure))
    print("\nOriginal exception was:", file=sys.stderr)
    traceback.print_exception(exc)


def _report(exc: BaseException) -> None:
    """As the interpreter does with an exception that nobody has caught."""
    exc = _without_our_frames(exc)
    sys.last_type, sys.last_value, sys.last_traceback = type(exc), exc, exc.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = exc
    hook = sys.excepthook
    sys.audit("sys.excepthook", hook, type(exc), exc, exc.__traceback__)
    try:
        hook(type(exc), exc, exc.__traceback__)
    except SystemExit:
        raise
    except BaseException as failure:
        _report_failed_hook(failure, exc)


def _code_after(exc: BaseException) -> int | None:
    """Deal with what has escaped the program: the exit code, None for death by SIGINT."""
    try:
        if isinstance(exc, SystemExit):
            return code_of_exit(exc)
        if isinstance(exc, GoroutineExit):
            return 0
        _report(exc)
    except SystemExit as left:
        return code_of_exit(left)
    return None if isinstance(exc, KeyboardInterrupt) else 1


def _wait_for_threads() -> None:
    """Those that are goroutines would end with run()."""
    import threading

    if patch.is_patched("threading"):
        try:
            threading._shutdown()  # type: ignore[attr-defined]
        except BaseException as exc:
            print(f"Exception ignored in: {threading!r}", file=sys.stderr)
            traceback.print_exception(_without_our_frames(exc))


def _top_level(start: Callable[[], None]) -> int | None:
    """Run the program. Returns as _code_after()."""
    code: int | None = 0
    try:
        start()
    except BaseException as exc:
        code = _code_after(exc)
    _wait_for_threads()
    return code


def _main_goroutine(start: Callable[[], None]) -> int | None:
    pid = os.getpid()
    code = _top_level(start)
    if os.getpid() != pid:
        leave(code)  # run() is not there, in a forked child
    return code


def _finish(code: int | None) -> NoReturn:
    if code is None:
        sys.excepthook = lambda *_: None  # it has been reported
        _die_of_interrupt()
        code = 1
    sys.exit(code)


def _run(args: list[str]) -> int | None:
    options = _parse_options(args)
    start = _parse_program(args)
    if options.procs is not None:
        gomaxprocs(options.procs)
    if options.patched:
        patch.all()
    if options.main_thread:
        return _top_level(start)
    _patch("main goroutine")
    try:
        return run(_main_goroutine, start)
    except BaseException as exc:
        return _code_after(exc)


def main() -> NoReturn:
    """The command `goroutines`."""
    args = sys.argv[1:]
    if not args or args[0] != "run" or args[1:2] in (["-h"], ["--help"]):
        asked = args[:1] in (["-h"], ["--help"], ["run"])
        print(USAGE, end="", file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    try:
        code = _run(args[1:])
    except _Wrong as wrong:
        print(f"goroutines: {wrong}\n{USAGE}", end="", file=sys.stderr)
        sys.exit(2)
    _finish(code)
