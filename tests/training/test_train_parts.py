"""The parts of a training, each against a plainer way to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from indexer.adapters import adapted
from indexer.errors import UsageError
from mmsearch.training.fit import FitOptions, PairVectors, fit
from mmsearch.training.pairs import Pair, Side, read_pairs
from mmsearch.training.split import groups_of, split
from mmsearch.training.trial import general, mean_recall, places_of, run_trial


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def some_pairs(count: int = 40, dim: int = 6, seed: int = 0, *, repeats: int = 0) -> PairVectors:
    rng = np.random.default_rng(seed)
    ids = np.arange(count)
    query_ids = ids.copy()
    query_ids[:repeats] = 0  # some captions are said of several things
    queries = unit(rng.normal(size=(count, dim)))[query_ids]
    items = unit(queries + rng.normal(size=(count, dim)))
    return PairVectors(queries, items, query_ids, ids, np.zeros(count, np.bool_))


# --- losses ---


@pytest.mark.parametrize("repeats", [0, 5])
def test_infonce_is_what_its_formula_says(repeats):
    torch = pytest.importorskip("torch")
    from mmsearch.training.loss import infonce, no_negatives

    pairs = some_pairs(12, repeats=repeats)
    cosines = pairs.queries.astype(np.float64) @ pairs.items.T.astype(np.float64)
    scale, total = 7.0, 0.0
    for at in range(12):
        others = [n for n in range(12) if n == at or pairs.query_ids[n] != pairs.query_ids[at]]
        for line in (cosines[at], cosines[:, at]):
            total -= scale * line[at] - np.log(sum(np.exp(scale * line[n]) for n in others))
    masked = no_negatives(*(torch.from_numpy(ids) for ids in (pairs.query_ids, pairs.item_ids)))
    made = infonce(torch.from_numpy(cosines), torch.tensor(scale, dtype=torch.float64), masked)
    assert made.item() == pytest.approx(total / 24)


def test_the_sigmoid_loss_is_what_its_formula_says():
    torch = pytest.importorskip("torch")
    from mmsearch.training.loss import no_negatives, sigmoid

    pairs = some_pairs(9, repeats=3)
    cosines = pairs.queries.astype(np.float64) @ pairs.items.T.astype(np.float64)
    total = 0.0
    for one in range(9):
        for other in range(9):
            if one != other and pairs.query_ids[one] == pairs.query_ids[other]:
                continue
            sign = 1 if one == other else -1
            total += np.log1p(np.exp(-sign * (5.0 * cosines[one, other] - 2.0)))
    masked = no_negatives(*(torch.from_numpy(ids) for ids in (pairs.query_ids, pairs.item_ids)))
    numbers = (torch.tensor(number, dtype=torch.float64) for number in (5.0, -2.0))
    assert sigmoid(torch.from_numpy(cosines), *numbers, masked).item() == pytest.approx(total / 9)


# --- the adapter ---


@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
@pytest.mark.parametrize("rank", [0, 6])
def test_a_turn_of_the_space_is_learned(loss, rank):
    rng = np.random.default_rng(3)
    queries = unit(rng.normal(size=(240, 12)))
    swap = np.eye(12, dtype=np.float32)[np.r_[1, 0, 2:12]] @ np.diag(np.r_[np.ones(9), -np.ones(3)]).astype(np.float32)
    ids = np.arange(240)
    every = PairVectors(queries, unit(queries @ swap), ids, ids, np.zeros(240, np.bool_))
    options = FitOptions(loss, rank, epochs=30, batch=80, rate=3e-2, decay=0.01, patience=30)
    found = fit(every.rows(ids[:140]), every.rows(ids[140:180]), options)
    held_out = every.rows(ids[180:])
    assert mean_recall(held_out) < 0.9
    assert mean_recall(held_out.adapted(found.matrix)) > mean_recall(held_out) + 0.1
    assert np.linalg.matrix_rank(found.matrix - np.eye(12), tol=1e-4) <= (rank or 12)


def test_where_nothing_can_be_learned_the_vectors_stay_as_they_are():
    rng = np.random.default_rng(0)
    ids = np.arange(120)
    rows = unit(rng.normal(size=(120, 8)))
    perfect = PairVectors(rows, rows, ids, ids, np.zeros(120, np.bool_))
    found = fit(perfect.rows(ids[:80]), perfect.rows(ids[80:]), FitOptions(epochs=6, patience=3))
    assert found.best == 0
    assert len(found.history) == 3
    np.testing.assert_array_equal(found.matrix, np.eye(8, dtype=np.float32))


def test_the_same_seed_gives_the_same_adapter():
    pairs = some_pairs(80)
    train, validation = pairs.rows(np.arange(60)), pairs.rows(np.arange(60, 80))
    options = FitOptions(epochs=5, rate=1e-2)
    one, two = fit(train, validation, options), fit(train, validation, options)
    np.testing.assert_array_equal(one.matrix, two.matrix)
    assert one.history == two.history
    other = fit(train, validation, FitOptions(epochs=5, rate=1e-2, seed=1))
    assert other.history != one.history


def test_a_damaged_checkpoint_is_no_matter(tmp_path):
    pairs = some_pairs(80)
    train, validation = pairs.rows(np.arange(60)), pairs.rows(np.arange(60, 80))
    (tmp_path / "state.pt").write_bytes(b"nothing of the kind")
    one = fit(train, validation, FitOptions(epochs=2), checkpoint=tmp_path / "state.pt")
    assert len(one.history) == 2


@pytest.mark.parametrize(
    "wrong", [{"loss": "hinge"}, {"rank": -1}, {"epochs": 0}, {"batch": 1}, {"rate": 0.0}, {"decay": float("nan")}]
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError):
        FitOptions(**wrong)


def test_a_row_that_would_vanish_stays_as_it_is():
    rows = unit(np.array([[1.0, 0, 0], [0, 1, 0]]))
    matrix = np.diag([0.0, 2.0, 1.0]).astype(np.float32)
    np.testing.assert_allclose(adapted(rows, matrix), [[1, 0, 0], [0, 1, 0]])


# --- measuring ---


def test_places_against_counting():
    pairs = some_pairs(30, repeats=4)
    places = places_of(pairs)
    cosines = pairs.queries.astype(np.float64) @ pairs.items.T.astype(np.float64)
    for at in range(30):
        others = [n for n in range(30) if n != at and pairs.query_ids[n] != pairs.query_ids[at]]
        assert places.above[0, at] == sum(cosines[at, n] > cosines[at, at] for n in others)
        # A query that several pairs share is one answer.
        found = {int(pairs.query_ids[n]) for n in others if cosines[n, at] > cosines[at, at]}
        assert places.above[1, at] == pytest.approx(len(found))


def test_where_all_score_the_same_recall_is_that_of_drawing_blindly():
    rows = np.tile(unit(np.ones((1, 4))), (20, 1))
    ids = np.arange(20)
    same = PairVectors(rows, rows, ids, ids, np.zeros(20, np.bool_))
    places = places_of(same)
    for depth in (1, 5, 10):
        np.testing.assert_allclose(places.recall(depth), depth / 20)


def test_a_trial_of_the_identity_gains_nothing():
    trial = run_trial(some_pairs(50), np.eye(6, dtype=np.float32))
    assert trial.recall.gain == trial.recall.low == trial.recall.high == 0
    assert not trial.recall.helps


def test_general_questions_find_the_same_after_the_identity_and_others_after_a_change():
    rng = np.random.default_rng(0)
    queries, vectors = unit(rng.normal(size=(30, 8))), unit(rng.normal(size=(200, 8)))
    same = general(queries, vectors, np.eye(8, dtype=np.float32), through=False)
    assert (same.same, same.first, same.questions) == (1.0, 1.0, 30)
    changed = general(queries, vectors, rng.normal(size=(8, 8)).astype(np.float32), through=False)
    assert changed.same < 0.5
    assert general(queries, vectors[:15], np.eye(8, dtype=np.float32), through=False) is None


# --- dividing ---


def test_linked_pairs_are_one_group():
    groups = groups_of([("a", "1"), ("b", "2"), ("a", "3"), ("c", "3"), ("d", "4")])
    assert groups[0] == groups[2] == groups[3]
    assert len({groups[0], groups[1], groups[4]}) == 3


@pytest.mark.parametrize(("count", "per_group"), [(60, 1), (400, 1), (2_000, 7)])
def test_parts_share_no_group_and_are_all_there(count, per_group):
    groups = np.arange(count) // per_group
    parts = split(groups, seed=0)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    np.testing.assert_array_equal(np.sort(rows), np.arange(count))
    sets = [set(groups[part].tolist()) for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, sets)) == len(set(groups.tolist()))
    assert len(parts.test) / count == pytest.approx(1 / 3 if count < 300 else 1 / 5, abs=0.02)


def test_one_huge_group_is_learned_from():
    groups = np.r_[np.zeros(500, np.int64), np.arange(1, 101)]
    parts = split(groups, seed=0)
    assert set(range(500)) <= set(parts.train.tolist())


# --- reading ---


def write(folder: Path, *rows: object) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_lines_become_pairs(tmp_path):
    for name in ("a.jpg", "b.mp4", "c.wav", "d.md"):
        (tmp_path / name).write_bytes(b"x")
    path = write(
        tmp_path,
        {"image": "a.jpg", "text": ["a  cat", "eine Katze 🐈"]},
        "",
        {"video": "b.mp4", "start": 1, "end": 2.5, "text": "it leaves"},
        {"audio": "c.wav", "image": "a.jpg"},
        {"text": "how long?", "document": str(tmp_path / "d.md")},
    )
    pairs = read_pairs(path).pairs
    place = str(tmp_path.resolve() / "a.jpg")
    assert pairs[0] == Pair(Side("image", place), Side("text", "a cat"), "pairs.jsonl")
    assert pairs[1].other.value == "eine Katze 🐈"
    assert (pairs[2].one.start_seconds, pairs[2].one.end_seconds) == (1.0, 2.5)
    assert [side.kind for side in (pairs[3].one, pairs[3].other, pairs[4].one)] == ["image", "audio", "document"]
    assert Side("text", "A Cat").key == Side("text", "a  cat").key


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ("[1]", "a list"),
        ({"image": "a.jpg"}, "image"),
        ({"image": "a.jpg", "text": "x", "colour": "red"}, "colour"),
        ({"image": "a.jpg", "text": ""}, "the text ''"),
        ({"image": "a.jpg", "text": []}, "the text"),
        ({"image": "gone.jpg", "text": "x"}, "no file"),
        ({"image": 5, "text": "x"}, "the path of a file"),
        ({"video": "a.jpg", "text": "x", "start": 3, "end": 1}, "start 3"),
        ({"video": "a.jpg", "text": "x", "start": 3}, "end None"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, line, said):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"pairs\.jsonl:2: ") as error:
        read_pairs(write(tmp_path, {"image": "a.jpg", "text": "fine"}, line))
    assert said in str(error.value)


def test_a_folder_gives_the_captions_beside_its_files(tmp_path):
    for name in ("a.jpg", "b.png", "c.wav", "d.jpg", "e.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.txt").write_text("one\n\n two  words \none\n", encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"caption": "from json", "captions": ["more"], "id": 3}))
    (tmp_path / "c.wav.txt").write_text("a sound")
    (tmp_path / "e.json").write_text("{broken")
    found = read_pairs(tmp_path)
    said = [(Path(pair.one.value).name, pair.one.kind, pair.other.value) for pair in found.pairs]
    assert said == [
        ("a.jpg", "image", "one"),
        ("a.jpg", "image", "two words"),
        ("b.png", "image", "more"),
        ("b.png", "image", "from json"),
        ("c.wav", "audio", "a sound"),
    ]
    assert found.skipped == ["files without a caption beside them: 2"]
    with pytest.raises(UsageError, match="nothing at"):
        read_pairs(tmp_path / "nowhere")
