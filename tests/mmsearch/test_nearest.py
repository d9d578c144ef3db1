"""The nearest segments by what ranks them: the same as when all are looked at, and without looking at all."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mmsearch.nearest
from mmsearch import Query
from mmsearch.background import _least
from mmsearch.calibration import Background, Hubs, Null, hubness, stretch
from mmsearch.nearest import line_above, nearest
from mmsearch.plan import Plan, Route
from mmsearch.readings import Approach

DIM = 24
LOCATION, SCALE = 0.3, 0.04


def normal(rows):
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


class Shelf:
    """Channels of vectors, searched by NumPy. `fetched`: how many segments each search gave."""

    def __init__(self, channels, per_content=1):
        self.channels, self.fetched = channels, []
        starts = np.cumsum([0, *map(len, channels.values())])
        self.firsts = dict(zip(channels, (starts[:-1] + 1).tolist(), strict=True))
        self.contents = np.arange(starts[-1] + 1) // per_content + 1
        self.store = self

    def search(self, channel, queries, k, *, allowed, exact):
        scores = self.channels[channel] @ queries[0]
        if allowed is not None:
            there = np.zeros(len(scores), bool)
            there[allowed - self.firsts[channel]] = True
            scores = np.where(there, scores, -np.inf)
        best = np.argsort(-scores, kind="stable")[: min(k, int(np.isfinite(scores).sum()))]
        self.fetched.append(len(best))
        return scores[best][None], (best + self.firsts[channel])[None]

    def index(self, channel):
        return SimpleNamespace(vectors_of=lambda ids: self.channels[channel][ids - self.firsts[channel]])


@pytest.fixture(autouse=True)
def contents(monkeypatch):
    monkeypatch.setattr(mmsearch.nearest, "contents_of", lambda store, ids: store.contents[ids])


def background_of(vectors, bank, *, stretched, lean):
    hubs = Hubs(bank, stretched=stretched)
    hubs.lean *= lean
    least, rest = _least(vectors, hubness(vectors, bank, stretched=stretched), hubs.lean)
    return Background(Null(LOCATION, SCALE, 0.0, least, rest, len(vectors), stretched), hubs)


def plan_of(shelf, query, bank, *, stretched, allowed=None, lean=True):
    approach = Approach(query, 1.0, "image" if stretched else "text")
    routes = {
        channel: Route(
            (approach,),
            (),
            (background_of(vectors, bank, stretched=stretched, lean=lean),),
            (),
            query,
            (allowed or {}).get(channel),
        )
        for channel, vectors in shelf.channels.items()
    }
    return Plan(Query.of_text("x"), (1.0,), (), "sum", routes, calibrated=True)


def by_hand(shelf, plan, query, bank, *, stretched):
    """What ranks each content: that of its best segment."""
    best = {}
    for channel, vectors in shelf.channels.items():
        cosines = vectors.astype(float) @ query
        scores = (stretch(cosines) if stretched else cosines) - hubness(vectors, bank, stretched=stretched)
        keys = (scores - LOCATION) / SCALE - np.log(len(shelf.channels))
        allowed = plan.routes[channel].allowed
        for at, key in enumerate(keys.tolist()):
            id = at + shelf.firsts[channel]
            if allowed is None or id in allowed:
                content = int(shelf.contents[id])
                best[content] = max(best.get(content, -np.inf), key)
    return best


def check(shelf, plan, query, bank, count, *, stretched):
    found, keys, unseen = nearest(shelf, plan, count, lambda: None)
    expected = by_hand(shelf, plan, query, bank, stretched=stretched)
    order = sorted(expected, key=lambda content: -expected[content])
    last = expected[order[min(count, len(order)) - 1]]
    assert {content for content in order if expected[content] > last + 1e-2} <= set(found)
    assert len(found) >= min(count, len(order))
    assert all(expected[content] >= last - 1e-2 for content in found)
    for content, key in keys.items():
        assert key <= expected[content] + 1e-2
    for content in set(expected) - set(keys):
        assert expected[content] <= unseen + 1e-2
    return found


@st.composite
def shelves(draw):
    """Vectors of one or two channels around few directions, some of which lie opposite to others; and a query."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    together, noise = draw(st.sampled_from([0.0, 0.5, 2.0])), draw(st.sampled_from([0.05, 0.5, 2.0]))
    middle = rng.normal(size=DIM)

    def drawn(count):
        return normal(
            together * middle
            + rng.normal(size=(6, DIM))[rng.integers(0, 6, count)]
            + noise * rng.normal(size=(count, DIM))
        )

    channels = {name: drawn(draw(st.integers(1, 900))) for name in ["visual", "text"][: draw(st.integers(1, 2))]}
    query = channels["visual"][0] if draw(st.booleans()) else drawn(1)[0]
    bank = drawn(40) if draw(st.booleans()) else channels["visual"][:40]
    return Shelf(channels, draw(st.sampled_from([1, 7]))), query, bank, rng


