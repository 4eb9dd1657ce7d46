"""SHA-256 of every file below a folder: a pipeline with bounded parallelism.

    walk  --paths-->  workers  --results-->  collect

This is the pipeline of https://go.dev/blog/pipelines in plain Python. Opening, reading and hashing
are ordinary blocking calls; while they run outside the interpreter, other goroutines go on, on all
processors. Every send also selects on `done`. The collector closes it when it leaves, at the end
or at the first error, so no stage is ever left waiting for a reader that has gone.

    $ python digest.py DIR    # the lines of sha256sum, sorted by path in byte order
    a59c4a47bb4ef3d2...  DIR/abc.py
    ...
    8535 files, 268931656 bytes in 0.62 s; 18 goroutines started, 13 OS threads

The files are those of `find DIR -xtype f`: a link to a file counts as a file, as it does for
sha256sum; a link to a folder is not entered; what is no file (a dangling link, a socket) is left
out. What cannot be read stops the pipeline: a message on stderr, no sums, exit code 1.
"""

import argparse
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, ParamSpec, TypeVar

from goroutines import Chan, RecvChan, SendChan, debug, go, gomaxprocs, recv, run, select, send

T = TypeVar("T")
P = ParamSpec("P")


class Sum(NamedTuple):
    """What a stage found out about one file: its sum, or the error that it met."""

    path: str
    sha256: str = ""
    size: int = 0
    error: OSError | None = None

    def line(self) -> bytes:
        """The line that sha256sum prints, which escapes names that would break the line."""
        name = self.path.replace("\\", "\\\\").replace("\n", "\\n")
        return os.fsencode(f"{'' if name == self.path else chr(92)}{self.sha256}  {name}\n")


def offer(ch: SendChan[T], value: T, done: RecvChan[bool]) -> bool:
    """Send `value` unless the pipeline is cancelled first; say whether it was sent."""
    return select(send(ch, value), recv(done)).index == 0


def files(folder: str, skip: str | None) -> Iterator[str]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != skip:
                yield from files(entry.path, skip)
        elif entry.is_file():
            yield entry.path


def walk(
    root: str,
    skip: str | None,
    paths: SendChan[str],
    results: SendChan[Sum],
    done: RecvChan[bool],
) -> None:
    try:
        for path in files(root, skip):
            if not offer(paths, path, done):
                return
    except OSError as error:
        offer(results, Sum(root, error=error), done)
    finally:
        paths.close()


def work(paths: RecvChan[str], results: SendChan[Sum], done: RecvChan[bool]) -> None:
    for path in paths:
        try:
            with open(path, "rb", buffering=0) as file:
                item = Sum(path, hashlib.file_digest(file, "sha256").hexdigest(), file.tell())
        except OSError as error:
            error.filename = path  # a read that fails does not say of what
            item = Sum(path, error=error)
        if not offer(results, item, done):
            return


def stage(
    ended: SendChan[bool], fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run fn, and say when it has ended, however it did."""
    try:
        fn(*args, **kwargs)
    finally:
        ended.send(True)


def digest(root: str, workers: int, skip: str | None = None) -> Iterator[Sum]:
    """Yield the sum of each file below `root` as it is ready; raise the first error.

    Folders of the name `skip` are not entered.
    """
    paths, results, done = Chan(str), Chan(Sum), Chan(bool)
    ended = Chan(bool, workers + 1)  # room for all who send results, so that nobody waits to say so
    go(stage, ended.sender, walk, root, skip, paths.sender, results.sender, done.receiver)
    for _ in range(workers):
        go(stage, ended.sender, work, paths.receiver, results.sender, done.receiver)

    @go
    def close_results() -> None:
        for _ in range(workers + 1):
            ended.recv()
        results.close()

    try:
        for item in results:
            if item.error is not None:
                raise item.error
            yield item
    finally:
        done.close()


def main(folder: str, workers: int, quiet: bool) -> int:
    began, started = time.perf_counter(), debug.stats().started
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    sums: list[Sum] = []
    try:
        for item in digest(folder, workers):
            sums.append(item)
            if clear and len(sums) % 100 == 0:
                print(f"{clear}{len(sums)} files", end="", file=sys.stderr, flush=True)
    except OSError as error:
        print(f"{clear}digest: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    seconds, stats = time.perf_counter() - began, debug.stats()
    if not quiet:
        sums.sort(key=lambda item: os.fsencode(item.path))
        sys.stdout.buffer.writelines(item.line() for item in sums)
        sys.stdout.buffer.flush()
    print(
        f"{clear}{len(sums)} files, {sum(item.size for item in sums)} bytes in {seconds:.2f} s; "
        f"{stats.started - started} goroutines started, {stats.threads} OS threads",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly in `digest.py DIR | head`
    parser = argparse.ArgumentParser(description="SHA-256 of every file below a folder")
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--workers", type=int, default=8 * gomaxprocs(), help="[%(default)s]")
    parser.add_argument("--quiet", action="store_true", help="print no sums, only the last line")
    args = parser.parse_args()
    if args.workers < 1:
        parser.error("--workers must be at least 1")
    try:
        sys.exit(run(main, args.folder, args.workers, args.quiet))
    except KeyboardInterrupt:
        sys.exit(130)
