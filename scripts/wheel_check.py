"""Build the wheel as pip does, install it into an empty environment, run the quick start there.

usage: PYTHON scripts/wheel_check.py

The quick start is README.md's first block of python; what it prints must be the block of text that
follows it.  Works in build/wheel-check/, from nothing but the checkout.
"""

import difflib
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

WORK = Path("build/wheel-check").absolute()
BLOCKS = re.compile(r"^```python\n(.*?)^```$.*?^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fresh_python(name: str) -> Path:
    venv.create(WORK / name, with_pip=True)
    return WORK / name / "bin" / "python"


def built_wheel() -> Path:
    """pip's way: an isolated build, with nothing installed but what pyproject.toml asks for."""
    pip: list[str | Path] = [fresh_python("builder"), "-m", "pip", "wheel", "-q", "--no-deps"]
    subprocess.run([*pip, "-w", WORK, "."], check=True)
    (wheel,) = WORK.glob("goroutines-*.whl")
    return wheel


def quick_start() -> tuple[str, str]:
    """The program in README.md and the output it claims."""
    match = BLOCKS.search(Path("README.md").read_text())
    if not match:
        sys.exit("README.md: no python block with a text block after it")
    return match[1], match[2]


def main() -> int:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    source, expected = quick_start()
    program = WORK / "quick_start.py"
    program.write_text(source)

    wheel = built_wheel()
    print(f"built {wheel.name}, {wheel.stat().st_size // 1024} KiB")
    python = fresh_python("empty")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", wheel], check=True)
    # -I: neither the environment nor the current folder may help.
    run: list[str | Path] = [python, "-I", program]
    done = subprocess.run(run, stdout=subprocess.PIPE, text=True, timeout=60, cwd=WORK)

    if done.returncode or done.stdout.strip() != expected.strip():
        lines = expected.splitlines(), done.stdout.splitlines()
        print("\n".join(difflib.unified_diff(*lines, "README.md", "printed", lineterm="")))
        print(f"quick start: FAILED, exit status {done.returncode}")
        return 1
    print("quick start: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
