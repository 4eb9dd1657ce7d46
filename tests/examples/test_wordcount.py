"""wordcount.py against one Counter over the whole text."""

import random
import re
from collections import Counter

import pytest

TEXTS = {
    "a.txt": "The cat and the hat.\n",
    "b/c.txt": "the CAT, the Dog; naïve café 42\n" * 50,
    "b/d/empty.txt": "",
    "b/d/not_utf8.txt": "caf\xe9 the end",
    "b/ignored.md": "the the the",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in TEXTS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1" if "utf8" in name else "utf-8"))
    luck = random.Random(5)
    for number in range(100):
        words = (luck.choice(["red", "green", "blue", "Grey"]) for _ in range(200))
        (tmp_path / f"colours {number}.txt").write_text(" ".join(words))
    return tmp_path


def report(folder, suffix, top):
    total = Counter()
    files = [path for path in folder.rglob(f"*{suffix}") if path.is_file()]
    for path in files:
        text = path.read_bytes().decode("utf-8", "replace")
        total.update(re.findall(r"\w+", text.lower()))
    best = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:top]
    lines = "".join(f"{times:9} {word}\n" for word, times in best)
    return lines, f"{len(files)} files, {sum(total.values())} words\n"


@pytest.mark.parametrize(("suffix", "top"), [(".txt", 10), (".txt", 3), (".md", 10), (".none", 5)])
def test_words_are_those_of_one_counter(example, folder, suffix, top):
    done = example("wordcount.py", "--glob", f"*{suffix}", "--top", top, folder)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == report(folder, suffix, top)


@pytest.mark.parametrize("bad", [1, 20])
def test_unreadable_files(example, folder, bad):
    for number in range(bad):
        (folder / f"bad {number}.txt").symlink_to("/proc/self/mem")
    done = example("wordcount.py", folder)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) == len(set(lines)) <= bad
    bad_file = re.escape(f"{folder}/bad ") + r"\d+\.txt"
    for line in lines:
        assert re.fullmatch(rf"wordcount: {bad_file}: Input/output error", line)


def test_no_folder(example, tmp_path):
    done = example("wordcount.py", tmp_path / "missing")
    assert done.returncode == 2
    assert "missing is no folder" in done.stderr
