"""The bridge in a library, from media on disk to what is found, through the Engine."""

import sqlite3

import numpy as np
import pytest

from indexer.bridges import read_bridge
from indexer.errors import LibraryDamagedError, LibraryLockedError, UsageError
from indexer.types import AudioSample
from mmsearch import Engine, Query
from mmsearch.bridge import gap_of
from mmsearch.query import Term


def fill(media, *, videos=True):
    for concept in media.CONCEPTS:
        media.picture(concept)
        media.sound(concept)
        if videos:
            media.video(concept)


@pytest.fixture
def engine(tmp_path, media, two_spaces_model):
    """A library of pictures, sounds and videos of 13 things, without a bridge."""
    fill(media)
    with Engine.open(tmp_path / "library", model=two_spaces_model()) as engine:
        assert engine.index(media.folder).failed == 0
        yield engine


def names(answer):
    return [hit.path.rsplit("/", 1)[1] for hit in answer]


def test_pictures_find_sounds_and_sounds_pictures_as_soon_as_there_is_a_bridge(engine, media):
    picture, sound = media.folder / "train-0.png", media.folder / "bell.wav"
    before = engine.query(Query((Term.of_file(picture),), k=50))
    assert {hit.channel for hit in before} == {"visual"}
    assert names(engine.query(Query((Term.of_file(picture),), k=3, kinds=("audio",)))) == []
    assert engine.status().bridge is None
    report = engine.make_bridge()
    assert engine.status().bridge == report
    for concept in media.CONCEPTS:
        asked = Query((Term.of_file(media.folder / f"{concept}-0.png"),), k=3, kinds=("audio",))
        assert names(engine.query(asked))[0] == f"{concept}.wav"
        asked = Query((Term.of_file(media.folder / f"{concept}.wav"),), k=3, kinds=("image",))
        assert names(engine.query(asked))[0] == f"{concept}-0.png"
    # The picture itself, and the video that shows it, are still what is nearest.
    found = engine.query(Query((Term.of_file(picture),), k=50))
    assert {hit.channel for hit in found} == {"visual", "sound"}
    assert names(found)[0] == "train-0.png"
    # What is not in the library is encoded first.
    other = media.sound("bell", suffix="-again")
    assert names(engine.query(Query((Term.of_file(other),), k=3, kinds=("image",))))[0] == "bell-0.png"
    heard = AudioSample(read_wav(sound), 8000)
    assert names(engine.query(Query.of_audio(heard, k=3, kinds=("image",))))[0] == "bell-0.png"


def read_wav(path):
    import wave

    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def test_what_is_shown_is_the_cosine_of_what_was_mapped_and_what_was_centred(engine, media):
    engine.make_bridge()
    store = engine._library.store
    generation_id, _ = store.generation()
    sides = {side.channel: side for side in read_bridge(store, generation_id).sides}
    picture = media.folder / "fire-0.png"
    answer = engine.query(Query((Term.of_file(picture),), k=50, kinds=("audio",)))
    assert len(answer) == len(media.CONCEPTS)

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    def vectors_of(path, channel):
        with store.reading() as connection:
            rows = connection.exec_driver_sql(
                "SELECT vector FROM segment JOIN encoding ON encoding.id = encoding_id JOIN file USING (content_id)"
                " WHERE name = ? AND channel = ?",
                (path.rsplit("/", 1)[1], channel),
            ).all()
        return unit(np.stack([np.frombuffer(row[0], "<f2").astype(np.float64) for row in rows]))

    asked = unit(unit(vectors_of(str(picture), "visual")[0] - sides["visual"].mean) @ sides["visual"].across)
    for hit in answer:
        want = (unit(vectors_of(hit.path, "sound") - sides["sound"].mean) @ asked).max()
        assert hit.score == pytest.approx(want, abs=2e-3)


def test_words_never_cross_the_bridge(engine, media):
    asked = ("a dog barking", "the sound of rain")
    before = [[(hit.path, hit.score, hit.channel) for hit in engine.query(text, k=50)] for text in asked]
    engine.make_bridge()
    assert [[(hit.path, hit.score, hit.channel) for hit in engine.query(text, k=50)] for text in asked] == before