@settings(max_examples=150, deadline=None)
@given(shelves(), st.booleans(), st.integers(1, 12), st.sampled_from([None, 0.5, 0.02]))
def test_the_nearest_are_those_that_rank_highest_of_all(made, stretched, count, share):
    shelf, query, bank, rng = made
    allowed = {}
    if share is not None:
        for channel, vectors in shelf.channels.items():
            some = np.flatnonzero(rng.random(len(vectors)) < share)
            allowed[channel] = (some if len(some) else np.array([0])) + shelf.firsts[channel]
    plan = plan_of(shelf, query, bank, stretched=stretched, allowed=allowed)
    check(shelf, plan, query, bank, count, stretched=stretched)


@pytest.mark.parametrize("stretched", [False, True])
def test_few_are_looked_at_where_some_vectors_are_near_to_all(stretched):
    """As pictures are of a library: they share a direction, and lie more or less along it."""
    rng = np.random.default_rng(0)
    middle = normal(rng.normal(size=(1, 256)))
    along = 0.2 + 0.5 * rng.random((20_000, 1))
    vectors = normal(along * middle + np.sqrt(1 - along**2) * normal(rng.normal(size=(20_000, 256))))
    bank, query = vectors[1000:1200], normal(vectors[77] + 0.7 * normal(rng.normal(size=256)))
    shelf = Shelf({"visual": vectors})
    found = check(shelf, plan_of(shelf, query, bank, stretched=stretched), query, bank, 5, stretched=stretched)
    assert found[0] == shelf.contents[78]
    assert sum(shelf.fetched) <= 300
    shelf.fetched.clear()
    plan = plan_of(shelf, query, bank, stretched=stretched, lean=False)
    assert check(shelf, plan, query, bank, 5, stretched=stretched) == found
    assert sum(shelf.fetched) > 5000  # what it took with nothing but the least hubness to go by


@pytest.mark.parametrize("stretched", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_one_that_is_near_to_no_other_is_found_behind_many_that_are_nearer(stretched, seed):
    """It scores less than thousands that score as much against the whole bank."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(64, 64)))[0]
    alone, middle, others = basis[0], basis[1], basis[2:]
    crowd = normal(0.75 * alone + 0.9 * middle + 0.05 * rng.normal(size=(4000, 64)))
    needles = normal(0.5 * alone - 0.1 * middle + 0.8 * others[:3])
    bank = normal(0.2 * alone + middle + 0.05 * rng.normal(size=(60, 64)))
    query = normal(alone + 0.1 * middle)
    vectors = np.concatenate([crowd[:2000], needles, crowd[2000:]])
    shelf = Shelf({"visual": vectors})
    plan = plan_of(shelf, query, bank, stretched=stretched)
    assert np.sort(vectors @ query)[-2000] > max(needles @ query)
    found = check(shelf, plan, query, bank, 3, stretched=stretched)
    assert set(found) == set(shelf.contents[2001:2004].tolist())


@given(st.floats(-0.9999, 0.9999), st.floats(-0.9999, 0.9999))
def test_the_stretch_lies_below_its_line_and_touches_it(one, other):
    low, high = sorted((one, other))
    assume(high - low > 1e-6)
    slope, above = line_above(low, high)
    over = slope * np.linspace(low, high, 1001) + above - np.arctanh(np.linspace(low, high, 1001))
    assert over.min() >= -1e-9
    assert over.min() <= 1e-3


def test_without_calibration_the_highest_cosines_are_the_best():
    rng = np.random.default_rng(1)
    shelf = Shelf({"visual": normal(rng.normal(size=(3000, DIM)))}, per_content=400)
    query = shelf.channels["visual"][5]
    route = Route((Approach(query, 1.0, "text"),), (), (None,), (), query, None)
    plan = Plan(Query.of_text("x"), (1.0,), (), "sum", {"visual": route}, calibrated=False)
    found, keys, unseen = nearest(shelf, plan, 3, lambda: None)
    expected = np.full(10, -np.inf)
    np.maximum.at(expected, shelf.contents[1:], shelf.channels["visual"] @ query)
    assert found == np.argsort(-expected)[:3].tolist()
    assert all(keys[content] == pytest.approx(expected[content], abs=1e-6) for content in found)
    assert unseen < keys[found[-1]]


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_channel_that_is_emptied_during_a_search_ends_it(rounds):
    calls = []

    class Emptied:
        store = SimpleNamespace(contents=np.ones(10**6, np.int64))

        def search(self, channel, vectors, depth, allowed=None, exact=False):
            calls.append(depth)
            assert len(calls) <= rounds + 1, "it is asked for ever"
            count = depth if len(calls) <= rounds else 0
            return np.zeros((1, count), np.float32), np.arange(1, count + 1)[None]

    query = np.ones(3, np.float32)
    route = Route((Approach(query, 1.0, "text"),), (), (None,), (), query, None)
    plan = Plan(Query.of_text("x"), (1.0,), (), "sum", {"visual": route}, calibrated=False)
    assert nearest(Emptied(), plan, 10, lambda: None) == ([], {}, -np.inf)
    assert len(calls) == rounds + 1
