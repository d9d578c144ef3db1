"""Intervals and tests against SciPy, against full enumeration, and against what they promise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from indexer.errors import UsageError
from mmsearch.evaluation import statistics
from mmsearch.evaluation.statistics import Significance, bootstrap, holm, resamples_for


def test_interval_of_a_mean_equals_scipy():
    values = np.random.default_rng(0).beta(0.5, 0.7, 200)
    low, high = bootstrap(values[None], seed=1)[0]
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(2))
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.004)


def test_interval_of_a_median_equals_scipy():
    values = np.random.default_rng(0).integers(1, 60, 81).astype(float)
    interval = bootstrap(values[None], median=np.array([True]), seed=1)[0]
    theirs = stats.bootstrap((values,), np.median, method="percentile", rng=np.random.default_rng(2))
    assert interval == pytest.approx(tuple(theirs.confidence_interval), abs=2)


def test_interval_under_weights_is_of_the_ratio_of_sums():
    rng = np.random.default_rng(3)
    weights = rng.integers(1, 20, 120).astype(float)
    values = rng.random(120)
    ours = bootstrap(values[None], weights[None])[0]

    def ratio(v, w, axis=-1):
        return (v * w).sum(axis=axis) / w.sum(axis=axis)

    theirs = stats.bootstrap((values, weights), ratio, paired=True, method="percentile", rng=np.random.default_rng(0))
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.006)


def test_intervals_cover_the_truth_about_as_often_as_promised():
    rng = np.random.default_rng(4)
    draws = rng.binomial(1, 0.3, (400, 100)).astype(float)
    # Each row is an experiment; measures share draws, so rows are done in groups with their own seed.
    intervals = np.concatenate(
        [bootstrap(draws[at : at + 20], resamples=2000, seed=at) for at in range(0, len(draws), 20)]
    )
    covered = ((intervals[:, 0] <= 0.3) & (intervals[:, 1] >= 0.3)).mean()
    assert 0.9 <= covered <= 0.985


def test_intervals_leave_out_what_is_no_number_and_repeat_themselves():
    values = np.array([[0.0, 1.0, np.nan, 1.0], [np.nan, np.nan, np.nan, 0.5], [1.0, np.inf, 2.0, 3.0]])
    first = bootstrap(values, seed=5)
    np.testing.assert_array_equal(first, bootstrap(values, seed=5))
    assert 0 <= first[0, 0] <= first[0, 1] <= 1
    assert np.isnan(first[1:]).all()  # one query, and an infinite rank
    median = bootstrap(values[2:], median=np.array([True]))[0]
    assert median.tolist() == [1, np.inf]
    assert np.isnan(bootstrap(np.zeros((2, 0)))).all()
    assert bootstrap(np.ones((1, 9)))[0].tolist() == [1, 1]


def test_many_queries_take_fewer_resamples():
    assert resamples_for(1000) == 10_000
    assert resamples_for(25_000) == 2000
    assert resamples_for(10_000_000) == 1000
    assert resamples_for(10_000_000, 500) == 500


def randomisation_test(a, b, weights=None, **options) -> Significance:
    """The test of one measure."""
    return statistics.randomisation_test(
        np.atleast_2d(a), np.atleast_2d(b), None if weights is None else weights[None], **options
    )[0]


def by_enumeration(differences: np.ndarray) -> tuple[float, float]:
    means = np.array([np.mean(np.array(signs) * differences) for signs in product((1, -1), repeat=len(differences))])
    seen = differences.mean()
    return (np.abs(means) >= abs(seen) - 1e-12).mean(), (means <= seen + 1e-12).mean()


@pytest.mark.parametrize("seed", range(5))
def test_few_queries_are_enumerated(seed: int):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 5, (2, 9)) / 4
    result = randomisation_test(a, b)
    assert result.exact
    assert (result.p, result.p_fall) == pytest.approx(by_enumeration(b - a))
    assert result.difference == pytest.approx(np.mean(b - a))


def test_many_queries_are_sampled_and_agree_with_scipy():
    rng = np.random.default_rng(6)
    a = rng.random(150)
    b = np.clip(a + rng.normal(0.02, 0.12, 150), 0, 1)
    ours = randomisation_test(a, b)
    assert not ours.exact

    def mean_difference(x, y, axis=-1):
        return np.mean(y - x, axis=axis)

    for p, kind in ((ours.p, "two-sided"), (ours.p_fall, "less")):
        theirs = stats.permutation_test(
            *((a, b), mean_difference),
            permutation_type="samples",
            vectorized=True,
            n_resamples=9999,
            alternative=kind,
            rng=np.random.default_rng(0),
        )
        assert p == pytest.approx(theirs.pvalue, abs=0.02)


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(7)
    p = np.array([randomisation_test(*rng.random((2, 30)), resamples=400, seed=n).p for n in range(400)])
    assert 0.02 <= (p < 0.05).mean() <= 0.085
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_what_cannot_differ_does_not():
    same = randomisation_test(np.ones(40), np.ones(40))
    assert (same.p, same.p_fall, same.difference) == (1, 1, 0)
    fallen = randomisation_test(np.ones(3), np.zeros(3))
    assert (fallen.p, fallen.p_fall, fallen.p_smallest) == (2 / 8, 1 / 8, 1 / 8)  # three queries cannot say more
    risen = randomisation_test(np.zeros(40), np.ones(40))
    assert risen.p_fall == 1
    assert risen.p < 0.001
    left_out = randomisation_test(np.array([np.nan, 1.0]), np.array([0.0, 1.0]))
    assert left_out.p == 1


def test_weights_count_in_the_test():
    a, b, weights = np.zeros(4), np.array([1.0, -1.0, -1.0, -1.0]), np.array([3.0, 1.0, 1.0, 1.0])
    result = randomisation_test(a, b, weights)
    assert result.difference == pytest.approx(0)
    assert result.p == 1


def test_measures_are_tested_together_as_they_are_alone():
    rng = np.random.default_rng(8)
    a, b = rng.random((2, 4, 60))
    b[1] = a[1]
    b[2, 9:] = a[2, 9:]  # nine differ: enumerated
    b[3, :5] = np.nan
    together = statistics.randomisation_test(a, b)
    for row, result in enumerate(together):
        alone = randomisation_test(a[row], b[row])
        assert result.exact is alone.exact is (row in (1, 2))
        assert result.difference == pytest.approx(alone.difference)
        assert result.p == pytest.approx(alone.p, abs=0.02)
    assert together[2].p == pytest.approx(by_enumeration((b - a)[2, :9])[0])
    assert statistics.randomisation_test(a[:0], b[:0]) == []


def test_drawn_medians_are_those_of_drawn_samples():
    """For an odd and an even number of queries, in distribution."""
    rng = np.random.default_rng(9)
    for n in (15, 16):
        values = rng.integers(1, 40, n).astype(float)
        plain = np.median(values[rng.integers(0, n, (20_000, n))], axis=1)
        ours = statistics._drawn_medians(values, 20_000, seed=1)
        assert set(ours) <= set(plain) | {(x + y) / 2 for x in values for y in values}
        grid = np.unique(plain)
        for level in grid:
            assert (ours <= level).mean() == pytest.approx((plain <= level).mean(), abs=0.02)


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = holm(np.array([np.nan, 0.5, 0.9]))
    assert np.isnan(adjusted[0])
    assert adjusted[1:].tolist() == [1, 1]
    assert holm(np.zeros(0)).tolist() == []


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="of the same queries"):
        randomisation_test(np.ones(2), np.ones(3))
    with pytest.raises(UsageError, match="of the same queries"):
        statistics.randomisation_test(np.ones(2), np.ones(2))
    with pytest.raises(UsageError, match="infinite"):
        randomisation_test(np.array([np.inf]), np.array([1.0]))
    with pytest.raises(UsageError, match="measures, queries"):
        bootstrap(np.ones(3))
    with pytest.raises(UsageError, match="between 0 and 1"):
        bootstrap(np.ones((1, 3)), confidence=95)