def test_a_video_is_asked_with_by_what_it_shows_and_says_and_a_silent_one_crosses(engine, media):
    engine.make_bridge()
    again = media.video("saw", seconds=3)
    answer = engine.query(Query((Term.of_file(again),), k=3, kinds=("audio",)))
    assert names(answer)[0] == "saw.wav"
    assert answer[0].score > 0.9  # its own sound, not the bridge's
    silent = media.video("drum", seconds=3, silent=True)
    answer = engine.query(Query((Term.of_file(silent),), k=3, kinds=("audio",)))
    assert names(answer)[0] == "drum.wav"


def test_the_trial_is_on_the_librarys_videos(engine, media):
    trial = engine.make_bridge().trial
    assert (trial.pairs, trial.videos) == (13, 13)
    for direction in (trial.sound_to_visual, trial.visual_to_sound):
        assert direction.bridge.recall_at_1 > 0.8
        assert direction.bridge.median_rank == 1
        assert direction.shuffled.recall_at_1 < 0.4
        assert direction.chance.median_rank == 7
        assert trial.verdict(direction) == "better"


def test_scores_over_the_bridge_are_held_against_chance(tmp_path, media, two_spaces_model):
    for concept in media.CONCEPTS:
        for number in range(3):
            media.picture(concept, number)
            media.sound(concept, 2 + number, suffix=str(number))
    with Engine.open(tmp_path / "library", model=two_spaces_model()) as engine:
        engine.index(media.folder)
        engine.make_bridge()
        asked = media.picture("cat", 5)
        answer = engine.query(Query((Term.of_file(asked),), k=80))
        chances = {hit.path.rsplit("/", 1)[1]: hit.confidence for hit in answer if hit.kind == "audio"}
        assert None not in chances.values()
        best = sorted(chances, key=chances.get)[-3:]
        assert {name[:3] for name in best} == {"cat"}
        # Made again from the same captions, it is the same, and nothing is asked again.
        rows = backgrounds(engine)
        assert {("image", "sound"), ("audio", "visual")} <= {row[:2] for row in rows}
        engine.make_bridge()
        assert backgrounds(engine) == rows


def backgrounds(engine):
    with engine._library.store.reading() as connection:
        return connection.exec_driver_sql("SELECT modality, channel, location, source FROM background").all()


def test_one_sound_does_not_take_the_calibration_from_all_pictures(tmp_path, media, two_spaces_model):
    for concept in media.CONCEPTS:
        for number in range(2):
            media.picture(concept, number)
    media.sound("dog")
    with Engine.open(tmp_path / "library", model=two_spaces_model()) as engine:
        engine.index(media.folder)
        asked = Query((Term.of_file(media.folder / "dog-0.png"),), k=50)
        before = [(hit.path, hit.confidence) for hit in engine.query(asked)]
        assert before[0][1] is not None
        engine.make_bridge()
        assert [(hit.path, hit.confidence) for hit in engine.query(asked)] == before


def test_means_follow_the_library(engine, media, make):
    engine.make_bridge()
    store = engine._library.store
    generation_id, _ = store.generation()

    def means():
        return {side.channel: side.mean.copy() for side in read_bridge(store, generation_id).sides}

    before = means()
    engine.index(media.folder)
    assert all(np.array_equal(before[channel], mean) for channel, mean in means().items())
    for number in range(1, 4):
        media.picture("cat", number)
    engine.index(media.folder)
    after = means()
    assert np.array_equal(before["sound"], after["sound"])
    assert not np.array_equal(before["visual"], after["visual"])
    engine.query(Query((Term.of_file(media.folder / "cat-1.png"),), k=3, kinds=("audio",)))
    way = engine._bridges.read(generation_id, engine._library.spec).ways["image", "sound"]
    np.testing.assert_array_equal(way.mean, after["visual"])


def test_the_methods_and_what_they_say(engine):
    for method in ("ridge", "procrustes"):
        report = engine.make_bridge(method)
        assert report.method == method
        assert list(report.held_out) == [method]
        assert type(report).from_json(report.to_json()) == report
    both = engine.make_bridge()
    assert set(both.held_out) == {"ridge", "procrustes"}
    assert both.method == max(both.held_out, key=both.held_out.get)


