"""The length that vectors had as the tower gave them, from the tower to the store and back."""

import numpy as np
import pytest

from indexer.errors import ModelError
from indexer.found import segments_of
from indexer.testing import FakeEncoder
from indexer.vectors import lengths, unit
from mmsearch import Engine, Query

RED, GREEN = (255, 0, 0), (0, 255, 0)


def stored(engine, channel):
    """(vectors, norms) of all that a library holds in a channel."""
    store = engine._library.store
    generation_id, _ = store.generation()
    (found,) = [some for some in segments_of(store, generation_id, range(1, 100)) if some.channel == channel]
    vectors, norms = found.vectors, found.norms
    return vectors, norms


def fill(folder, make):
    make.image(folder / "red.png", RED)
    make.image(folder / "dark.png", (51, 51, 0))
    (folder / "a.txt").write_text("cat cat dog")
    make.tones(folder / "talk.wav", ["sea", "sea"])


def test_unit_gives_directions_and_lengths():
    vectors = np.array([[3, 4], [0, 0.5], [-2e-30, 0], [3e30, 4e30]], np.float32)
    units, norms = unit(vectors)
    assert units.dtype == np.float32
    np.testing.assert_allclose(units, [[0.6, 0.8], [0, 1], [-1, 0], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(norms, [5, 0.5, 2e-30, 5e30], rtol=1e-6)
    np.testing.assert_allclose(lengths(vectors), norms)
    assert unit(np.empty((0, 3), np.float32))[0].shape == (0, 3)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_vector_that_points_nowhere_is_the_models_fault(bad):
    with pytest.raises(ModelError, match="weights may be damaged"):
        unit(np.array([[1, 0], [bad, 0]], np.float32))


def test_the_library_keeps_the_lengths_that_the_tower_gave(tmp_path, make):
    fill(tmp_path / "media", make)
    with Engine.open(tmp_path / "library", model=FakeEncoder(raw=True)) as engine:
        assert engine.index(tmp_path / "media").failed == 0
        vectors, norms = stored(engine, "text")
        np.testing.assert_allclose(norms, [np.sqrt(5)])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(sorted(stored(engine, "visual")[1]), [0.2 * np.sqrt(2), 1], rtol=1e-6)
        assert stored(engine, "speech")[1].tolist() == [1]
        assert engine.verify().problems == []


def test_scores_are_cosines_whatever_lengths_a_tower_gives(tmp_path, make):
    fill(tmp_path / "media", make)
    answers = []
    for raw in (True, False):
        with Engine.open(tmp_path / f"library-{raw}", model=FakeEncoder(raw=raw)) as engine:
            engine.index(tmp_path / "media")
            asked = ("red red red green", "cat", "cat dog dog", "sea")
            answers.append([[(hit.path, hit.score) for hit in engine.query(Query.of_text(words))] for words in asked])
            if not raw:
                assert stored(engine, "visual")[1] == pytest.approx([1, 1])
    for with_raw, with_unit in zip(*answers, strict=True):
        assert [path for path, _ in with_raw] == [path for path, _ in with_unit]
        assert [score for _, score in with_raw] == pytest.approx([score for _, score in with_unit], abs=1e-3)
    assert answers[0][0][0][1] == pytest.approx(3 / np.sqrt(10), abs=1e-3)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_file_whose_vector_points_nowhere_fails_alone(tmp_path, make, bad):
    class Broken(FakeEncoder):
        def encode(self, tower, prepared):
            vectors = super().encode(tower, prepared)
            vectors[[row[0] > 0.5 for row in prepared]] = bad
            return vectors

    fill(tmp_path / "media", make)
    with Engine.open(tmp_path / "library", model=Broken(raw=True)) as engine:
        report = engine.index(tmp_path / "media")
        assert (report.added, report.failed) == (3, 1)
        assert report.failures[0].path.endswith("red.png")
        assert "could not encode it" in report.failures[0].reason
        assert engine.verify().problems == []


def test_a_query_whose_vector_points_nowhere_is_an_error_not_an_answer(tmp_path, make):
    class Broken(FakeEncoder):
        def encode(self, tower, prepared):
            return super().encode(tower, prepared) * (0 if prepared[0][3] else 1)  # "cat"

    make.image(tmp_path / "media" / "red.png", RED)
    with Engine.open(tmp_path / "library", model=Broken()) as engine:
        engine.index(tmp_path / "media")
        assert engine.query("red")[0].score == pytest.approx(1, abs=1e-3)
        with pytest.raises(ModelError, match="damaged"):
            engine.query("cat")
