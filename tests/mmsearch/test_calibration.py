"""What a score is worth: the fit, the correction for size, hubness, and the rate of false alarms that is promised."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gumbel_r

from mmsearch.calibration import OFFSET, Hubs, Null, centred, confidence, fit, hubness, stretch

DIM = 48


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def a_null(**changes):
    return Null(**({"location": 0.3, "scale": 0.02, "mean": 0.1, "least": 0.05, "rest": 0.0, "size": 1000} | changes))


# --- the fit ---


@pytest.mark.parametrize(("location", "scale"), [(0.25, 0.03), (-0.4, 0.005), (2.0, 0.5)])
@pytest.mark.parametrize("stretched", [False, True])
def test_the_fit_finds_the_parameters_that_samples_were_drawn_with(location, scale, stretched):
    drawn = gumbel_r(location, scale).rvs(20_000, random_state=np.random.default_rng(3))
    null = fit(drawn, size=500, mean=0.1, least=0.0, rest=0.0, stretched=stretched)
    assert null.location == pytest.approx(location, abs=0.03 * scale)
    assert null.scale == pytest.approx(scale, rel=0.03)
    assert (null.size, null.mean, null.least, null.stretched) == (500, 0.1, 0.0, stretched)


def test_the_fit_is_not_moved_by_queries_that_do_match_something():
    rng = np.random.default_rng(5)
    drawn = gumbel_r(0.3, 0.02).rvs(4000, random_state=rng)
    drawn[:160] = rng.uniform(0.6, 0.9, 160)  # 4 in 100, far above
    null = fit(drawn, size=500, mean=0.1, least=0.0, rest=0.0)
    assert 0.001 < gumbel_r(0.3, 0.02).sf(null.location + OFFSET * null.scale) < 0.012


@given(st.floats(-2, 2), st.floats(0.1, 10))
def test_the_fit_moves_and_grows_with_the_scores(shift, factor):
    drawn = gumbel_r(0.3, 0.05).rvs(200, random_state=np.random.default_rng(0))
    before = fit(drawn, size=10, mean=0, least=0, rest=0)
    after = fit(drawn * factor + shift, size=10, mean=0, least=0, rest=0)
    assert after.location == pytest.approx(before.location * factor + shift, abs=1e-9)
    assert after.scale == pytest.approx(before.scale * factor)


def test_a_fit_needs_scores_to_go_by():
    assert fit(np.linspace(0, 1, 7), size=5, mean=0, least=0, rest=0) is None
    assert fit(np.full(100, -np.inf), size=5, mean=0, least=0, rest=0) is None
    assert fit(np.array([np.nan] * 50 + [0.1] * 7), size=5, mean=0, least=0, rest=0) is None
    assert fit(np.linspace(0, 1, 8), size=0, mean=0, least=0, rest=0) is None
    flat = fit(np.full(50, 0.5), size=5, mean=0, least=0, rest=0)
    assert (flat.location, flat.scale) == (pytest.approx(0.5), 1e-3)


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": -1.0}, {"location": math.nan}, {"size": 0}])
def test_what_is_no_distribution_is_refused(wrong):
    with pytest.raises(ValueError, match="Gumbel"):
        a_null(**wrong)


# --- size ---


@pytest.mark.parametrize("size", [20, 200, 5000])
def test_another_size_is_what_simulation_finds(size):
    """The best of n draws from a Gumbel distribution is Gumbel again, its location moved by scale * ln(n)."""
    rng = np.random.default_rng(11)
    parent = gumbel_r(0.0, 0.04)
    known = fit(parent.rvs((4000, 500), random_state=rng).max(axis=1), size=500, mean=0, least=0, rest=0).among(size)
    best = np.array([parent.rvs(size, random_state=rng).max() for _ in range(4000)])
    simulated = fit(best, size=size, mean=0, least=0, rest=0)
    assert known.size == size
    assert known.location == pytest.approx(simulated.location, abs=0.3 * known.scale)
    assert (best > known.location + OFFSET * known.scale).mean() == pytest.approx(0.01, abs=0.006)


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_there_and_back_again(size, other):
    null = a_null(size=size)
    back = null.among(other).among(size)
    assert back.location == pytest.approx(null.location)
    assert (null.among(other).location >= null.location) == (other >= size)
    assert null.among(0).size == 1


# --- excess and confidence ---


def test_excess_counts_in_units_of_the_scale():
    null = a_null()
    np.testing.assert_allclose(null.excess(np.array([0.3, 0.32, 0.28])), [0, 1, -1], atol=1e-9)
    np.testing.assert_allclose(null.excess(np.array([0.3, 0.32]), channels=3), [-math.log(3), 1 - math.log(3)])
    assert null.excess(np.float32([[0.3]])).dtype == np.float64


def test_several_channels_have_as_many_chances():
    """The best of three equal channels, corrected, is above the offset as often as the best of one."""
    rng = np.random.default_rng(2)
    null = a_null()
    best = gumbel_r(null.location, null.scale).rvs((40_000, 3), random_state=rng).max(axis=1)
    assert (null.excess(best, channels=3) > OFFSET).mean() == pytest.approx(0.01, abs=0.002)


def test_a_confidence_of_one_half_is_what_one_background_query_in_a_hundred_reaches():
    assert gumbel_r.sf(OFFSET) == pytest.approx(0.01)
    assert confidence(OFFSET) == pytest.approx(0.5)
    rising = confidence(np.linspace(-1000, 1000, 999))
    assert (np.diff(rising) >= 0).all()
    assert rising[0] > 0
    assert rising[-1] <= 1
    odds = confidence(3.0) / (1 - confidence(3.0))
    assert np.log(odds) == pytest.approx(3.0 - OFFSET)


# --- what is done to scores ---


def test_stretching_keeps_the_order_and_pulls_the_top_apart():
    cosines = np.linspace(-1, 1, 401)
    z = stretch(cosines)
    assert (np.diff(z) > 0).all()
    assert np.isfinite(z).all()
    assert z[-1] == pytest.approx(np.arctanh(0.9999))
    assert stretch(np.array(1.2)) == z[-1]  # rounding may leave a cosine above 1
    np.testing.assert_allclose(np.tanh(stretch(cosines[1:-1])), cosines[1:-1])
    assert np.isnan(stretch(np.array([np.nan])))[0]


@pytest.mark.parametrize("stretched", [False, True])
@pytest.mark.parametrize(
    ("k", "alpha", "queries"), [(5, 0.75, 40), (128, 0.75, 40), (1, 0.5, 3), (128, 1.0, 300), (4, 0.75, 1)]
)
def test_hubness_is_its_definition(k, alpha, queries, stretched):
    rng = np.random.default_rng(7)
    vectors, bank = unit(rng.normal(size=(30, DIM)) + 0.3), unit(rng.normal(size=(queries, DIM)) + 0.3)
    got = hubness(vectors, bank, k=k, alpha=alpha, stretched=stretched)
    for vector, value in zip(vectors, got, strict=True):
        cosines = sorted((float(np.dot(vector.astype(float), query.astype(float))) for query in bank), reverse=True)
        nearest = cosines[: max(1, min(k, queries // 2))]
        if stretched:
            nearest = [math.atanh(max(-0.9999, min(0.9999, cosine))) for cosine in nearest]
        assert value == pytest.approx(alpha * sum(nearest) / len(nearest), abs=1e-5)
    assert got.dtype == np.float64


def test_an_item_that_is_near_to_everything_is_lowered_most():
    rng = np.random.default_rng(1)
    bank = unit(rng.normal(size=(200, DIM)) + 0.5)
    hub = unit(bank.mean(axis=0, keepdims=True))
    far = unit(rng.normal(size=(20, DIM)) - 0.5)
    values = hubness(np.concatenate([far, hub]), bank)
    assert values.argmax() == 20
    assert values[-1] > values[:-1].max() + 0.2


def test_centring_takes_off_what_all_share():
    rng = np.random.default_rng(4)
    vectors = unit(rng.normal(size=(500, DIM)) + 2.0)
    moved = centred(vectors, vectors.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)
    assert (vectors @ vectors.T).mean() > 0.7
    assert abs((moved @ moved.T).mean()) < 0.02
    np.testing.assert_array_equal(centred(vectors[:1], vectors[0]), np.zeros((1, DIM)))


# --- the promise: one false alarm in a hundred queries whose subject is absent ---


class World:
    """Queries and items that have nothing to do with one another, but share a direction, as towers' outputs do."""

    def __init__(self, seed, *, shared=0.6, spread=0.2):
        self.rng = np.random.default_rng(seed)
        self.query_mean, self.item_mean = self.rng.normal(size=(2, DIM)) * shared
        self.axes = np.exp(self.rng.normal(size=DIM) * spread)  # some dimensions are busier

    def queries(self, count):
        return unit(self.rng.normal(size=(count, DIM)) * self.axes + self.query_mean)

    def items(self, count):
        popular = self.rng.normal(size=(count, 1)) * 0.5  # some items are nearer to all queries
        return unit(self.rng.normal(size=(count, DIM)) * self.axes + self.item_mean + popular * self.query_mean)


