"""Kept answers: given again, given up when the store changes, and never more than a few."""

import subprocess
import sys

import numpy as np
import pytest

from indexer.admitted import admitted
from indexer.filters import Filter
from indexer.memo import Memo
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.schema import MISSING
from indexer.store import Store
from indexer.testing import FakeEncoder
from indexer.types import MediaInfo


def test_an_answer_is_made_once_until_the_mark_changes():
    marks, made = [1], []

    def make():
        made.append(marks[0])
        return made[-1]

    memo = Memo(lambda: marks[0])
    assert [memo.get("a", make) for _ in range(3)] == [1, 1, 1]
    assert memo.get("b", lambda: None) is None
    assert memo.get("b", make) is None
    marks[0] = 2
    assert [memo.get("a", make), memo.get("b", make)] == [2, 2]
    assert made == [1, 2, 2]


def test_an_answer_that_was_overtaken_by_a_change_is_not_kept():
    marks = [1]
    memo = Memo(lambda: marks[0])

    def make():  # while this works, the store changes, and another thread notices
        marks[0] = 2
        memo.get("other", lambda: 0)
        return "old"

    assert memo.get("a", make) == "old"
    assert memo.get("a", lambda: "new") == "new"


def test_only_the_last_few_are_kept():
    memo = Memo(lambda: 1)
    for n in range(100):
        memo.get(n, lambda n=n: n)
    assert len(memo._answers) == 8
    assert memo.get(99, lambda: "made") == 99
    assert memo.get(0, lambda: "made") == "made"


def test_a_filter_sees_every_change_of_this_and_of_another_process(tmp_path):
    path = tmp_path / "library.sqlite"
    store = Store(path)
    generation = store.start_generation(FakeEncoder().spec)
    root, _ = store.add_root("/not/here")
    vector = np.eye(16, dtype=np.float32)[0]

    def add(name):
        content = NewContent(name, MediaInfo("image", "jpeg"), [NewSegment("visual", vector)])
        store.write(generation, [Outcome(FilePlace(root, "", name, 1, 1), content)])

    def found(**how):
        return admitted(store, generation, "visual", Filter(**how)).tolist()

    add("a.jpg")
    assert found(name="*.jpg") == [1]
    assert found(name="*.jpg") == [1]
    add("b.jpg")
    assert found(name="*.jpg") == [1, 2]
    store.set_state([store.known_in(root, "")["a.jpg"].id], MISSING)
    assert found(name="*.jpg") == found() == [2]
    code = (
        "import sys; from pathlib import Path; from indexer.store import Store; store = Store(Path(sys.argv[1]));"
        "store.set_state([1, 2], 'present'); store.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert found(name="*.jpg") == [1, 2]
    kept = admitted(store, generation, "visual", Filter(name="*.jpg"))
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 7
    store.close()
