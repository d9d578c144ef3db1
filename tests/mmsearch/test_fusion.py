"""Fusion functions: held against loops that anyone can read, and against what must be true of any input."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from mmsearch import fusion

WEIGHTS = st.floats(0.01, 100)
SCORES = st.floats(-50, 50, width=32) | st.just(math.nan)


@st.composite
def matrices(draw, elements=SCORES, most_terms=4):
    """Scores of some terms for some candidates, and a weight for each term."""
    terms, candidates = draw(st.integers(1, most_terms)), draw(st.integers(1, 6))
    scores = draw(arrays(np.float64, (terms, candidates), elements=elements))
    return scores, draw(st.lists(WEIGHTS, min_size=terms, max_size=terms))


def by_attention(column, weights):
    """The definition, for one candidate."""
    there = [(score, weight) for score, weight in zip(column, weights, strict=True) if not math.isnan(score)]
    if not there:
        return -math.inf
    top = max(score for score, _ in there)
    shares = [weight * math.exp((score - top) / fusion.ATTENTION_TEMPERATURE) for score, weight in there]
    return sum(share * score for share, (score, _) in zip(shares, there, strict=True)) / sum(shares)


def by_mean(column, weights, missing):
    filled = [missing if math.isnan(score) else score for score in column]
    return sum(w * s for w, s in zip(weights, filled, strict=True)) / sum(weights)


def ranked(row):
    """Ranks from 1, the best first; equal ones share their mean. From SciPy."""
    there = ~np.isnan(row)
    ranks = np.full(len(row), np.nan)
    if there.any():
        ranks[there] = rankdata(-row[there])
    return ranks


def by_reciprocal_rank(scores, weights):
    total = np.zeros(scores.shape[1])
    for row, weight in zip(scores, weights, strict=True):
        for candidate, rank in enumerate(ranked(row)):
            if not math.isnan(rank):
                total[candidate] += weight / (60 + rank)
    return total


def by_borda(scores, weights):
    count = scores.shape[1]
    total = np.zeros(count)
    for row, weight in zip(scores, weights, strict=True):
        for candidate, rank in enumerate(ranked(row)):
            if not math.isnan(rank):
                total[candidate] += weight * (count - rank) / count
    return total


REFERENCES = {
    "concatenation": (
        fusion.concatenation,
        lambda scores, weights: [by_mean(column, weights, 0.0) for column in scores.T],
    ),
    "mean": (
        lambda scores, weights: fusion.weighted_mean(scores, weights, -3.5),
        lambda scores, weights: [by_mean(column, weights, -3.5) for column in scores.T],
    ),
    "attention": (
        fusion.attention,
        lambda scores, weights: [by_attention(column, weights) for column in scores.T],
    ),
    "reciprocal rank": (fusion.reciprocal_rank, by_reciprocal_rank),
    "borda": (fusion.borda, by_borda),
}
FUNCTIONS = {name: function for name, (function, _) in REFERENCES.items()}


@pytest.mark.parametrize("name", REFERENCES)
@given(matrices())
def test_each_function_is_its_definition(name, given_scores):
    function, reference = REFERENCES[name]
    got = function(*given_scores)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, reference(*given_scores), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(matrices(), st.randoms(use_true_random=False))
def test_the_order_of_terms_does_not_matter(name, given_scores, random):
    scores, weights = given_scores
    order = random.sample(range(len(weights)), len(weights))
    moved = FUNCTIONS[name](scores[order], [weights[at] for at in order])
    np.testing.assert_allclose(moved, FUNCTIONS[name](scores, weights), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(matrices(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(name, given_scores, random):
    scores, weights = given_scores
    order = random.sample(range(scores.shape[1]), scores.shape[1])
    moved = FUNCTIONS[name](scores[:, order], weights)
    np.testing.assert_allclose(moved, FUNCTIONS[name](scores, weights)[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(matrices(), st.floats(0.01, 100))
def test_only_the_proportion_of_weights_counts(name, given_scores, factor):
    """Means stay as they are; sums over ranks grow with the weights, in the same order."""
    scores, weights = given_scores
    before, after = FUNCTIONS[name](scores, weights), FUNCTIONS[name](scores, [weight * factor for weight in weights])
    grows = factor if name in ("reciprocal rank", "borda") else 1
    np.testing.assert_allclose(after, before * grows, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["concatenation", "mean", "attention"])
@given(matrices(most_terms=1), st.floats(0.01, 100))
def test_one_term_is_what_it_is(name, given_scores, weight):
    scores = np.nan_to_num(given_scores[0], nan=1.0)
    np.testing.assert_allclose(FUNCTIONS[name](scores, [weight]), scores[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["reciprocal rank", "borda"])
@given(matrices(st.floats(-50, 50, width=32), most_terms=1))
def test_one_term_orders_as_it_does_itself(name, given_scores):
    scores, weights = given_scores
    got = FUNCTIONS[name](scores, weights)
    for a in range(len(got)):
        for b in range(len(got)):
            assert (got[a] > got[b]) == (scores[0, a] > scores[0, b])
            assert (got[a] == got[b]) == (scores[0, a] == scores[0, b])


@pytest.mark.parametrize("name", ["reciprocal rank", "borda"])
@given(matrices(st.integers(-50, 50).map(float) | st.just(math.nan)))
def test_ranks_depend_on_order_alone(name, given_scores):
    scores, weights = given_scores
    bent = np.exp(scores / 10) * 7 - 3  # any rising function
    np.testing.assert_array_equal(FUNCTIONS[name](bent, weights), FUNCTIONS[name](scores, weights))


@pytest.mark.parametrize("name", FUNCTIONS)
@given(matrices(st.floats(-50, 50, width=32)), st.data(), st.floats(0.01, 50))
def test_a_better_score_never_harms(name, given_scores, data, more):
    """The mean of softmax weights is no exception: see the next test."""
    scores, weights = given_scores
    term = data.draw(st.integers(0, scores.shape[0] - 1))
    candidate = data.draw(st.integers(0, scores.shape[1] - 1))
    assume(name != "attention" or scores[term, candidate] == scores[:, candidate].max())
    better = scores.copy()
    better[term, candidate] += more
    before, after = FUNCTIONS[name](scores, weights), FUNCTIONS[name](better, weights)
    assert after[candidate] >= before[candidate] - 1e-9
    if name in ("reciprocal rank", "borda"):
        others = np.arange(len(after)) != candidate
        assert (after[others] <= before[others] + 1e-9).all()


@given(matrices())
def test_attention_lies_between_the_mean_and_the_best(given_scores):
    scores, weights = given_scores
    got = fusion.attention(scores, weights)
    for column, value in zip(scores.T, got, strict=True):
        there = ~np.isnan(column)
        if there.any():
            assert value <= column[there].max() + 1e-9
            assert value >= np.average(column[there], weights=np.array(weights)[there]) - 1e-9


@given(arrays(np.float64, (3, 8), elements=st.floats(-1, 1, width=32)), st.lists(WEIGHTS, min_size=3, max_size=3))
def test_a_weighted_sum_scores_the_weighted_sum_of_scores(vectors, weights):
    lengths = np.linalg.norm(vectors, axis=1)
    assume((lengths > 1e-3).all())
    unit = (vectors / lengths[:, None]).astype(np.float32)
    total = np.array(weights) @ unit.astype(np.float64)
    assume(np.linalg.norm(total) > 1e-3 * sum(weights))
    got = fusion.weighted_sum(list(unit), weights)
    assert got.dtype == np.float32
    assert np.linalg.norm(got) == pytest.approx(1, abs=1e-5)
    others = np.random.default_rng(0).normal(size=(5, 8))
    np.testing.assert_allclose(others @ got, others @ total / np.linalg.norm(total), atol=1e-5)


def test_vectors_that_cancel_out_give_the_heaviest():
    right, left = np.array([1, 0], np.float32), np.array([-1, 0], np.float32)
    np.testing.assert_array_equal(fusion.weighted_sum([right, left], [1, 1]), right)
    assert abs(fusion.weighted_sum([right, left], [1, 1 + 1e-9])[0]) == 1
    np.testing.assert_allclose(fusion.weighted_sum([right, left], [1, 2]), left)


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e300])
def test_a_weighted_sum_does_not_depend_on_the_size_of_the_weights(scale):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 16))
    vectors = list((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))
    one = fusion.weighted_sum(vectors, [2, 1])
    np.testing.assert_allclose(fusion.weighted_sum(vectors, [2 * scale, scale]), one, atol=1e-6)


@given(matrices(), st.floats(0.1, 100), st.floats(-50, 50))
def test_a_negative_term_never_lifts_anything(given_negatives, positive_weight, start):
    negative, weights = given_negatives
    scores = np.full(negative.shape[1], start)
    got = fusion.lowered(scores, negative, weights, positive_weight)
    assert (got <= scores).all()
    untouched = (np.isnan(negative) | (negative <= 0)).all(axis=0)
    np.testing.assert_array_equal(got[untouched], scores[untouched])
    for candidate in range(len(got)):
        taken = sum(
            abs(weight) / positive_weight * max(0.0, score)
            for weight, score in zip(weights, negative[:, candidate], strict=True)
            if not math.isnan(score)
        )
        assert got[candidate] == pytest.approx(start - taken)


def test_without_negative_terms_nothing_is_lowered():
    scores = np.array([3.0, -1.0])
    np.testing.assert_array_equal(fusion.lowered(scores, np.empty((0, 2)), [], 1.0), scores)


def test_a_term_that_does_not_reach_counts_as_chance():
    scores = np.array([[4.0, 4.0], [np.nan, -2.0]])
    np.testing.assert_allclose(fusion.weighted_mean(scores, [1, 1], missing=-2.0), [1.0, 1.0])
    np.testing.assert_allclose(fusion.attention(scores[:, :1], [1, 1]), [4.0])
    assert fusion.reciprocal_rank(scores, [1, 1])[0] == pytest.approx(1 / 61.5)


@pytest.mark.parametrize("function", [fusion.concatenation, fusion.weighted_mean, fusion.attention])
@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 1.0], [1.0, 1.0, 1.0]])
def test_weights_that_make_no_sense_are_refused(function, weights):
    with pytest.raises(ValueError, match="positive weights"):
        function(np.zeros((2, 3)), weights)


def test_ranks_of_nobody():
    for function in (fusion.reciprocal_rank, fusion.borda):
        assert function(np.empty((2, 0)), [1, 1]).shape == (0,)
        np.testing.assert_array_equal(function(np.full((1, 3), np.nan), [1]), np.zeros(3))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_levelling_keeps_the_order_and_all_that_is_not_certain(values):
    excess = np.sort(np.array(values))
    got = fusion.levelled(excess)
    assert (np.diff(got) >= 0).all()
    below = excess <= fusion.CERTAIN
    np.testing.assert_array_equal(got[below], excess[below])
    assert (got <= np.maximum(excess, fusion.CERTAIN)).all()
    assert got[-1] < fusion.CERTAIN + 15


def test_levelling_passes_over_what_does_not_reach():
    np.testing.assert_array_equal(fusion.levelled(np.array([np.nan, 10.0, -np.inf])), [np.nan, 10.0, -np.inf])
