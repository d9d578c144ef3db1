"""What words found in several texts of a file comes to, and what it does to the rest of a search."""

from __future__ import annotations

from pathlib import Path

from indexer.testing import FakeEncoder
from mmsearch import Engine, Query
from mmsearch.rank import Candidate
from mmsearch.search import _all_stand_out


def filler(sign: str, count: int) -> str:
    return " ".join(f"{sign}{n}" for n in range(count))


def test_a_quoted_phrase_in_one_passage_counts_though_another_has_more_of_the_words(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    passages = ("red car " + filler("a", 28), "dog dog dog dog " + filler("q", 2))
    (media / "both.txt").write_text("\n\n".join(passages))
    (media / "phrase.txt").write_text("red car " + filler("b", 28))
    for n in range(20):
        (media / f"{n}.txt").write_text("red tree and car " + filler(f"n{n}x", 10))
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(media)
        first, second, *_ = engine.query(Query.of_text('"red car" dog', k=4))
    assert [Path(hit.path).name for hit in (first, second)] == ["both.txt", "phrase.txt"]
    assert first.matched == ("red car", "dog")
    assert (first.text or "").startswith("red car")


def test_weak_files_that_words_brought_do_not_hide_that_the_best_stand_out():
    strong = {content: Candidate(9.0 - content, 0.99, None) for content in range(3)}
    weak = {content: Candidate(-5.0, 0.0, None) for content in range(10, 14)}
    assert _all_stand_out(strong | weak, 3)
    assert not _all_stand_out(strong | weak, 4)
