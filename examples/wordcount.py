"""The most frequent words below a folder: map and reduce over channels.

    find  --paths-->  mappers  --parts-->  reduce

Map: a few goroutines take paths from one channel, and each counts the words of the files that it
got. Reduce: each of them sends what it has found once, when it ends, so the reducer knows that it
has everything after as many parts as there are mappers. A mapper that cannot read a file ends with
the error in its part; the reducer then closes `quit_`, and `find` offers no more paths.

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
from typing import NamedTuple

from goroutines import Chan, RecvChan, SendChan, go, gomaxprocs, recv, run, select, send


class Part(NamedTuple):
    """What a mapper has counted, and the error that ended it, if one did."""

    files: int
    words: Counter[str]
    error: OSError | None


def find(folder: Path, glob: str, paths: SendChan[Path], quit_: RecvChan[bool]) -> None:
    try:
        for path in sorted(folder.rglob(glob)):
            if path.is_file() and select(send(paths, path), recv(quit_)).index == 1:
                return
    finally:
        paths.close()


def count_words(paths: RecvChan[Path], parts: SendChan[Part]) -> None:
    files, words, failed = 0, Counter[str](), None
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            error.filename = str(path)  # a read that fails does not say of what
            failed = error
            break
        words.update(re.findall(r"\w+", text.lower()))
        files += 1
    parts.send(Part(files, words, failed))


def wordcount(folder: Path, glob: str, mappers: int) -> tuple[int, Counter[str], list[OSError]]:
    """How many files below `folder` match `glob`, how often each word is in them, what failed."""
    paths, parts, quit_ = Chan(Path), Chan(Part), Chan(bool)
    go(find, folder, glob, paths.sender, quit_.receiver)
    for _ in range(mappers):
        go(count_words, paths.receiver, parts.sender)
    files, total, errors = 0, Counter[str](), list[OSError]()
    for _ in range(mappers):
        part = parts.recv()
        files += part.files
        total.update(part.words)
        if part.error is not None:
            errors.append(part.error)
            if not quit_.closed:
                quit_.close()
    return files, total, errors


def main(folder: Path, glob: str, top: int) -> int:
    files, total, errors = wordcount(folder, glob, 4 * gomaxprocs())
    for error in errors:
        print(f"wordcount: {error.filename}: {error.strerror}", file=sys.stderr)
    if errors:
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
