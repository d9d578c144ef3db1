"""Texts that the model cannot read: they have words and no vector, and whoever asks with such is told so."""

import dataclasses
import json
import os

import numpy as np
import pytest
from ascii_encoder import AsciiEncoder

from indexer.adapters import write_adapted
from indexer.lookup import count
from indexer.testing import FakeEncoder
from indexer.verify import verify
from mmsearch import Engine, IndexOptions, Query, UsageError
from mmsearch.status import status_of
from mmsearch.vocabulary import Vocabulary

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def media(tmp_path, make):
    folder = tmp_path / "media"
    folder.mkdir()
    for n in range(24):
        make.image(folder / f"{n}.png", (250 - n, 3 * n, 0))
        (folder / f"{n}.txt").write_text(f"{('cat', 'dog', 'sea', 'tree')[n % 4]} number {n}")
    (folder / "train.txt").write_text("火车晚点了二十分钟")
    (folder / "pizza.txt").write_text("🍕")
    (folder / "mixed.txt").write_text("the cat and the dog 犬")
    (folder / "mostly.txt").write_text("собака спит у камина cat")
    make.tones(folder / "talk.wav", ["cat", None, "bread", "bread"])
    make.image(folder / "🚀 launch.png", BLUE)
    return folder


@pytest.fixture
def engine(tmp_path, media):
    with Engine.open(tmp_path / "library", model=AsciiEncoder()) as engine:
        engine.report = engine.index(media)
        yield engine


def names(answer):
    return [os.path.basename(hit.path) for hit in answer]


def test_what_cannot_be_read_is_indexed_without_vectors_and_is_no_failure(engine):
    report = engine.report
    assert (report.added, report.failed, report.partial, report.unread) == (54, 0, 0, 3)
    counts = status_of(engine._library, None).counts
    assert counts.segments == {"visual": 25, "text": 25, "speech": 1}
    assert (counts.unread, counts.failed, counts.partial) == (4, 0, 0)
    assert report.segments == 25 + 25 + 1
    checked = engine.verify()
    assert (checked.vectors, checked.problems, checked.repaired) == (51, [], [])
    again = engine.index()
    assert (again.unchanged, again.added) == (54, 0)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("火车", ["train.txt"]),
        ("🍕", ["pizza.txt"]),
        ("собака", ["mostly.txt"]),
        ("хлеб", ["talk.wav"]),
        ("🚀", ["🚀 launch.png"]),
        ("🦄", []),
    ],
)
def test_such_words_find_what_holds_them_and_nothing_by_meaning(engine, asked, found):
    answer = engine.query(asked)
    assert names(answer) == found
    assert answer.matches_well is None
    assert all(hit.score is None and hit.confidence < 0.5 for hit in answer)
    assert answer.remarks == (f"the model 'fake' cannot read {asked!r}: it is looked for as words only",)
    assert not engine.query(Query.of_text(asked, confident=True))


def test_the_passage_that_holds_them_is_told_with_its_time(engine):
    (hit,) = engine.query("хлеб")
    assert (hit.channel, hit.start_seconds, hit.end_seconds, hit.text) == ("speech", 2.0, 4.0, "хлеб")
    (hit,) = engine.query(Query.of_text("火车", moments=True))
    assert (hit.channel, hit.text) == ("text", "火车晚点了二十分钟")


def test_what_is_there_as_it_was_typed_is_sure(engine):
    answer = engine.query(Query.of_text('"火车晚点"', confident=True))
    assert (names(answer), answer.matches_well, answer[0].confidence) == (["train.txt"], True, 0.99)
    assert names(engine.query(Query.of_text("🚀 launch.png", confident=True)))[0] == "🚀 launch.png"


def test_of_a_mixed_query_the_rest_is_asked_by_meaning(engine):
    plain, mixed = (engine.query(Query.of_text(text, words=False)) for text in ("cat", "cat 🦄"))
    assert [(hit.path, hit.score, hit.confidence) for hit in mixed] == [
        (hit.path, hit.score, hit.confidence) for hit in plain
    ]
    assert mixed.remarks == ("the model 'fake' reads only 'cat' of 'cat 🦄': the rest does not count",)
    assert plain.remarks == ()
    matched = {hit.path.rpartition("/")[2]: hit.matched for hit in engine.query(Query.of_text("cat 犬", k=60))}
    assert (matched["mixed.txt"], matched["mostly.txt"], matched["1.txt"]) == (("cat", "犬"), ("cat",), ())


