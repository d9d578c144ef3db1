"""What a search gives, held against NumPy over every segment of a library: paths, scores, confidences, order."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from indexer.found import norms_of
from indexer.likeness import look_of
from indexer.records import NewSegment
from mmsearch import Query, Term
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
    for before, after in pairwise(answer):
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


# --- several terms ---


def terms_of(spelled):
    """ "2:a dog", "-cats" as terms."""
    found = []
    for one in spelled:
        sign, rest = (-1, one[1:]) if one.startswith("-") else (1, one)
        weight, _, words = rest.rpartition(":")
        found.append(Term("text", words, sign * float(weight or 1)))
    return found


def mix_by_hand(engine, terms, fusion):
    """(path, key, excess) of every file for some texts that reach the same channels, by loops."""
    everything = Everything(engine)
    total = sum(term.weight for term in terms if term.weight > 0)
    channels = [name for name, _ in everything.spec.channels if any(row.channel == name for row in everything.rows)]
    per_file = {}
    for channel in channels:
        rows = [row for row in everything.rows if row.channel == channel]
        vectors = unpacked(b"".join(row.vector for row in rows), len(rows))
        asked = {term: everything.ask(term.value, channel) for term in terms}
        cosines = {term: vectors @ asked[term] for term in terms}
        excess = {
            term: np.where(value > 10, 10 + np.log1p(np.maximum(value - 10, 0)), value)
            for term in terms
            if term.weight > 0
            for value in [everything.excess("text", channel, vectors, cosines[term], len(rows), len(channels))]
        }
        above = {
            term: np.where(value > 10, 10 + np.log1p(np.maximum(value - 10, 0)), value)
            for term in terms
            if term.weight < 0
            for value in [everything.mean("text", channel, vectors, cosines[term])]
        }
        for at, row in enumerate(rows):
            per_file.setdefault(row.path, []).append(
                (
                    {term: values[at] for term, values in excess.items()},
                    {term: max(0.0, values[at]) for term, values in above.items()},
                    {term: values[at] for term, values in cosines.items()},
                )
            )
    files = {}
    for path, segments in per_file.items():
        if fusion == "sum":
            key = max(
                sum(t.weight * v for t, v in high.items()) / total - sum(-t.weight / total * v for t, v in low.items())
                for high, low, _ in segments
            )
        elif fusion == "attention":
            key = -np.inf
            for high, low, _ in segments:
                shares = {t: t.weight * math.exp(v - max(high.values())) for t, v in high.items()}
                mixed = sum(shares[t] * high[t] for t in shares) / sum(shares.values())
                key = max(key, mixed - sum(-t.weight / total * v for t, v in low.items()))
        else:
            of = 2 if fusion == "concat" else 0
            key = sum(t.weight * max(one[of][t] for one in segments) for t in segments[0][0]) / total
            unit = np.mean([everything.known["text", channel].scale for channel in channels]) if of else 1
            key -= unit * sum(-t.weight / total * max(low[t] for _, low, _ in segments) for t in segments[0][1])
        files[path] = key
    return files


MIXES = [
    ("a dog", "the sea"),
    ("2:a dog", "the sea", "0.5:night"),
    ("a dog", "-the sea"),
    ("3:a dog", "rain", "-2:the sea"),
]


@pytest.mark.parametrize("fusion", ["auto", "sum", "attention", "mean", "concat"])
@pytest.mark.parametrize("spelled", MIXES, ids=" ".join)
def test_several_terms_are_every_segment_in_numpy(filled, spelled, fusion):
    terms = terms_of(spelled)
    engine = filled(60)
    one_term = sum(term.weight > 0 for term in terms) == 1
    how = "sum" if fusion == "auto" or (one_term and fusion != "attention") else fusion
    keys = mix_by_hand(engine, terms, how)
    answer = engine.query(Query(tuple(terms), k=60, fusion=fusion, words=False))
    assert sorted(hit.path for hit in answer) == sorted(keys)
    for before, after in pairwise(answer):
        assert keys[before.path] > keys[after.path] - 2e-3
    if how in ("sum", "attention", "mean"):
        for hit in answer:
            odds = math.log(hit.confidence / (1 - hit.confidence))
            assert odds == pytest.approx(keys[hit.path] - OFFSET, abs=5e-3)
    few = engine.query(Query(tuple(terms), k=5, fusion=fusion, words=False))
    assert [hit.path for hit in few] == [hit.path for hit in answer[:5]]


@pytest.mark.parametrize("fusion", ["auto", "attention", "mean", "concat"])
@pytest.mark.parametrize("spelled", MIXES, ids=" ".join)
def test_the_best_for_several_terms_are_found_among_few(filled, monkeypatch, spelled, fusion):
    """Though what is fetched for each term is a small part of the library, and none that is near to all of them."""
    terms = terms_of(spelled)
    monkeypatch.setattr("mmsearch.search._POOL", 32)
    monkeypatch.setattr("mmsearch.search._BLOCK", 25)  # files are scored whole, in several blocks
    engine = filled(400)
    one_term = sum(term.weight > 0 for term in terms) == 1
    how = "sum" if fusion == "auto" or (one_term and fusion != "attention") else fusion
    keys = mix_by_hand(engine, terms, how)
    best = sorted(keys, key=lambda path: -keys[path])
    for k in (1, 2):
        answer = engine.query(Query(tuple(terms), k=k, fusion=fusion, words=False))
        assert [keys[hit.path] for hit in answer] == pytest.approx([keys[path] for path in best[:k]], abs=2e-3)


@pytest.mark.parametrize("positive", [["a needle"], ["a needle", "0.5:a needle"]], ids=["one", "two"])
@pytest.mark.parametrize("how", ["sum", "attention", "mean", "concat", "rrf", "borda", "euclidean"])
def test_what_is_best_behind_all_that_is_to_be_unlike_is_the_best_of_all(filled, chance, how, positive):
    """However files are ranked, but by places among several terms: the first of few is the first of all."""
    if how in ("rrf", "borda") and len(positive) > 1:
        return
    encoder = chance()
    it = Geometry(encoder)
    sea = normal(encoder.vector(encoder.towers["text", "one"], b"the sea"))
    near = it.near(it.query + sea, 0.02, 600)
    far = it.near(0.55 * it.query - 0.2 * sea + 0.8 * it.other, 0.02, 3)
    engine = filled([*near[:300], *far, *near[300:]], encoder=encoder)
    terms = tuple(terms_of([*positive, "-the sea"]))
    how = {"metric": how} if how == "euclidean" else {"fusion": how}
    every = engine.query(Query(terms, k=603, words=False, **how))
    assert len(every) == 603
    assert every[0].path in {row.path for row in sorted(Everything(engine).rows)[300:303]}
    assert engine.query(Query(terms, k=1, words=False, **how))[0].path == every[0].path


def test_what_is_like_nothing_that_is_to_be_unlike_is_found_behind_all_that_is(filled, chance, monkeypatch):
    """The nearest are all near to the negative term too: what is best lies far behind them."""
    monkeypatch.setattr("mmsearch.search._POOL", 20)
    encoder = chance()
    it = Geometry(encoder)
    sea = encoder.vector(encoder.towers["text", "one"], b"the sea")
    near = it.near(it.query + normal(sea), 0.02, 600)
    far = it.near(0.55 * it.query - 0.2 * normal(sea) + 0.8 * it.other, 0.02, 3)
    engine = filled([*near[:300], *far, *near[300:]], encoder=encoder)
    terms = (Term("text", "a needle"), Term("text", "the sea", -1.0))
    keys = mix_by_hand(engine, terms, "sum")
    best = sorted(keys, key=lambda path: -keys[path])[:1]
    assert [hit.path for hit in engine.query(Query(terms, k=1, words=False))] == best
    alone = by_hand(engine, "a needle")
    assert [path for path, _, _ in alone].index(best[0]) > 500


@pytest.mark.parametrize("fusion", ["rrf", "borda"])
def test_ranks_are_fused_over_all_files_however_many_are_asked_for(filled, fusion):
    engine = filled(60)
    terms = terms_of(["2:a dog", "the sea", "night"])
    files = sorted({row.path for row in Everything(engine).rows})
    total = dict.fromkeys(files, 0.0)
    for term in terms:
        alone = by_hand(engine, term.value)
        for path, _, key in alone:  # equal ones share the mean of their ranks
            better = sum(other > key + 1e-3 for _, _, other in alone)
            same = sum(abs(other - key) <= 1e-3 for _, _, other in alone)
            rank = better + (same + 1) / 2
            total[path] += term.weight * (1 / (60 + rank) if fusion == "rrf" else (60 - rank) / 60)
    expected = sorted(files, key=lambda path: (-round(total[path], 9), path))
    for k in (3, 10, 60):
        answer = engine.query(Query(tuple(terms), k=k, fusion=fusion, words=False))
        assert [hit.path for hit in answer] == expected[:k]


@pytest.mark.parametrize("fusion", ["sum", "concat", "attention", "mean", "rrf", "borda"])
def test_the_order_of_terms_and_the_size_of_weights_change_nothing(filled, fusion):
    engine = filled(50)
    terms = terms_of(["2:a dog", "the sea", "-night"])
    once = engine.query(Query(tuple(terms), k=20, fusion=fusion, words=False))
    turned = engine.query(Query(tuple(reversed(terms)), k=20, fusion=fusion, words=False))
    scaled = engine.query(Query(tuple(term * 1e300 for term in terms), k=20, fusion=fusion, words=False))
    for other in (turned, scaled):
        assert [hit.path for hit in other] == [hit.path for hit in once]
        assert [hit.confidence for hit in other] == pytest.approx([hit.confidence for hit in once], abs=1e-5)


@pytest.mark.parametrize("fusion", ["sum", "attention", "mean"])
def test_a_negative_term_lowers_and_never_lifts_nor_excludes(filled, fusion):
    engine = filled(50)
    plain = {hit.path: hit.confidence for hit in engine.query(ask("a dog", k=50))}
    less = engine.query(Query((Term("text", "a dog"), Term("text", "the sea", -1.0)), k=50, fusion=fusion, words=False))
    assert {hit.path for hit in less} == set(plain)
    assert all(hit.confidence <= plain[hit.path] + 1e-9 for hit in less)
    nearest_to_the_sea = by_hand(engine, "the sea")[0][0]
    lowered = {hit.path: hit.confidence for hit in less}
    assert lowered[nearest_to_the_sea] < plain[nearest_to_the_sea]


@pytest.mark.parametrize("calibrated", [True, False])
def test_not_below_leaves_out_what_has_a_segment_so_near(filled, calibrated):
    engine = filled(80, calibrated=calibrated)
    everything = Everything(engine)
    near = set()
    for row in everything.rows:
        if float(unpacked(row.vector, 1)[0] @ everything.ask("the sea", row.channel)) >= 0.2:
            near.add(row.path)
    assert 5 < len(near) < 70
    terms = (Term("text", "a dog"), Term("text", "the sea", -1.0))
    answer = engine.query(Query(terms, k=80, not_below=0.2, words=False))
    assert {hit.path for hit in answer} == {row.path for row in everything.rows} - near
    assert len(engine.query(Query(terms, k=80, not_below=1.0, words=False))) == 80


def test_not_below_finds_what_is_left_when_the_nearest_are_all_left_out(filled, chance):
    encoder = chance()
    it = Geometry(encoder)
    wrong = normal(encoder.vector(encoder.towers["text", "one"], b"the sea").astype(float))
    engine = filled(it.near(it.query + 2 * wrong, 0.02, 1500) + it.near(it.query - wrong, 0.02, 4), encoder=encoder)
    terms = (Term("text", "a needle"), Term("text", "the sea", -1.0))
    left = {row.path for row in sorted(Everything(engine).rows)[1500:]}
    answer = engine.query(Query(terms, k=3, not_below=0.5, words=False))
    assert len(answer) == 3
    assert {hit.path for hit in answer} <= left


# --- distance ---


@pytest.mark.parametrize("spread", [0.0, 0.4, 2.0])
def test_euclidean_is_the_distance_between_vectors_as_the_towers_gave_them(filled, chance, spread):
    encoder = chance()
    rng = np.random.default_rng(0)
    contents = []
    for n in range(1500):
        vector = encoder.vector(encoder.towers["image", "one"], f"picture {n}".encode())
        length = float(np.exp(spread * rng.normal()) * 10)
        contents.append([NewSegment("visual", vector / np.linalg.norm(vector), norm=length)])
    engine = filled(contents, encoder=encoder)
    with engine._library.store.reading() as connection:
        norms = dict(connection.execute(text("SELECT id, norm FROM segment")).all())
    everything = Everything(engine)
    query = encoder.vector(encoder.towers["text", "one"], b"a dog").astype(float) * 2.5
    apart = {
        row.path: float(np.linalg.norm(unpacked(row.vector, 1)[0] * norms[row.id] - query)) for row in everything.rows
    }
    answer = engine.query(ask("a dog", k=20, metric="euclidean"))
    assert [hit.path for hit in answer] == sorted(apart, key=apart.get)[:20]
    by_angle = by_hand(engine, "a dog")
    keys = {path: key for path, _, key in by_angle}
    for hit in answer:  # a confidence is of the angle, whatever ranks
        assert math.log(hit.confidence / (1 - hit.confidence)) == pytest.approx(keys[hit.path] - OFFSET, abs=2e-3)
    if not spread:
        scores = {path: score for path, score, _ in by_angle}
        assert [hit.path for hit in answer] == sorted(scores, key=scores.get, reverse=True)[:20]


@pytest.mark.parametrize("after", [0, 1])
def test_a_channel_that_is_emptied_while_distances_are_asked_for_ends_the_search(filled, monkeypatch, after):
    """By another process, once its index was searched, or its nearest known: lengths are in the store alone."""
    engine, asked = filled(30), []

    def emptied(*where):
        asked.append(where)
        known, norms = norms_of(*where)
        return (known, norms) if len(asked) <= after else (known[:0], norms[:0])

    monkeypatch.setattr("mmsearch.search.norms_of", emptied)
    answer = engine.query(ask("a dog", metric="euclidean", kinds=("image",)))
    assert len(asked) > after
    assert len(answer) <= 30


# --- few are looked at closely, and none is missed ---


def with_lines(encoder, files, seed=0):
    """Contents whose segments say words of a small vocabulary."""
    rng = np.random.default_rng(seed)
    vocabulary = ["dog", "park", "sea", "night", "train", "garlic", "meeting", "castle", "winter", "song"]
    tower = encoder.towers["text", "one"]
    contents = []
    for number in range(files):
        segments = []
        for at in range(int(rng.integers(1, 4))):
            words = " ".join(rng.choice(vocabulary, 6))
            vector = normal(encoder.vector(tower, f"{number} {at}".encode()).astype(float)).astype(np.float32)
            times = (2.0 * at, 2.0 * at + 2) if number % 2 else (None, None)
            segments.append(NewSegment("speech" if number % 2 else "text", vector, *times, words))
        contents.append(segments)
    return contents


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize(
    "words", ["a dog in the park", "garlic", "nothing of this", '"train night"', "sea castle song"]
)
def test_what_words_found_is_passed_over_only_where_it_cannot_be_among_the_best(
    filled, chance, monkeypatch, words, calibrated
):
    encoder = chance()
    engine = filled(with_lines(encoder, 400), encoder=encoder, calibrated=calibrated)
    asked = [Query.of_text(words, k=k, moments=moments) for k in (1, 5, 30) for moments in (False, True)]
    quick = [engine.query(one) for one in asked]
    monkeypatch.setattr(
        "mmsearch.search.promising_of",
        lambda found, keys, unseen, words, count, plan: list(dict.fromkeys([*words, *keys])),
    )
    monkeypatch.setattr("mmsearch.search._finalists", lambda library, generation, contents, *_: contents)
    for one, answer in zip(asked, quick, strict=True):
        slow = engine.query(one)
        assert [(hit.path, hit.start_seconds) for hit in answer] == [(hit.path, hit.start_seconds) for hit in slow]
        assert [hit.confidence for hit in answer] == pytest.approx([hit.confidence for hit in slow], abs=1e-4)
        assert [hit.matched for hit in answer] == [hit.matched for hit in slow]


@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("spelled", [("a dog",), ("a dog", "the sea"), ("a dog", "-the sea")], ids=" ".join)
def test_asking_for_more_changes_nothing_of_the_first(filled, chance, spelled, moments):
    encoder = chance()
    engine = filled(with_lines(encoder, 200), encoder=encoder)
    query = Query(tuple(terms_of(spelled)), k=150, moments=moments)
    every = engine.query(query)
    assert len(every) == 150
    for k in (1, 2, 7, 40):
        few = engine.query(Query(query.terms, k=k, moments=moments))
        assert [(hit.path, hit.channel, hit.start_seconds) for hit in few] == [
            (hit.path, hit.channel, hit.start_seconds) for hit in every[:k]
        ]


def test_copies_that_are_folded_do_not_hide_what_else_stands_out(filled, chance, photographs):
    looks = [
        look_of(np.asarray(Image.open(photographs / name).convert("RGB"))) for name in ("coffee.png", "chelsea.png")
    ]
    encoder = chance()
    query = encoder.vector(encoder.towers["text", "one"], b"a dog").astype(float)
    query /= np.linalg.norm(query)
    other = np.roll(query, 1) - (np.roll(query, 1) @ query) * query
    other /= np.linalg.norm(other)

    def seen(score, look):
        return [NewSegment("visual", (score * query + np.sqrt(1 - score**2) * other).astype(np.float32), look=look)]

    contents = [*with_lines(encoder, 60), *(seen(0.95 - n / 1000, looks[0]) for n in range(9)), seen(0.9, looks[1])]
    engine = filled(contents, encoder=encoder)
    for confident in (False, True):
        first, second = engine.query(ask("a dog", k=2, confident=confident))
        assert len(first.duplicates) == 8
        assert second.path.endswith("-69.image")
        assert second.matches_well