def best_of(queries, items, bank, alpha):
    hubs = hubness(items, bank, alpha=alpha) if alpha else np.zeros(len(items))
    return (items @ queries.T - hubs[:, None]).max(axis=0), hubs


@pytest.mark.parametrize("size", [30, 300, 3000, 20_000])
@pytest.mark.parametrize("alpha", [0.75, 0.0])
def test_one_false_alarm_in_a_hundred(size, alpha):
    alarms = []
    for seed in range(3):
        world = World(seed)
        items, bank = world.items(size), world.queries(400)
        best, hubs = best_of(bank, items, bank, alpha)
        null = fit(best, size=size, mean=0, least=float(hubs.min()), rest=0.0)
        asked, _ = best_of(world.queries(2000), items, bank, alpha)
        alarms.append((null.excess(asked) > OFFSET).mean())
    # Without the correction, a few popular items are the best for most queries, and the tail is lighter.
    assert (0.001 if alpha else 0) < np.mean(alarms) < 0.025


@pytest.mark.parametrize("factor", [0.1, 0.5, 2])
def test_it_holds_for_a_part_of_the_library_and_for_one_that_grew(factor):
    alarms = []
    for seed in range(4):
        world = World(seed)
        items, bank = world.items(4000), world.queries(400)
        best, hubs = best_of(bank, items, bank, 0.75)
        null = fit(best, size=4000, mean=0, least=float(hubs.min()), rest=0.0)
        others = world.items(int(4000 * factor))
        asked, _ = best_of(world.queries(2000), others, bank, 0.75)
        alarms.append((null.among(len(others)).excess(asked) > OFFSET).mean())
    assert np.mean(alarms) < 0.03