def test_a_text_that_can_be_read_for_the_most_part_has_the_vector_of_that_part(engine):
    hit = next(hit for hit in engine.query(Query.of_text("cat", k=50)) if hit.path.endswith("mixed.txt"))
    assert hit.score == pytest.approx(1 / 11**0.5, abs=2e-3)  # (cat, dog, other) = (1, 1, 3), and no word for 犬


def test_other_terms_of_a_query_stand_alone(engine, media):
    red = Query.of_image(media / "0.png")
    alone, both = engine.query(red), engine.query(red + Query.of_text("🦄"))
    assert [(hit.path, hit.score, hit.confidence) for hit in both] == [
        (hit.path, hit.score, hit.confidence) for hit in alone
    ]
    assert both.remarks
    less = engine.query(red - Query.of_text("🦄"))
    assert [hit.path for hit in less] == [hit.path for hit in alone]
    assert less.remarks == ("the model 'fake' cannot read '🦄': it takes nothing away",)
    assert names(engine.query(Query.of_text("火车") - Query.of_text("cat"))) == ["train.txt"]


@pytest.mark.parametrize("how", [{"fusion": "rrf"}, {"metric": "euclidean"}, {"kinds": ["text"]}, {"exact": True}])
def test_any_way_of_ranking_finds_them(engine, how):
    assert names(engine.query(Query.of_text("火车", **how))) == ["train.txt"]
    two = Query.of_text("火车") + Query.of_text("🍕")
    assert sorted(names(engine.query(Query(two.terms, **how)))) == ["pizza.txt", "train.txt"]


def test_without_words_there_is_nothing_to_ask(engine):
    with pytest.raises(UsageError, match="cannot read '火车': nothing is looked for; leave --no-words out"):
        engine.query(Query.of_text("火车", words=False))


def test_a_file_that_cannot_be_read_is_no_query(engine, media, tmp_path):
    for path in (media / "train.txt", tmp_path / "away.txt"):
        path.write_text("火车晚点了二十分钟") if not path.exists() else None
        with pytest.raises(UsageError, match="the model 'fake' cannot read what is in it"):
            engine.similar(path)
    assert names(engine.similar(media / "0.txt", k=1, kinds=["text"])) == ["12.txt"]  # alike; ties go by path


def test_a_file_that_an_older_version_gave_a_vector_is_no_query_either(tmp_path, media):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as old:
        old.index(media)
        assert len(old.similar(media / "train.txt")) > 1
    with Engine.open(tmp_path / "library", model=AsciiEncoder()) as engine:
        with pytest.raises(UsageError, match="cannot read what is in it"):
            engine.similar(media / "train.txt")
        assert names(engine.query("火车")) == ["train.txt"]
        assert names(engine.similar(media / "0.txt", k=1, kinds=["text"])) == ["12.txt"]  # alike; ties go by path


def test_why_such_a_file_answers(engine, media):
    why = engine.explain("火车", media / "train.txt")
    assert (why.cosine, why.matched) == (None, ("火车",))
    assert why.confidence == pytest.approx(engine.query("火车")[0].confidence)
    assert any("cannot read" in remark for remark in why.remarks)
    with pytest.raises(UsageError, match=r"cannot read '火车': .* not in"):
        engine.explain("火车", media / "0.png")
    with pytest.raises(UsageError, match="the file has nothing that the model can read"):
        engine.explain("cat", media / "train.txt")
    mixed = engine.explain(Query.of_text("cat") + Query.of_text("🦄"), media / "0.txt")
    assert [share.asked for share in mixed.terms] == ["cat", "the words themselves"]


def test_labels_need_a_name_that_can_be_read(engine, media):
    with pytest.raises(UsageError, match="cannot read these labels: 犬, 🍕; give each a name"):
        engine.tags(media / "0.png", vocabulary=Vocabulary((("犬",), ("red",), ("🍕",))))
    found = engine.tags(media / "0.png", vocabulary=Vocabulary((("赤", "red"), ("sea",))))
    assert found.tags[0].label == "赤"


def test_what_is_removed_takes_such_passages_along(engine, media):
    engine.remove(media / "train.txt")
    assert not engine.query("火车")
    assert status_of(engine._library, None).counts.unread == 3
    (media / "pizza.txt").write_text("cat")
    engine.index()
    assert not engine.query("🍕")
    assert verify(engine._library).repaired == []


