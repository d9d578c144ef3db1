"""Ranks from matrices and from embeddings: the same as from the whole sorted lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from indexer.errors import UsageError
from mmsearch.evaluation import Qrels, Resampling, Run, caption_scores, evaluate, place, rank_scores, score_blocks

from .cases import NAMES


def run_of(scores: np.ndarray, queries: list[str], items: list[str]) -> Run:
    """The whole lists, through the other way to make a run."""
    return Run.from_mapping(
        {
            query: {item: float(score) for item, score in zip(items, row, strict=True) if score != -np.inf}
            for query, row in zip(queries, scores, strict=True)
        }
    )


def assert_same(left, right) -> None:
    assert left.queries == right.queries
    assert left.left_out == right.left_out
    assert left.unjudged == right.unjudged
    for name in ("offsets", "ranks", "grades", "returned", "tied"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


@given(
    arrays.arrays(np.float32, (5, len(NAMES)), elements=st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 3e7, -np.inf])),
    arrays.arrays(np.int32, (5, len(NAMES)), elements=st.integers(-1, 3)),
    st.integers(0, len(NAMES) + 2),
)
@settings(max_examples=150, deadline=None)
def test_a_matrix_gives_what_its_lists_give(scores, grades, depth):
    queries = [f"q{n}" for n in range(5)]
    judged = {q: dict(zip(NAMES, map(int, row), strict=True)) for q, row in zip(queries, grades, strict=True)}
    judged |= {"not asked": {NAMES[0]: 1}, "other items": {"elsewhere": 1}, "q0": {**judged["q0"], "elsewhere": 2}}
    queries[4] = "q9"  # asked, and not judged
    qrels = Qrels.from_mapping(judged)
    placements, top = rank_scores(scores, queries, NAMES, qrels, depth=depth)
    whole = run_of(scores, queries, NAMES)
    assert_same(placements, place(whole, qrels))
    assert {q: top.of(q) for q in queries} == {q: whole.of(q, limit=depth) for q in queries}


def test_many_relevant_items_and_no_ties():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 400))
    items = [f"i{n}" for n in range(400)]
    queries = [f"q{n}" for n in range(20)]
    judged = {q: {items[n]: 1 for n in rng.choice(400, 90, replace=False)} for q in queries}
    placements, _ = rank_scores(scores, queries, items, Qrels.from_mapping(judged), depth=0)
    for row, query in enumerate(queries):
        order = np.argsort(-scores[row].astype(np.float32))
        ranks = [rank for rank, n in enumerate(order, 1) if items[n] in judged[query]]
        assert placements.ranks[placements.offsets[row] : placements.offsets[row + 1]].tolist() == ranks


def test_embeddings_in_small_blocks_give_what_the_whole_matrix_gives():
    rng = np.random.default_rng(1)
    queries, items = rng.normal(size=(37, 16)).astype(np.float32) * 3, rng.normal(size=(211, 16)).astype(np.float16)
    items[5] = 0  # an empty vector is like nothing
    left = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    right = items.astype(np.float32)
    right = right / np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-30)
    blocks = list(score_blocks(queries, items, block_bytes=4 * 211 * 5))
    assert [len(block) for block in blocks] == [5] * 7 + [2]
    np.testing.assert_allclose(np.concatenate(blocks), left @ right.T, atol=1e-6)
    dots = np.concatenate(list(score_blocks(queries, items, normalise=False, block_bytes=100)))
    np.testing.assert_allclose(dots, queries @ items.astype(np.float32).T, rtol=1e-4, atol=1e-4)
    qrels = Qrels.from_mapping({q: [3 * q, 3 * q + 1, 5] for q in range(37)})
    whole, _ = rank_scores(np.concatenate(blocks), range(37), range(211), qrels)
    parts, _ = rank_scores(iter(blocks), range(37), range(211), qrels)
    assert_same(whole, parts)
    assert whole.items == 211


def test_excluded_items_are_not_in_the_list():
    scores = np.array([[0.9, 0.5, 0.1]])
    qrels = Qrels.from_mapping({"q": ["c"]})
    placements, run = rank_scores(scores, ["q"], ["a", "b", "c"], qrels, exclude={"q": ["a", "gone"], "other": ["c"]})
    assert placements.ranks.tolist() == [2]
    assert run.of("q") == [("b", 0.5), ("c", pytest.approx(0.1))]
    assert scores[0, 0] == 0.9  # the caller's array is as it was


def test_recall_of_captions_equals_clip_benchmark():
    """Five captions for each picture, and some with one or seven; the same embeddings in, the same numbers out."""
    torch = pytest.importorskip("torch")
    from clip_benchmark.metrics.zeroshot_retrieval import recall_at_k

    rng = np.random.default_rng(2)
    owner = np.repeat(np.arange(60), rng.choice([1, 5, 5, 5, 7], 60))
    images = rng.normal(size=(60, 24)).astype(np.float32)
    texts = (images[owner] + 1.6 * rng.normal(size=(len(owner), 24))).astype(np.float32)
    scores = np.concatenate(list(score_blocks(texts, images)))
    pairs = torch.zeros(scores.shape, dtype=torch.bool)
    pairs[torch.arange(len(owner)), torch.from_numpy(owner)] = True
    text_ids, image_ids = [f"t{n}" for n in range(len(owner))], [f"i{n}" for n in range(60)]
    own = Qrels.from_mapping({f"t{n}": [f"i{i}"] for n, i in enumerate(owner)})
    captions = Qrels.from_mapping({f"i{i}": [f"t{n}" for n in np.flatnonzero(owner == i)] for i in range(60)})
    for matrix, truth, queries, items, qrels in (
        (scores, pairs, text_ids, image_ids, own),
        (scores.T.copy(), pairs.T, image_ids, text_ids, captions),
    ):
        placements, _ = rank_scores(matrix, queries, items, qrels)
        ours = caption_scores(placements)
        recalls = {k: recall_at_k(torch.from_numpy(matrix), truth, k) for k in (1, 5, 10)}
        assert ours.recall == pytest.approx({k: float((r > 0).float().mean()) for k, r in recalls.items()})
        real = evaluate(placements, measures=["R@1", "R@5", "R@10"], resampling=Resampling(0))
        assert real.scores == pytest.approx([float(r.mean()) for r in recalls.values()])
        best = [1 + int((row > row[t].max()).sum()) for row, t in zip(matrix, truth.numpy(), strict=True)]
        assert (ours.median_rank, ours.mean_rank) == (np.median(best), pytest.approx(np.mean(best)))
        assert ours.rsum == pytest.approx(100 * sum(ours.recall.values()))
        assert 0 < ours.recall[1] < ours.recall[10] < 1  # the case tells something


def test_no_queries_and_no_items():
    placements, run = rank_scores(np.zeros((0, 3)), [], ["a", "b", "c"], Qrels.from_mapping({}))
    assert placements.queries == run.queries == ()
    assert np.isnan(caption_scores(placements).median_rank)
    placements, _ = rank_scores(np.zeros((1, 0)), ["q"], [], Qrels.from_mapping({"q": ["a"]}))
    assert placements.ranks.tolist() == [np.inf]
    assert list(score_blocks(np.zeros((0, 4)), np.zeros((3, 4)))) == []


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((2, 3)), "2 rows of scores and 1 queries|more rows"),
        (np.zeros((0, 3)), "0 rows of scores and 1 queries"),
        (np.zeros((1, 2)), r"expected \(rows, 3\)"),
        (np.zeros(3), "two dimensions"),
        (np.full((1, 3), np.nan), "NaN or infinity"),
        (np.full((1, 3), np.inf), "NaN or infinity"),
        (np.full((1, 3), 1e300), "NaN or infinity"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, message):
    with pytest.raises(UsageError, match=message):
        rank_scores(scores, ["q"], ["a", "b", "c"], Qrels.from_mapping({"q": ["a"]}))


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="of one width"):
        next(score_blocks(np.zeros((2, 3)), np.zeros((2, 4))))
    with pytest.raises(UsageError, match="NaN or infinity"):
        next(score_blocks(np.full((2, 3), np.nan), np.zeros((2, 3))))
    with pytest.raises(UsageError, match="'a' is listed twice"):
        rank_scores(np.zeros((1, 2)), ["q"], ["a", "a"], Qrels.from_mapping({}))
