"""What a search gives, held against NumPy over every segment of a library: paths, scores, confidences, order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sqlalchemy import text

from indexer.records import NewSegment
from mmsearch import Query
from mmsearch.calibration import OFFSET

K, ALPHA = 128, 0.75


class Everything:
    """All that a library holds, read by plain SQL, and what its calibration says."""

    def __init__(self, engine):
        with engine._library.store.reading() as connection:
            rows = connection.execute(
                text(
                    "SELECT segment.id, channel, content_id, vector, start_seconds, end_seconds, kind,"
                    " (SELECT root.path || '/' || name FROM file JOIN root ON root.id = file.root_id"
                    "  WHERE file.content_id = encoding.content_id AND state = 'present') AS path"
                    " FROM segment JOIN encoding ON encoding.id = encoding_id JOIN content ON content.id = content_id"
                )
            ).all()
            known = connection.execute(text("SELECT * FROM background")).all()
        self.rows = [row for row in rows if row.path]
        self.spec = engine.encoder.spec
        self.known = {(row.modality, row.channel): row for row in known}
        self.encoder = engine.encoder

    def chosen(self, kinds=(), paths=None):
        return [row for row in self.rows if (not kinds or row.kind in kinds) and (paths is None or row.path in paths)]

    def ask(self, term, channel):
        """A text as a unit vector, in the space of a channel; None where it does not reach."""
        tower = self.spec.query_tower("text", channel)
        if tower is None:
            return None
        vector = self.encoder.vector(tower, term.encode()).astype(float)
        return vector / np.linalg.norm(vector)

    def excess(self, modality, channel, vectors, cosines, size, channels):
        known = self.known[modality, channel]
        bank = unpacked(known.queries[4:], int.from_bytes(known.queries[:4], "little"))
        scores = vectors @ bank.T
        if modality != "text":
            scores, cosines = np.arctanh(np.clip([scores, 0 * scores], -0.9999, 0.9999))[0], stretched(cosines)
        k = max(1, min(K, len(bank) // 2))
        hubs = ALPHA * np.sort(scores, axis=1)[:, -k:].mean(axis=1)
        location = known.location + known.scale * math.log(size / known.size)
        return (cosines - hubs - location) / known.scale - math.log(channels)

    def mean(self, modality, channel, vectors, cosines):
        """A negative term's score over its mean."""
        known = self.known[modality, channel]
        excess = self.excess(modality, channel, vectors, cosines, known.size, 1)
        return excess + (known.location - known.mean) / known.scale


def stretched(cosines):
    return np.arctanh(np.clip(cosines, -0.9999, 0.9999))


def unpacked(stored, rows):
    vectors = np.frombuffer(stored, "<f2").reshape(rows, -1).astype(float)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_hand(engine, term, *, kinds=(), paths=None, calibrated=True):
    """(path, cosine, key) of every file for one text, the best first, ties by path."""
    everything = Everything(engine)
    chosen = everything.chosen(kinds, paths)
    channels = [
        channel
        for channel, _ in everything.spec.channels
        if any(row.channel == channel for row in chosen) and everything.ask(term, channel) is not None
    ]
    best = {}
    for channel in channels:
        rows = [row for row in chosen if row.channel == channel]
        vectors = unpacked(b"".join(row.vector for row in rows), len(rows))
        cosines = vectors @ everything.ask(term, channel)
        keys = cosines
        if calibrated:
            keys = everything.excess("text", channel, vectors, cosines, len(rows), len(channels))
        for row, cosine, key in zip(rows, cosines, keys, strict=True):
            if key > best.get(row.path, (0, -np.inf))[1]:
                best[row.path] = (cosine, key)
    order = sorted(best, key=lambda path: (-round(best[path][1], 4), path))
    return [(path, *best[path]) for path in order]


def check(answer, expected, *, calibrated=True):
    """Paths, scores and confidences are those expected, in an order that is right within rounding."""
    keys = {path: key for path, _, key in expected}
    scores = {path: score for path, score, _ in expected}
    assert len(answer) <= len(expected)
    assert len({hit.path for hit in answer}) == len(answer)
    for hit, (_, _, key) in zip(answer, expected, strict=False):
        assert keys[hit.path] == pytest.approx(key, abs=2e-3)
    for before, after in itertools.pairwise(answer):
        assert keys[before.path] > keys[after.path] - 2e-3
    for hit in answer:
        assert hit.score == pytest.approx(scores[hit.path], abs=1e-5)
        if calibrated:
            odds = math.log(hit.confidence / (1 - hit.confidence))
            assert odds == pytest.approx(keys[hit.path] - OFFSET, abs=2e-3)
        else:
            assert hit.confidence is None


