"""What a library remembers of chance: asked once, kept while little changes, asked again when much does."""

import threading

import numpy as np
import pytest
from sqlalchemy import delete, text

from indexer.backgrounds import read_backgrounds, read_queries
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.schema import Background
from indexer.testing import FakeEncoder
from indexer.types import ImageSample, MediaInfo
from mmsearch import Engine, Query, background
from mmsearch.background import _least, background_texts, calibrate
from mmsearch.terms import Term


def rows_of(engine):
    generation_id, _ = engine._library.store.generation()
    return {(row.modality, row.channel): row for row in read_backgrounds(engine._library.store, generation_id)}


def pictures(encoder, count, seed=0):
    tower = encoder.towers["image", "one"]
    vectors = [encoder.vector(tower, f"{seed} {n}".encode()) for n in range(count)]
    return [[NewSegment("visual", vector / np.linalg.norm(vector))] for vector in vectors]


def test_the_texts_are_many_short_and_each_there_once():
    texts = background_texts()
    assert len(texts) >= 300
    assert len(set(texts)) == len(texts)
    assert all(text == text.strip() and 1 <= len(text.split()) <= 25 for text in texts)


def test_each_way_of_asking_is_asked_in_each_channel(filled):
    engine = filled(60)
    assert rows_of(engine).keys() == {
        (modality, channel) for modality in ("text", "image") for channel in ("visual", "speech", "text")
    }
    for (modality, channel), row in rows_of(engine).items():
        generation_id, _ = engine._library.store.generation()
        bank = read_queries(engine._library.store, generation_id, modality, channel)
        np.testing.assert_allclose(np.linalg.norm(bank, axis=1), 1, atol=1e-5)
        assert len(bank) == (len(background_texts()) if modality == "text" else len(bank))
        assert row.vectors == engine._library.store.position(generation_id, channel).vectors
        assert row.scale > 0


def test_only_towers_that_reach_a_channel_are_asked(filled, chance):
    engine = filled(60, encoder=chance(chance.THREE_SPACES))
    assert rows_of(engine).keys() == {
        *(("text", channel) for channel in ("visual", "sound", "speech", "text")),
        ("image", "visual"),
        ("audio", "sound"),
    }


def test_what_changed_little_is_not_asked_again(filled, fill, chance):
    encoder = chance()
    engine = filled(pictures(encoder, 100), encoder=encoder)
    before = rows_of(engine)
    asked = encoder.encoded["text"]
    assert asked == len(background_texts())
    fill(engine, pictures(encoder, 9, seed=1))
    calibrate(engine._library, encoder)
    after = rows_of(engine)
    for key in before:
        assert (after[key].location, after[key].vectors) == (before[key].location, 100)
        assert after[key].last_id > before[key].last_id
        assert after[key].least <= before[key].least
    fill(engine, pictures(encoder, 10, seed=2))
    calibrate(engine._library, encoder)
    assert rows_of(engine)["text", "visual"].vectors == 119
    assert encoder.encoded["text"] == asked  # the texts' vectors are kept


def test_what_an_older_version_wrote_is_searched_as_well_and_brought_up_to_date(filled, chance):
    encoder = chance()
    engine = filled(pictures(encoder, 300), encoder=encoder)
    queries = [
        Query.of_text("a dog", k=5, words=False),
        Query.of_image(ImageSample(np.zeros((4, 4, 3), np.uint8)), k=5, words=False),
    ]
    expected = [[(hit.path, hit.confidence) for hit in engine.query(query)] for query in queries]
    before = rows_of(engine)
    with engine._library.store.writing() as connection:
        connection.execute(text("UPDATE background SET rest = NULL, last_id = last_id"))
    with Engine.open(engine._library.path, model=encoder) as older:
        assert {row.rest for row in rows_of(older).values()} == {None}
        assert [[(hit.path, hit.confidence) for hit in older.query(query)] for query in queries] == expected
    calibrate(engine._library, encoder)
    for key, row in rows_of(engine).items():
        assert row.rest == pytest.approx(before[key].rest, abs=1e-6)
        assert row.least == pytest.approx(before[key].least, abs=1e-6)


