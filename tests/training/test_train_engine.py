"""From pairs to a new generation of vectors and back, on a library where one matrix says it all."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from indexer.adapters import adapted, read_adapter
from indexer.errors import CancelledError, UsageError
from indexer.testing import FakeEncoder
from mmsearch import Engine
from mmsearch.training.fit import FitOptions
from mmsearch.training.report import TrainingReport, lines

QUICK = FitOptions(epochs=40, rate=1e-2, decay=0.01, batch=32)


def vectors_of(engine: Engine, channel: str = "visual") -> dict[str, np.ndarray]:
    """The vector of each picture, by its path."""
    from indexer.found import segments_of

    store = engine._library.store
    generation_id, _ = store.generation()
    from mmsearch.training.own import _paths

    paths = _paths(engine._library)
    found = {}
    for part in segments_of(store, generation_id, list(paths)):
        if part.channel == channel:
            found |= {
                paths[content]: vector for content, vector in zip(part.contents.tolist(), part.vectors, strict=True)
            }
    return found


def test_an_adapter_that_helps_is_applied_and_taken_back(zoo):
    pairs = zoo.pairs()
    with zoo.engine() as engine:
        engine.index(zoo.media)
        before = vectors_of(engine)
        asked = engine.query("cat cat cat dog", k=5).hits
        encoded = zoo.encoder.encoded["image"]
        trained = engine.train(pairs, options=QUICK)
        assert trained.report.applied
        channel = trained.report.channels[0]
        assert channel.channel == "visual"
        assert channel.trial.recall.before < 0.4 < 0.8 < channel.trial.recall.after
        assert channel.trial.recall.low > 0
        assert zoo.encoder.encoded["image"] == encoded  # nothing is encoded again

        after = vectors_of(engine)
        matrix = read_adapter(engine._library.store, engine._library.store.generation()[0]).matrices["image", "fake"]
        for path, vector in before.items():
            np.testing.assert_allclose(after[path], adapted(vector[None], matrix)[0], atol=2e-3)
        first = engine.query("cat", k=1).hits[0]
        red = max(before, key=lambda path: before[path][0])
        assert before[str(first.path)][0] > 0.98 * before[red][0]

        undone = engine.undo_training()
        assert undone.files == 0
        for path, vector in vectors_of(engine).items():
            np.testing.assert_array_equal(vector, before[path])
        assert [(hit.path, hit.score) for hit in engine.query("cat cat cat dog", k=5).hits] == [
            (hit.path, hit.score) for hit in asked
        ]
        with pytest.raises(UsageError, match="nothing to undo"):
            engine.undo_training()
        assert engine.verify().problems == []


def test_queries_and_new_files_go_through_the_adapter(zoo, make):
    with zoo.engine() as engine:
        pairs = zoo.pairs()
        engine.index(zoo.media)
        engine.train(pairs, options=QUICK)
    with Engine.open(zoo.library, model=FakeEncoder(max_tokens=64)) as engine:  # another process
        late = make.image(zoo.media / "late.png", (252, 10, 10))
        engine.index()
        matrix = read_adapter(engine._library.store, engine._library.store.generation()[0]).matrices["image", "fake"]
        raw = np.zeros((1, 16), np.float32)
        raw[0, :3] = np.array((252, 10, 10)) / np.linalg.norm((252, 10, 10))
        np.testing.assert_allclose(vectors_of(engine)[str(late)], adapted(raw, matrix)[0], atol=2e-3)
        outside = make.image(zoo.folder / "outside.png", (252, 10, 10), (252, 10, 10))
        best = engine.similar(outside, k=1).hits[0]
        assert best.path == str(late)
        assert best.score == pytest.approx(1, abs=1e-3)
        assert engine.undo_training().files == 1
        assert str(late) not in vectors_of(engine)
        engine.index()
        np.testing.assert_allclose(vectors_of(engine)[str(late)], raw[0], atol=1e-3)
        assert engine.verify().problems == []


def test_an_engine_that_is_open_follows(zoo):
    pairs = zoo.pairs()
    with zoo.engine() as engine, Engine.open(zoo.library, model=FakeEncoder(max_tokens=64)) as other:
        engine.index(zoo.media)
        plain = [hit.path for hit in other.query("cat", k=3).hits]
        engine.train(pairs, options=QUICK)
        adapted_hits = [hit.path for hit in other.query("cat", k=3).hits]
        assert adapted_hits == [hit.path for hit in engine.query("cat", k=3).hits]
        engine.undo_training()
        assert [hit.path for hit in other.query("cat", k=3).hits] == plain


def test_what_does_not_help_is_refused_and_changes_nothing(zoo):
    pairs = zoo.pairs(shuffled=True)
    with zoo.engine() as engine:
        engine.index(zoo.media)
        before = vectors_of(engine)
        generation = engine._library.store.generation()
        trained = engine.train(pairs, options=QUICK)
        assert not trained.report.applied
        assert not trained.report.channels[0].helps
        assert "does not help" in "\n".join(lines(trained.report))
        assert engine._library.store.generation() == generation
        for path, vector in vectors_of(engine).items():
            np.testing.assert_array_equal(vector, before[path])


def test_a_dry_run_measures_only(zoo):
    pairs = zoo.pairs()
    with zoo.engine() as engine:
        engine.index(zoo.media)
        generation = engine._library.store.generation()
        trained = engine.train(pairs, options=QUICK, apply=False, general=zoo.pairs(60, seed=3))
        assert trained.report.channels[0].helps
        assert trained.report.channels[0].other.pairs == 60
        assert not trained.report.applied
        assert engine._library.store.generation() == generation


@pytest.mark.parametrize("count", [0, 1, 39])
def test_too_few_pairs_are_refused(zoo, count):
    with zoo.engine() as engine:
        engine.index(zoo.pictures(60) and zoo.media)
        with pytest.raises(UsageError, match=r"too little|too few"):
            engine.train(zoo.pairs(count), options=QUICK)


def test_many_pairs_of_one_caption_are_too_few_as_well(zoo):
    path = zoo.folder / "same.jsonl"
    rows = [{"image": str(picture), "text": "cat"} for picture, _ in zoo.pictures(60)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with zoo.engine() as engine:
        engine.index(zoo.media)
        with pytest.raises(UsageError, match="1 groups"):
            engine.train(path, options=QUICK)


def test_stopped_and_taken_up_again_it_ends_as_if_it_had_not_been(zoo):
    pairs = zoo.pairs()
    with zoo.engine() as engine:
        engine.index(zoo.media)
        whole = engine.train(pairs, options=QUICK, apply=False)
        cancel, seen = threading.Event(), []

        def on_progress(what: str, done: int, total: int) -> None:
            if what.startswith("Training") and not cancel.is_set():
                seen.append(done)
                if len(seen) == 7:
                    cancel.set()

        generation = engine._library.store.generation()
        with pytest.raises(CancelledError, match="7 epochs"):
            engine.train(pairs, options=QUICK, apply=False, on_progress=on_progress, cancel=cancel)
        assert engine._library.store.generation() == generation
        again: list[int] = []
        resumed = engine.train(
            pairs, options=QUICK, apply=False, on_progress=lambda w, d, _t: again.append(d) if "Training" in w else None
        )
        assert again[0] == 8
        assert resumed.histories == whole.histories
        assert resumed.report.channels[0].trial == whole.report.channels[0].trial
        assert not (zoo.library / "training" / "visual.pt").exists()


def test_adapters_may_follow_each_other(zoo):
    with zoo.engine() as engine:
        first, second = zoo.pairs(), zoo.pairs(120, seed=5)
        engine.index(zoo.media)
        before = vectors_of(engine)
        weak = FitOptions(epochs=2, rate=3e-3, batch=32)
        assert engine.train(first, options=weak).report.applied
        assert engine.train(second, options=QUICK).report.applied
        twice = vectors_of(engine)
        pixels = zoo.pictures(120)[0][0]
        with Engine.open(zoo.library, model=FakeEncoder(max_tokens=64)) as other:
            assert other.encoder.spec == other._library.spec
            hit = other.similar(pixels, k=1).hits[0]
            assert hit.score > 0.99
        engine.undo_training()
        once = vectors_of(engine)
        engine.undo_training()
        assert not np.allclose(twice[str(pixels)], once[str(pixels)], atol=1e-3)
        assert not np.allclose(once[str(pixels)], before[str(pixels)], atol=1e-3)
        np.testing.assert_array_equal(vectors_of(engine)[str(pixels)], before[str(pixels)])


def test_a_report_survives_the_store(zoo):
    pairs = zoo.pairs()
    with zoo.engine() as engine:
        engine.index(zoo.media)
        trained = engine.train(pairs, options=QUICK)
        stored = read_adapter(engine._library.store, trained.generation_id).report
        assert TrainingReport.from_json(stored) == trained.report