def ask(words, **how):
    return Query.of_text(words, words=False, **how)


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("k", [1, 7, 1000])
@pytest.mark.parametrize("words", ["a dog", "music at night"])
def test_one_text_is_every_segment_in_numpy(filled, words, k, calibrated):
    engine = filled(80, calibrated=calibrated)
    expected = by_hand(engine, words, calibrated=calibrated)
    answer = engine.query(ask(words, k=k))
    assert len(answer) == min(k, len(expected)) == min(k, 80)
    check(answer, expected, calibrated=calibrated)
    assert answer.matches_well is (any(key > OFFSET for _, _, key in expected[:k]) if calibrated else None)


@pytest.mark.parametrize("kinds", [("image",), ("audio", "text"), ("text",)])
def test_filters_change_what_chance_is_measured_among(filled, kinds):
    engine = filled(80)
    expected = by_hand(engine, "a dog", kinds=kinds)
    answer = engine.query(ask("a dog", k=100, kinds=kinds))
    assert len(answer) == len(expected)
    check(answer, expected)


def test_files_that_are_gone_do_not_answer(filled):
    engine = filled(40)
    store = engine._library.store
    (root_id,) = store.roots()
    files = store.known_in(root_id, "")
    gone = sorted(files)[::3]
    store.set_state([files[name].id for name in gone], "missing")
    answer = engine.query(ask("a dog", k=100))
    check(answer, by_hand(engine, "a dog"))
    assert {hit.path for hit in answer} == {f"/drawn/{name}" for name in files} - {f"/drawn/{name}" for name in gone}


def test_a_model_of_several_spaces(filled, chance):
    engine = filled(70, encoder=chance(chance.THREE_SPACES))
    expected = by_hand(engine, "rain on a roof")
    answer = engine.query(ask("rain on a roof", k=70))
    check(answer, expected)


def test_ties_are_broken_by_path_however_many_there_are(filled, chance):
    encoder = chance()
    same = encoder.vector(encoder.towers["image", "one"], b"same")
    same /= np.linalg.norm(same)
    engine = filled([[NewSegment("visual", same)] for _ in range(700)], encoder=encoder)
    every = sorted(row.path for row in Everything(engine).rows)
    for k in (1, 10, 300):
        assert [hit.path for hit in engine.query(ask("anything", k=k))] == every[:k]


def test_more_than_there_are_gives_all_there_are(filled):
    engine = filled(3)
    assert len(engine.query(ask("a dog", k=10_000))) == 3


class Geometry:
    """A query, and the direction that all queries of its kind share."""

    def __init__(self, encoder):
        self.rng = np.random.default_rng(0)
        tower = encoder.towers["text", "one"]
        self.query = normal(encoder.vector(tower, b"a needle").astype(float))
        bank = np.stack([normal(encoder.vector(tower, f"bank {n}".encode()).astype(float)) for n in range(400)])
        self.middle = normal(bank.mean(axis=0))
        self.alone = normal(self.query - (self.query @ self.middle) * self.middle)
        other = self.rng.normal(size=len(self.query))
        for axis in (self.middle, self.alone):
            other -= (other @ axis) * axis
        self.other = normal(other)

    def near(self, direction, noise, count):
        return [
            [NewSegment("visual", normal(direction + noise * self.rng.normal(size=len(direction))).astype(np.float32))]
            for _ in range(count)
        ]


def normal(vector):
    return vector / np.linalg.norm(vector)


def test_a_popular_item_cannot_hide_what_is_deeper(filled, chance):
    """Thousands of items lie nearer to the query, and nearer to all others too: what ranks first has a lower cosine."""
    encoder = chance()
    it = Geometry(encoder)
    hubs = it.near(it.query + 2 * it.middle, 0.03, 3000)
    needle = it.near(0.55 * it.alone + 0.8 * it.other - 0.1 * it.middle, 0.0, 1)
    engine = filled([*hubs[:1500], *needle, *hubs[1500:]], encoder=encoder)
    expected = by_hand(engine, "a needle")
    assert expected[0][1] < min(cosine for _, cosine, _ in expected[1:]) - 0.05
    check(engine.query(ask("a needle", k=3)), expected)


@pytest.mark.parametrize("late", [1, 40, 150])
def test_items_that_came_after_calibration_are_found_like_all_others(filled, fill, chance, late):
    """Their hubness may be lower than any that calibration saw."""
    encoder = chance()
    it = Geometry(encoder)
    engine = filled(it.near(it.query + 2 * it.middle, 0.03, 2000), encoder=encoder)
    fill(engine, it.near(0.8 * it.alone + 0.6 * it.other - 0.3 * it.middle, 0.02, late))
    expected = by_hand(engine, "a needle")
    assert expected[0][1] < np.median([cosine for _, cosine, _ in expected]) - 0.05
    check(engine.query(ask("a needle", k=5)), expected)
