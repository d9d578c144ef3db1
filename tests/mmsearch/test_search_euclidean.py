"""`metric="euclidean"`: from the lengths that a tower gives, through a library on disk, to the order of an answer."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from indexer.records import NewSegment
from indexer.testing import VOCABULARY, FakeEncoder
from mmsearch import Engine, Query

WORDS = VOCABULARY[:-1]
ASKED = ("cat cat dog", "red red red green", "sea tree", "music music music music night")


def counts(words):
    """A text as the fake model sees it, worked out here."""
    return np.array([words.count(word) for word in VOCABULARY], float)


def asked(engine, words, metric, k=1000):
    answer = engine.query(Query.of_text(words, k=k, words=False, metric=metric))
    return [Path(hit.path).name for hit in answer]


def brute_force(vectors, words):
    """The cosine and the distance of every file, by name."""
    query = counts(words.split())
    cosines = {name: float(v @ query / np.linalg.norm(v) / np.linalg.norm(query)) for name, v in vectors.items()}
    return cosines, {name: float(np.linalg.norm(v - query)) for name, v in vectors.items()}


def rises(values):
    """Within what half precision keeps of a vector."""
    return all(before <= after + 0.01 for before, after in pairwise(values))


def fill(folder, make, *, files, same_length=False):
    """Texts of random words and pictures of random colours; the vectors that the fake model gives them, by name."""
    rng = np.random.default_rng(0)
    vectors = {}
    folder.mkdir()
    for number in range(files):
        if number % 5 == 0 and not same_length:
            colour = rng.integers(0, 256, 3)
            vectors[f"{number:03}.png"] = np.concatenate([colour / 255, np.zeros(len(VOCABULARY) - 3)])
            make.image(folder / f"{number:03}.png", tuple(int(value) for value in colour))
            continue
        # No more than goes into one piece of a text.
        size = 4 if same_length else rng.integers(1, 16)
        words = [str(word) for word in rng.choice(WORDS[: 4 + number % 11], size, replace=not same_length)]
        vectors[f"{number:03}.txt"] = counts(words)
        (folder / f"{number:03}.txt").write_text(" ".join(words))
    return vectors


def test_a_long_vector_in_the_right_direction_is_far_away(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "often.txt").write_text("cat " * 10)  # cosine 1, distance 8
    (tmp_path / "media" / "beside.txt").write_text("cat cat dog")  # cosine 2 / sqrt(5), distance 1
    for raw, want in ((True, ["beside.txt", "often.txt"]), (False, ["often.txt", "beside.txt"])):
        with Engine.open(tmp_path / f"library-{raw}", model=FakeEncoder(raw=raw)) as engine:
            engine.index(tmp_path / "media")
            assert asked(engine, "cat cat", "cosine") == ["often.txt", "beside.txt"]
            assert asked(engine, "cat cat", "euclidean") == want


def test_it_ranks_by_the_distance_between_vectors_as_they_were_given(tmp_path, make):
    vectors = fill(tmp_path / "media", make, files=150)
    with Engine.open(tmp_path / "library", model=FakeEncoder(raw=True)) as engine:
        report = engine.index(tmp_path / "media")
        assert (report.added + report.linked, report.failed) == (150, 0)
        for words in ASKED:
            cosines, distances = brute_force(vectors, words)
            found = asked(engine, words, "euclidean")
            assert len(found) > 140  # files of one content are one hit
            assert rises([distances[name] for name in found])
            # The two are far from the same order.
            assert not rises([-cosines[name] for name in found])
            assert sum(a != b for a, b in zip(found, asked(engine, words, "cosine"), strict=True)) > 100
            assert asked(engine, words, "euclidean", k=10) == found[:10]
            # What is shown is the cosine, whatever ranks.
            for hit in engine.query(Query.of_text(words, k=1000, words=False, metric="euclidean")):
                assert hit.score == pytest.approx(cosines[Path(hit.path).name], abs=2e-3)


@pytest.mark.parametrize("raw", [True, False])
def test_it_is_the_order_of_cosines_where_all_lengths_are_the_same(tmp_path, make, monkeypatch, raw):
    """Four different words in each text: a length of 2 for all of them, or of 1. That of the query does not matter."""
    # Else `cosine` takes off what an item scores with anything.
    monkeypatch.setattr("mmsearch.engine.calibrate", lambda *_: None)
    vectors = fill(tmp_path / "media", make, files=80, same_length=True)
    assert {float(np.linalg.norm(vector)) for vector in vectors.values()} == {2.0}
    with Engine.open(tmp_path / "library", model=FakeEncoder(raw=raw)) as engine:
        engine.index(tmp_path / "media")
        for words in ASKED:
            cosines, distances = brute_force(vectors, words)
            found = asked(engine, words, "euclidean")
            assert len(found) > 60
            assert found == asked(engine, words, "cosine")
            assert rises([-cosines[name] for name in found])
            assert rises([distances[name] for name in found])


def test_towers_that_give_other_lengths_do_not_bury_each_other(filled, chance):
    """The same library, but for a space whose towers give vectors a hundred times as long: the same answer."""

    class Longer(chance):
        def encode(self, tower, prepared):
            return super().encode(tower, prepared) * np.float32(100 if tower.space == "look" else 1)

    answers = []
    for make_encoder, times in ((chance, 1), (Longer, 100)):
        encoder = make_encoder(chance.THREE_SPACES)
        lengths, contents = np.random.default_rng(3), []
        for number in range(60):
            channel, tower = encoder.spec.channels[number % len(encoder.spec.channels)]
            vector = encoder.vector(tower, f"{channel} {number}".encode())
            norm = float(lengths.uniform(5, 20)) * (times if tower.space == "look" else 1)
            contents.append([NewSegment(channel, vector / np.linalg.norm(vector), norm=norm)])
        engine = filled(contents, encoder=encoder)
        answer = engine.query(Query.of_text("a dog", k=100, words=False, metric="euclidean"))
        answers.append([(hit.path, hit.channel) for hit in answer])
    assert answers[0] == answers[1]
    channels = [channel for _, channel in answers[0]]
    # Neither all of one kind first, nor all of the other.
    assert sum(before != after for before, after in pairwise(channels)) > 5
