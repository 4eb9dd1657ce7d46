"""What these tests share: programs in a crowd, modules compiled on the spot."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import textwrap
import typing
from pathlib import Path

import pytest
from helpers import script, told

HERE = Path(__file__).parent
PREFIX = Path(sys.prefix)


def fine(source: str, procs: int = 4, path: typing.Sequence[typing.Any] = (), **kwargs) -> None:
    """The program, on so many Ps, prints "fine", ends with code 0 and leaves stderr empty."""
    env = {
        "GOMAXPROCS": str(procs),
        "PYTHONPATH": ":".join(map(str, [HERE, *path])),
        **kwargs.pop("env", {}),
    }
    done = script(source, env=env, timeout=kwargs.pop("timeout", 50), **kwargs)
    assert (done.stdout, done.returncode, done.stderr) == ("fine\n", 0, ""), told(done)


def compiled(
    folder: Path, name: str, source: str, include: typing.Sequence[str] = (), *flags: str
) -> Path:
    """The folder of a shared object `name`, made from C, or C++ if it has #include <string>."""
    compiler = "g++" if "#include <string>" in source else "gcc"
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    made = folder / (name + suffix)
    text = folder / f"{name}.{'cpp' if compiler == 'g++' else 'c'}"
    text.write_text(textwrap.dedent(source))
    includes = [f"-I{i}" for i in (sysconfig.get_paths()["include"], *include)]
    command = [compiler, "-O1", "-w", "-shared", "-fPIC", "-fvisibility=hidden", *includes, *flags]
    done = subprocess.run(
        [*command, str(text), "-o", str(made), "-lpthread"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder
