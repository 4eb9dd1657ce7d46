"""The most frequent words below a folder: map and reduce with a `Group`.

Map: `count_words` runs for each file as a member of a group, at most `limit` of them at a time; a
member hands its Counter back as a result. Reduce: the counters are added up. If a file cannot be
read, the group ends the members that are left, waits for them and raises the error here: alone, or
in an ExceptionGroup if others failed meanwhile. `except*` takes both.

    $ python wordcount.py --glob '*.py' --top 3 /usr/lib/python3.12/email
         1610 the
         1413 self
         1229 value
    29 files, 44442 words
"""

import argparse
import re
import signal
import sys
from collections import Counter
from pathlib import Path

from goroutines import Group, gomaxprocs, run


def count_words(path: Path) -> Counter[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    return Counter(re.findall(r"\w+", text.lower()))


def wordcount(folder: Path, glob: str, limit: int) -> tuple[int, Counter[str]]:
    """How many files below `folder` match `glob`, and how often each word is in them."""
    with Group(limit=limit) as group:
        counts = [
            group.go(count_words, path) for path in sorted(folder.rglob(glob)) if path.is_file()
        ]
    total = Counter[str]()
    for count in counts:
        total.update(count.value())
    return len(counts), total


def main(folder: Path, glob: str, top: int) -> int:
    files, total, failed = 0, Counter[str](), False
    try:
        files, total = wordcount(folder, glob, 4 * gomaxprocs())
    except* OSError as errors:
        failed = True
        for error in errors.exceptions:
            print(f"wordcount: {error}", file=sys.stderr)
    if failed:
        return 1
    for word, times in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:top]:
        print(f"{times:9} {word}")
    print(f"{files} files, {total.total()} words", file=sys.stderr)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(description="the most frequent words below a folder")
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--glob", default="*.txt", help="which files (default: %(default)s)")
    parser.add_argument("--top", type=int, default=10, help="how many words (default: %(default)s)")
    args = parser.parse_args()
    if not args.folder.is_dir():
        parser.error(f"{args.folder} is no folder")
    try:
        sys.exit(run(main, args.folder, args.glob, args.top))
    except KeyboardInterrupt:
        sys.exit(130)