def test_damaged_vectors_say_nothing_of_the_least_hubness():
    rng = np.random.default_rng(0)
    vectors, lean = rng.normal(size=(6, 8)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    of = rng.normal(size=6)
    expected = _least(vectors[:5], of[:5], lean)
    of[5] = np.nan
    assert _least(vectors, of, lean) == pytest.approx(expected)
    assert _least(vectors[5:], of[5:], lean) == (np.inf, np.inf)


def test_what_came_since_is_looked_at_once(filled, fill, chance, monkeypatch):
    encoder = chance()
    engine = filled(pictures(encoder, 60), encoder=encoder)
    fill(engine, pictures(encoder, 3, seed=1))
    looked, least_after = [], background._least_after
    monkeypatch.setattr(background, "_least_after", lambda *how: looked.append(how[2]) or least_after(*how))
    for seed in (2, 3):
        engine.query(Query.of_text("a dog", words=False))
        engine.query(Query.of_text("a cat", words=False))
        rows = len(rows_of(engine))
        assert len(looked) == rows
        fill(engine, pictures(encoder, 2, seed=seed))
        looked.clear()
    engine.query(Query.of_text("a dog", words=False))
    assert set(looked) == {64 + 1}  # only what came since the last query


def test_other_texts_are_asked_anew(filled, chance, monkeypatch):
    encoder = chance()
    engine = filled(pictures(encoder, 50), encoder=encoder)
    before = rows_of(engine)
    monkeypatch.setattr("mmsearch.background.background_texts", lambda: tuple(f"text {n}" for n in range(200)))
    monkeypatch.setattr("mmsearch.background.background_source", lambda: "another")
    calibrate(engine._library, encoder)
    after = rows_of(engine)
    assert after["text", "visual"].source == "another"
    assert after["image", "visual"] == before["image", "visual"]
    assert encoder.encoded["text"] == len(background_texts()) + 200


def test_a_channel_that_grew_is_known_for_its_present_size(filled, fill, chance):
    """Between two calibrations, the location follows the size."""
    encoder = chance()
    engine = filled(pictures(encoder, 200), encoder=encoder)
    path = engine.query(Query.of_text("a dog", k=1, words=False))[0].path
    before = engine.query(Query.of_text("a dog", k=1, words=False))[0].confidence
    far = [[NewSegment("visual", -segments[0].vector)] for segments in pictures(encoder, 15)]
    fill(engine, far)
    hit = engine.query(Query.of_text("a dog", k=1, words=False))[0]
    odds = np.log(hit.confidence / (1 - hit.confidence)) - np.log(before / (1 - before))
    assert hit.path == path
    assert odds == pytest.approx(-np.log(215 / 200), abs=1e-3)


def test_a_library_that_was_never_calibrated_answers_by_cosine(filled):
    engine = filled(40, calibrated=False)
    answer = engine.query(Query.of_text("a dog", k=40, words=False))
    assert answer.matches_well is None
    assert [hit.confidence for hit in answer] == [None] * 40
    assert [hit.score for hit in answer] == sorted((hit.score for hit in answer), reverse=True)
    assert not engine.query(Query.of_text("a dog", k=40, words=False, confident=True))


def test_one_channel_that_is_not_calibrated_makes_all_rank_by_cosine(filled):
    engine = filled(40)
    with engine._library.store.writing() as connection:
        connection.execute(delete(Background).where(Background.channel == "speech"))
    answer = engine.query(Query.of_text("a dog", k=40, words=False))
    assert answer.matches_well is None
    assert [hit.score for hit in answer] == sorted((hit.score for hit in answer), reverse=True)
    pictures = engine.query(Query.of_text("a dog", k=40, words=False, kinds=["image"]))
    assert all(hit.channel != "speech" for hit in pictures) or pictures.matches_well is None


def test_an_interrupted_run_leaves_a_library_that_answers(tmp_path, make):
    for n in range(40):
        make.image(tmp_path / "media" / f"{n}.png", (255 - n, n, 0))
    cancel = threading.Event()
    with Engine.open(tmp_path / "library", model=FakeEncoder(seconds_per_batch=0.2)) as engine:
        report = engine.index(
            tmp_path / "media", on_progress=lambda state: cancel.set() if state.done else None, cancel=cancel
        )
        assert report.interrupted
        if 0 < report.added < 40:
            assert engine.query("red", k=1).matches_well is None
        engine.index()
        assert engine.query("red", k=1).matches_well is not None


def test_a_library_too_small_to_tell_says_so(tmp_path, make):
    """One picture is too little to know what pictures score by chance. Texts come with their own background."""
    make.image(tmp_path / "media" / "only.png", (90, 155, 0))
    make.image(tmp_path / "asked.png", (100, 155, 0))
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        answer = engine.query(Query.of_image(tmp_path / "asked.png"))
        assert answer.matches_well is None
        assert 0.9 < answer[0].score < 1
        assert engine.query("red").matches_well is not None


def test_what_was_removed_is_asked_no_more(filled, chance):
    encoder = chance()
    engine = filled(pictures(encoder, 60), encoder=encoder)
    store = engine._library.store
    (root_id,) = store.roots()
    for name in sorted(store.known_in(root_id, ""))[:30]:
        store.remove(root_id, name)
    calibrate(engine._library, encoder)
    assert rows_of(engine)["text", "visual"].vectors == 30
    with store.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM background")).scalar() == len(rows_of(engine))


def test_a_picture_of_the_library_does_not_take_itself_for_chance(filled, chance):
    """Asked with itself, each would score 1, and nothing could stand out any more."""
    encoder = chance()
    engine = filled(pictures(encoder, 300), encoder=encoder)
    row = rows_of(engine)["image", "visual"]
    assert row.location + 10 * row.scale < np.arctanh(0.9999)


@pytest.mark.parametrize("files", [12, 130])  # fewer segments than are drawn, and more
def test_the_order_in_which_files_were_committed_does_not_matter(tmp_path, chance, files):
    """Ids follow that order, which is a matter of chance; what is known of chance is of the files."""
    encoder = chance()
    rng = np.random.default_rng(5)
    contents = []
    for number, segments in enumerate(pictures(encoder, files)):
        drifts = segments[0].vector + 0.4 * rng.normal(size=(1 + number % 5, len(segments[0].vector)))
        vectors = (drifts / np.linalg.norm(drifts, axis=1, keepdims=True)).astype(np.float32)
        frames = [NewSegment("visual", vector, float(at), at + 1.0) for at, vector in enumerate(vectors)]
        contents.append(NewContent(f"{rng.integers(2**60):020x}", MediaInfo("image", "raw"), frames))
    found = []
    for turn, order in enumerate([range(files), rng.permutation(files)]):
        with Engine.open(tmp_path / f"library {turn}", model=encoder) as engine:
            library = engine._library
            generation = library.use(encoder.spec)
            root, _ = library.store.add_root("/drawn")
            for n in order:
                library.store.write(generation, [Outcome(FilePlace(root, "", f"{n}.raw", 1, 1), contents[n])])
            library.save_indexes()
            calibrate(library, encoder)
            row = rows_of(engine)["image", "visual"]
            asked = Term.of_sample(ImageSample(np.full((8, 8, 3), 7, np.uint8)))
            hits = engine.query(Query((asked,), k=5))
            found.append((row.location, row.scale, row.mean, row.least, [(hit.path, hit.confidence) for hit in hits]))
    (*numbers, hits), (*others, same_hits) = found
    assert others == pytest.approx(numbers, abs=1e-6)
    assert [path for path, _ in same_hits] == [path for path, _ in hits]
    assert [sure for _, sure in same_hits] == pytest.approx([sure for _, sure in hits], abs=1e-6)


def test_a_library_of_texts_alone_is_not_asked_with_pictures_at_every_run(tmp_path, monkeypatch):
    (tmp_path / "media").mkdir()
    for n in range(30):
        (tmp_path / "media" / f"{n}.txt").write_text(("cat", "dog", "sea")[n % 3])
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        monkeypatch.setattr("mmsearch.background.ids_by_content", lambda *_: pytest.fail("nothing is new"))
        monkeypatch.setattr("mmsearch.background.write_backgrounds", lambda *_: pytest.fail("nothing is new"))
        assert engine.index(tmp_path / "media").unchanged == 30