def test_an_interruption_leaves_what_was_there(engine):
    first = engine.make_bridge("procrustes")

    def stop(what, done, total):
        if what == "Choosing a map":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.make_bridge("ridge", on_progress=stop)
    assert engine.status().bridge == first
    steps = []
    engine.make_bridge("ridge", on_progress=lambda *step: steps.append(step))  # and the lock is free
    assert steps[-1] == ("Choosing a map", 5, 5)
    assert max(done for _, done, _ in steps) == steps[0][2]


def test_so_does_one_while_it_is_calibrated(engine, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmsearch.learning.calibrate", stop)
        with pytest.raises(KeyboardInterrupt):
            engine.make_bridge()
    assert engine.status().bridge is None
    first = engine.make_bridge("procrustes")
    with monkeypatch.context() as patch:
        patch.setattr("mmsearch.learning.calibrate", stop)
        with pytest.raises(KeyboardInterrupt):
            engine.make_bridge("ridge")
    assert engine.status().bridge == first


def test_another_writer_is_waited_for_by_nobody(tmp_path, engine):
    from filelock import FileLock

    with FileLock(tmp_path / "library" / "writer.lock"), pytest.raises(LibraryLockedError, match="being written to"):
        engine.make_bridge()


def test_a_library_that_holds_only_one_side_says_what_is_missing(tmp_path, media, two_spaces_model):
    media.picture("dog")
    with Engine.open(tmp_path / "library", model=two_spaces_model()) as engine:
        with pytest.raises(UsageError, match="nothing was indexed yet"):
            engine.make_bridge()
        engine.index(media.folder)
        with pytest.raises(UsageError, match="holds no sounds yet"):
            engine.make_bridge()


def test_one_of_each_is_enough_for_a_bridge_and_too_few_for_a_trial(tmp_path, media, two_spaces_model):
    media.picture("dog")
    media.sound("dog")
    with Engine.open(tmp_path / "library", model=two_spaces_model()) as engine:
        engine.index(media.folder)
        trial = engine.make_bridge().trial
        assert (trial.pairs, trial.videos, trial.sound_to_visual) == (0, 0, None)
        answer = engine.query(Query((Term.of_file(media.folder / "dog-0.png"),), k=3, kinds=("audio",)))
        assert names(answer) == ["dog.wav"]


def test_a_damaged_bridge_is_named_and_can_be_made_again(tmp_path, engine, media):
    engine.make_bridge()
    with sqlite3.connect(tmp_path / "library" / "library.sqlite") as connection:
        connection.execute("UPDATE bridge SET across = substr(across, 1, 10)")
    connection.close()
    asked = Query((Term.of_file(media.folder / "dog-0.png"),), k=3)
    with pytest.raises(LibraryDamagedError, match="mmsearch bridge"):
        engine.query(asked)
    assert engine.query("a dog")  # words do not need it
    engine.make_bridge()
    assert engine.query(asked)


def test_a_model_of_one_space_or_of_one_sense_has_no_gap(two_spaces_model):
    from dataclasses import replace

    from indexer.testing import FakeEncoder
    from indexer.types import TowerSpec
    from mmsearch.bridge import why_no_gap

    spec = two_spaces_model().spec
    assert gap_of(spec) is not None
    assert gap_of(FakeEncoder().spec) is None
    assert "hears nothing but speech" in why_no_gap(FakeEncoder().spec)
    text, image, audio = (TowerSpec(modality, "all", 8) for modality in ("text", "image", "audio"))
    one = replace(
        spec,
        towers=(text, image, audio),
        channels=(("visual", image), ("sound", audio), ("text", text)),
        token_limits=(),
    )
    assert gap_of(one) is None
    assert "find each other by themselves" in why_no_gap(one)
    mute = replace(spec, towers=tuple(t for t in spec.towers if (t.modality, t.space) != ("text", "sight")))
    assert gap_of(mute) is None
    assert "no text tower into the space of each" in why_no_gap(mute)