def test_hubness_keeps_more_true_matches_at_the_same_rate_of_false_alarms():
    kept = {}
    for alpha in (0.0, 0.75):
        shares = []
        for seed in range(3):
            world = World(seed, shared=1.0)
            items, bank = world.items(2000), world.queries(400)
            best, hubs = best_of(bank, items, bank, alpha)
            null = fit(best, size=2000, mean=0, least=0, rest=0)
            subjects = world.rng.choice(2000, 400, replace=False)
            matching = unit(world.queries(400) + 0.6 * items[subjects])
            scores = (matching * items[subjects]).sum(axis=1) - hubs[subjects]
            shares.append((null.excess(scores) > OFFSET).mean())
        kept[alpha] = np.mean(shares)
    assert kept[0.75] > kept[0.0] + 0.05


def test_what_is_kept_of_vectors_may_be_replaced_by_another_thread_at_any_time():
    """By what is shorter, too: it saw fewer of them."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 6)).astype(np.float32)

    class Shared(Hubs):
        """Another thread puts its own in place, each time that something was put there."""

        @property
        def _kept(self):
            return self.held

        @_kept.setter
        def _kept(self, value):
            self.held = value if not len(value) else np.full((3, 2), np.nan, np.float32)

    hubs = Shared(vectors[:8])
    for ids in (np.array([1, 2]), np.array([5, 39]), np.array([7])):
        assert hubs.of(ids, lambda at, ids=ids: vectors[ids[at]]) == pytest.approx(hubness(vectors[ids], vectors[:8]))
        assert hubs.linear(ids, lambda at, ids=ids: vectors[ids[at]]) == pytest.approx(vectors[ids] @ hubs.lean)


@pytest.mark.parametrize("count", [1, 4096, 9000])
def test_many_vectors_are_held_against_a_bank_a_few_at_a_time(count):
    rng = np.random.default_rng(0)
    vectors, asked = rng.normal(size=(count, 6)).astype(np.float32), []

    def of(at):
        asked.append(len(at))
        return vectors[at]

    hubs, ids = Hubs(vectors[:1].repeat(3, axis=0)), np.arange(1, count + 1)
    assert hubs.of(ids, of) == pytest.approx(hubness(vectors, hubs.bank), abs=1e-6)
    assert hubs.linear(ids, of) == pytest.approx(vectors @ hubs.lean, abs=1e-6)
    assert sum(asked) == count
    assert max(asked) <= 4096