def test_an_adapted_library_keeps_them(engine):
    generation_id, spec = engine._library.store.generation()
    matrix = np.eye(spec.towers[0].dim, dtype=np.float32)
    write_adapted(engine._library.store, generation_id, "adapted", {("text", "fake"): matrix}, "{}")
    adapted, _ = engine._library.store.generation()
    assert adapted != generation_id
    assert (count(engine._library.store, adapted).unread, count(engine._library.store, adapted).segments["text"]) == (
        4,
        25,
    )
    assert names(engine.query("火车")) == ["train.txt"]
    assert engine.verify().problems == []


def test_a_library_of_nothing_else_can_be_asked(tmp_path, media):
    with Engine.open(tmp_path / "small", model=AsciiEncoder()) as engine:
        engine.index(media / "train.txt", options=IndexOptions())
        assert names(engine.query("火车")) == ["train.txt"]
        assert not engine.query("cat")
        assert engine.verify().problems == []


def test_the_command_line_says_it(run, monkeypatch, media, tmp_path):
    monkeypatch.setattr("mmsearch.engine.load_encoder", AsciiEncoder)
    library = tmp_path / "cli"
    code, out, _ = run("index", media, "--library", library)
    assert code == 0
    assert "3 files of text that the model cannot read: found by words, not by meaning" in out
    code, out, _ = run("status", "--library", library)
    assert "Unread    4 passages that the model cannot read" in out
    code, out, err = run("query", "火车", "--library", library)
    assert code == 0
    assert "train.txt" in out
    assert "cannot read '火车': it is looked for as words only" in err
    assert "nothing here matches well" not in err
    code, out, err = run("query", "🦄", "--library", library)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    code, out, _ = run("query", "火车", "--library", library, "--json")
    assert json.loads(out)["remarks"] == ["the model 'fake' cannot read '火车': it is looked for as words only"]
    code, out, err = run("query", "🍕", "--confident", "--library", library)
    assert (code, out) == (1, "")


def test_mini_finds_no_emoji_by_another(tmp_path):
    """The real tower, whose one vector for all of these was told with over 99 %."""
    folder = tmp_path / "media"
    folder.mkdir()
    for name, text in {
        "pizza": "🍕",
        "train": "火车晚点了",
        "dog": "개가 벽난로 옆에서 잔다.",
        "note": "a dog 🐶",
    }.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    for n in range(10):
        (folder / f"{n}.txt").write_text(f"Letter number {n} about the weather and the price of bread.")
    with Engine.open(tmp_path / "library", model="mini") as engine:
        assert engine.index(folder).unread == 3
        for asked in ("🚀", "红色汽车", "빨간 자동차"):
            answer = engine.query(asked)
            assert (len(answer), len(answer.remarks)) == (0, 1)
        assert names(engine.query("🍕")) == ["pizza.txt"]
        first = engine.query("🐶 a dog")[0]
        assert (os.path.basename(first.path), first.score) == ("note.txt", pytest.approx(1, abs=1e-3))


def test_more_like_a_result_moves_the_first_term_that_is_read(engine, media):
    for line in ("привет + cat", "cat + привет"):
        session = engine.session()
        before = {hit.path: hit.score for hit in session.next(line)}
        after = session.next("more like 3")
        assert any(hit.score != before.get(hit.path) for hit in after), line
    session = engine.session()
    session.next("хлеб")
    with pytest.raises(UsageError, match="found by words alone"):
        session.next("more like 1")
    session = engine.session()
    session.next("cat")
    session.next("new: привет")
    assert session.answer is not None


def test_words_without_a_tower_are_refused_and_not_called_unreadable(tmp_path, make):
    """A model that only sees."""
    make.image(tmp_path / "media" / "red.png", RED)
    encoder = FakeEncoder()
    seen = [(channel, tower) for channel, tower in encoder.spec.channels if tower.modality == "image"]
    encoder._spec = dataclasses.replace(encoder.spec, towers=tuple(tower for _, tower in seen), channels=tuple(seen))
    with Engine.open(tmp_path / "library", model=encoder) as engine:
        engine.index(tmp_path / "media")
        with pytest.raises(UsageError) as refused:
            engine.query("red")
    assert "cannot read" not in str(refused.value)


def test_without_words_something_to_look_for_has_to_be_read(engine):
    with pytest.raises(UsageError, match=r"cannot read 'привет'.*leave --no-words out"):
        engine.query(Query.of_text("привет", words=False) - Query.of_text("cat"))


def test_what_is_not_read_is_not_too_long(engine):
    assert names(engine.query(" ".join(["привет"] * 40))) == []
    with pytest.raises(UsageError, match="tokens"):
        engine.query(" ".join(["cat"] * 40))
