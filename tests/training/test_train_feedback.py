"""Thumbs as pairs: which they make, which they take back, and a training that learns from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from indexer.feedback import record
from indexer.items import items_at
from indexer.testing import FakeEncoder
from mmsearch import Engine, Query
from mmsearch.cli import app
from mmsearch.training.gather import gather
from mmsearch.training.own import library_pairs
from mmsearch.training.pairs import Found, Pair, Side

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


class Thumbs:
    """A library of two pictures, a film, a sound and a document, and a hand to judge them with."""

    def __init__(self, folder: Path, make: Any) -> None:
        self.media = folder / "media"
        make.image(self.media / "red.png", RED)
        make.image(self.media / "blue.png", BLUE)
        make.video(self.media / "film.mp4", [RED, RED, GREEN, GREEN, BLUE, BLUE])
        make.tones(self.media / "song.wav", ["cat", "dog"])
        (self.media / "note.txt").write_text("a house by the sea", encoding="utf-8")
        self.engine = Engine.open(folder / "library", model=FakeEncoder())
        self.engine.index(self.media)

    def path(self, name: str) -> str:
        return str(self.media / name)

    def say(self, query: Any, name: str, good: bool | None = True, span: tuple[float, float] | None = None) -> None:
        """Judge a file; `query` is words, a query, or the JSON value as it is stored."""
        store = self.engine.library.store
        asked = query if isinstance(query, dict) else _query(query).to_json()
        key = items_at(store, [self.path(name)])[self.path(name)].key
        start, end = span or (None, None)
        record(store, asked, key, good, start_seconds=start, end_seconds=end)

    def found(self) -> Found:
        return library_pairs(self.engine.library)

    def pairs(self) -> set[tuple[str, str, str, Any]]:
        """What was looked for, the name and kind of the file, and the moment; of the pairs from feedback."""
        return {
            (pair.one.value, Path(pair.other.value).name, pair.other.kind, _span(pair.other))
            for pair in self.found().pairs
            if pair.source == "feedback"
        }


def _query(query: str | Query) -> Query:
    return Query.of_text(query) if isinstance(query, str) else query


def _span(side: Side) -> tuple[float | None, float | None] | None:
    return None if side.start_seconds is None else (side.start_seconds, side.end_seconds)


@pytest.fixture
def thumbs(tmp_path, make):
    thumbs = Thumbs(tmp_path, make)
    with thumbs.engine:
        yield thumbs


def test_a_thumb_up_is_a_pair_of_words_and_file(thumbs):
    assert thumbs.found() == Found()
    thumbs.say("our cat", "red.png")
    thumbs.say("the  big\nfilm", "film.mp4")
    thumbs.say("tune", "song.wav")
    thumbs.say("holidays", "note.txt")
    found = thumbs.found()
    assert found.skipped == []
    assert found.pairs == [
        Pair(Side("text", "our cat"), Side("image", thumbs.path("red.png")), "feedback"),
        Pair(Side("text", "the big film"), Side("video", thumbs.path("film.mp4")), "feedback"),
        Pair(Side("text", "tune"), Side("audio", thumbs.path("song.wav")), "feedback"),
        Pair(Side("text", "holidays"), Side("document", thumbs.path("note.txt")), "feedback"),
    ]


def test_a_moment_is_a_pair_and_has_the_vectors_of_its_frames(thumbs):
    thumbs.say("fire", "film.mp4", span=(0.0, 1.0))
    thumbs.say("tree", "film.mp4", span=(4.2, 5.8))
    thumbs.say("bird", "red.png", span=(0.0, 1.0))  # a picture has no moments
    assert thumbs.pairs() == {
        ("fire", "film.mp4", "video", (0.0, 1.0)),
        ("tree", "film.mp4", "video", (4.2, 5.8)),
        ("bird", "red.png", "image", None),
    }
    gathered, notes = gather(thumbs.engine.library, thumbs.engine.encoder, thumbs.found().pairs)
    assert notes == []
    assert gathered[0].sources == {"feedback": 3}
    red, blue, picture = gathered[0].vectors.items
    assert (red[0], blue[2], picture[0]) == pytest.approx((1, 1, 1), abs=0.02)


def test_the_same_thing_said_twice_is_one_pair(thumbs):
    thumbs.say("Our cat", "red.png")
    thumbs.say("our  CAT", "red.png")
    thumbs.say(Query.of_text("our cat", weight=2), "red.png")
    thumbs.say(Query.of_text("our cat", k=50, kinds=("image",)), "red.png")
    assert len(thumbs.pairs()) == 1


@pytest.mark.parametrize(
    ("before", "down", "left"),
    [
        ([None], None, []),
        ([(0.0, 1.0), (4.0, 5.0)], None, []),  # of the file: all its moments
        ([(0.0, 1.0), (4.0, 5.0)], (4.5, 6.0), [(0.0, 1.0)]),
        ([(0.0, 1.0)], (1.0, 2.0), [(0.0, 1.0)]),  # next to it is not in it
        ([None], (1.0, 2.0), [None]),  # one moment is not all
        ([(2.0, 2.0)], (2.0, 2.0), []),
    ],
)
def test_a_thumb_down_takes_back(thumbs, before, down, left):
    for span in before:
        thumbs.say("boat", "film.mp4", span=span)
    thumbs.say("boat", "red.png")
    thumbs.say("ship", "film.mp4")
    assert len(thumbs.pairs()) == len(before) + 2
    thumbs.say("Boat ", "film.mp4", good=False, span=down)
    kept = {("boat", "red.png", "image", None), ("ship", "film.mp4", "video", None)}
    assert thumbs.pairs() == kept | {("boat", "film.mp4", "video", span) for span in left}


def test_a_thumb_down_alone_is_no_pair_and_the_last_word_counts(thumbs):
    thumbs.say("boat", "red.png", good=False)
    assert thumbs.found() == Found()
    thumbs.say("boat", "red.png")
    assert thumbs.pairs() == {("boat", "red.png", "image", None)}
    thumbs.say("boat", "red.png", good=None)
    assert thumbs.found() == Found()


def test_what_was_looked_away_from_is_left_out_and_stands_for_itself(thumbs):
    less = Query.of_text("boat") - Query.of_text("sea")
    thumbs.say(less, "red.png")
    assert thumbs.pairs() == {("boat", "red.png", "image", None)}
    thumbs.say(Query.of_text("boat") - Query.of_text("tree"), "red.png", good=False)  # the tree may be what was wrong
    assert thumbs.pairs() == {("boat", "red.png", "image", None)}
    thumbs.say("boat", "red.png", good=False)
    assert thumbs.pairs() == set()


def test_queries_that_are_no_side_of_a_pair_are_counted(thumbs):
    both = Query.of_text("boat") + Query.of_text("sea")
    thumbs.say(both, "red.png")
    thumbs.say(both, "blue.png", good=False)  # would have made no pair anyway
    thumbs.say({"terms": [{"text": "boat", "weight": -1}]}, "red.png")
    thumbs.say({"terms": [{"text": "boat", "weight": "much"}]}, "red.png")
    thumbs.say({"terms": [{"words": "boat"}]}, "red.png")
    thumbs.say({"terms": [7]}, "red.png")
    thumbs.say({}, "red.png")
    thumbs.say({"terms": [{"image": "pasted.png", "in_memory": True}]}, "red.png")
    thumbs.say({"terms": [{"image": thumbs.path("never.png")}]}, "red.png")
    found = thumbs.found()
    assert found.pairs == []
    assert sorted(found.skipped) == [
        "thumbs up for queries by a file that is gone, or that was never on disk: 2",
        "thumbs up for queries that cannot be read: 4",
        "thumbs up for queries that looked for several things at once, or for none: 2",
    ]


def test_a_term_that_is_only_a_text_is_read_as_one(thumbs):
    thumbs.say({"terms": ["boat"]}, "red.png")
    assert thumbs.pairs() == {("boat", "red.png", "image", None)}


def test_a_query_by_file_makes_a_pair_of_two_files(thumbs, tmp_path, make):
    outside = make.image(tmp_path / "outside.png", GREEN)
    thumbs.say(Query.of_image(thumbs.path("red.png")), "film.mp4", span=(4.0, 5.0))
    thumbs.say(Query.of_image(outside), "blue.png")
    thumbs.say(Query.of_document(thumbs.path("note.txt")), "red.png")
    thumbs.say(Query.of_image(thumbs.path("red.png")), "red.png")
    found = thumbs.found()
    assert [(pair.one, pair.other.kind) for pair in found.pairs] == [
        (Side("image", thumbs.path("red.png")), "video"),
        (Side("image", str(outside)), "image"),
        (Side("document", thumbs.path("note.txt")), "image"),
    ]
    assert found.skipped == ["thumbs up for the file that was searched by: 1"]
    (gathered,), notes = gather(thumbs.engine.library, thumbs.engine.encoder, found.pairs)
    assert notes == []
    queries, items = gathered.vectors.queries, gathered.vectors.items
    assert [int(row.argmax()) for row in queries[:2]] == [0, 1]
    assert [int(row.argmax()) for row in items] == [2, 2, 0]
    assert gathered.vectors.through.tolist() == [True, True, False]


def test_a_copy_is_the_same_file(thumbs):
    """Or else a file would be learned from under one name, and measured on under another."""
    copy = thumbs.media / "a copy.png"
    copy.write_bytes(Path(thumbs.path("red.png")).read_bytes())
    thumbs.engine.index()
    thumbs.say("boat", "red.png")
    thumbs.say("ship", "a copy.png")
    thumbs.say(Query.of_image(copy), "blue.png")
    thumbs.say(Query.of_image(copy), "red.png")
    found = thumbs.found()
    sides = [pair.one if pair.one.kind == "image" else pair.other for pair in found.pairs]
    assert len({side.value for side in sides}) == 1
    assert found.skipped == ["thumbs up for the file that was searched by: 1"]


def test_files_that_are_gone_are_passed_over_until_they_are_back(thumbs):
    thumbs.say("boat", "red.png")
    thumbs.say("boat", "blue.png")
    thumbs.say("ship", "blue.png", good=False)
    blue = Path(thumbs.path("blue.png"))
    content = blue.read_bytes()
    blue.unlink()
    thumbs.engine.index()
    missing = thumbs.found()
    thumbs.engine.remove(blue)
    removed = thumbs.found()
    for found in (missing, removed):
        assert [Path(pair.other.value).name for pair in found.pairs] == ["red.png"]
        assert found.skipped == ["thumbs up for files that the library no longer holds: 1"]
    (thumbs.media / "back.png").write_bytes(content)
    thumbs.engine.index()
    assert {name for _, name, _, _ in thumbs.pairs()} == {"red.png", "back.png"}


def test_a_thumb_down_strikes_out_what_a_caption_says(thumbs):
    from mmsearch.training.loss import no_negatives

    (thumbs.media / "red.txt").write_text("a boat\na ship\n", encoding="utf-8")
    (thumbs.media / "blue.txt").write_text("a boat\n", encoding="utf-8")

    def said() -> list[tuple[str, str, str]]:
        pairs = [
            pair if pair.one.kind == "image" else Pair(pair.other, pair.one, pair.source)
            for pair in thumbs.found().pairs
        ]
        return [(Path(pair.one.value).name, pair.other.value, pair.source) for pair in pairs]

    captions = "captions beside files"
    every = {("red.png", "a boat", captions), ("red.png", "a ship", captions), ("blue.png", "a boat", captions)}
    assert set(said()) == every
    thumbs.say("A boat", "red.png")  # what the caption says already is not said twice
    assert set(said()) == every
    assert len(said()) == 3
    thumbs.say("A boat", "red.png", good=False)
    assert set(said()) == every - {("red.png", "a boat", captions)}

    # "a boat" and the red picture are then a negative, as no pair of the batch is both.
    (gathered,), _ = gather(thumbs.engine.library, thumbs.engine.encoder, thumbs.found().pairs)
    import torch

    masked = no_negatives(
        torch.from_numpy(gathered.vectors.query_ids), torch.from_numpy(gathered.vectors.item_ids)
    ).numpy()
    assert len(masked) == 2
    assert not masked.any()
    thumbs.say(Query.of_text("a ship") - Query.of_text("sea"), "red.png", good=False)  # not of the words alone
    assert ("red.png", "a ship", captions) in said()


def test_a_thumb_down_strikes_out_a_line_of_speech_in_its_moment_only(thumbs, make):
    make.video(thumbs.media / "talk.mp4", [RED] * 2 + [BLUE] * 2, ["cat", "cat", "dog", "dog"])
    thumbs.engine.index()
    pair = Pair(
        Side("video", thumbs.path("talk.mp4"), 0.0, 2.0, "visual", (1, 2)), Side("text", "the old cat"), "speech"
    )
    from mmsearch.training.judged import judged_pairs
    from mmsearch.training.own import _paths

    def refused() -> bool:
        return judged_pairs(thumbs.engine.library, _paths(thumbs.engine.library)).refuses(pair)

    assert not refused()
    thumbs.say("the old cat", "talk.mp4", good=False, span=(2.0, 4.0))
    assert not refused()
    thumbs.say("the old cat", "talk.mp4", good=False, span=(1.0, 2.0))
    assert refused()
    thumbs.say("the old cat", "talk.mp4", span=(0.5, 1.5))  # the last word counts
    assert not refused()


# --- learned from ---


@pytest.fixture
def run(zoo, monkeypatch):
    """`mmsearch train --from-library` on a library of 120 pictures that only thumbs say something of."""
    rows = zoo.pictures(120)
    with zoo.engine() as engine:
        engine.index(zoo.media)
        store = engine.library.store
        items = items_at(store, [str(path) for path, _ in rows])
        for number, (path, text) in enumerate(rows):
            record(store, Query.of_text(text).to_json(), items[str(path)].key, True)
            wrong = rows[(number + 1) % len(rows)][0]
            record(store, Query.of_text(text).to_json(), items[str(wrong)].key, False)
        for path, text in rows[:5]:
            record(store, Query.of_text(text).to_json(), items[str(path)].key, False)
        record(store, {"terms": ["cat", "dog"]}, items[str(rows[0][0])].key, True)
    opened = Engine.open
    monkeypatch.setattr(Engine, "open", staticmethod(lambda path, **how: opened(path, **{**how, "model": zoo.encoder})))

    def go(*more: str):
        fast = ("--epochs", "30", "--rate", "0.01", "--decay", "0.01", "--batch", "32")
        return CliRunner().invoke(app, ["train", "--from-library", *fast, "--library", str(zoo.library), *more])

    return go


def test_training_from_thumbs_alone(run, zoo):
    dry = run("--dry-run", "--json")
    assert dry.exit_code == 0, dry.output
    row = json.loads(dry.stdout)
    assert row["channels"][0]["pairs"] == {"feedback": 115}
    assert row["notes"] == ["thumbs up for queries that looked for several things at once, or for none: 1"]
    done = run()
    assert done.exit_code == 0, done.output
    assert "visual: 115 pairs (115 from feedback)" in done.output
    assert "Applied: the library answers with it now." in done.output
    with zoo.engine() as engine:
        (best,) = engine.query("cat", k=1).hits
        shares = {str(path): text.split().count("cat") / len(text.split()) for path, text in zoo.pictures(120)}
        assert shares[best.path] > 0.9 * max(shares.values())
