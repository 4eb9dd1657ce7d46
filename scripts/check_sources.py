"""Check that the meson.build files under src/ list the source files beside them, and no others.

A Python file that is not listed is missing from the wheel, and only there.
"""

import re
import sys
from pathlib import Path

SOURCE = re.compile(r"'([\w/@]+\.(?:c|S|py|pyi|typed))'")
# Named by a pattern: the one of the machine that it is built for.
BY_PROCESSOR = "context_@0@.S"


def listed(build_file: Path) -> set[str]:
    names = set(SOURCE.findall(build_file.read_text()))
    if BY_PROCESSOR in names:
        names.remove(BY_PROCESSOR)
        names |= {"context_x86_64.S", "context_aarch64.S"}
    return names


def present(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    suffixes = {".c", ".S", ".py", ".pyi", ".typed"}
    return {
        str(path.relative_to(folder))
        for path in files
        if path.suffix in suffixes or path.name == "py.typed"
    }


def main() -> int:
    wrong = 0
    for build_file in sorted(Path("src").glob("*/meson.build")):
        folder = build_file.parent
        for name in sorted(present(folder) ^ listed(build_file)):
            state = "does not list" if (folder / name).exists() else "lists a missing file,"
            print(f"{build_file}: {state} {name}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
