"""An index with a base: recall on queries that lie beside it, changes, files. Held against NumPy."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.ann import IndexFileError, Policy, Settings, Stamp, VectorIndex, gpu, sweep
from indexer.ann.chosen import Chosen
from indexer.ann.codes import lists_of_rows
from indexer.ann.rows import RowsOfIds
from indexer.ann.threads import MANY
from indexer.halves import scales_of, unit_of

STAMP = Stamp(library_id="lib", generation_id=1, channel="visual", dim=32, last_id=300, removals=0)
FEW = Policy(exact_components=20_000, few_lists=8, tail=300)  # all lists are probed
MANY_LISTS = replace(FEW, few=1000)  # some of them


def gap(n, dim=32, queries=200, seed=0):
    """Vectors like pictures in clusters, and queries like texts: beside all of them, near some. (n, dim) float16."""
    rng = np.random.default_rng(seed)

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    pictures, texts = unit(rng.normal(size=(2, dim)))
    centres = rng.normal(size=(40, dim)) / np.sqrt(dim)
    noise = rng.normal(size=(n + queries, dim)) / np.sqrt(dim)
    cluster = rng.integers(0, 40, n + queries)
    vectors = unit(pictures + 0.8 * centres[cluster[:n]] + 0.6 * noise[:n])
    asked = unit(1.3 * texts + 0.5 * centres[cluster[n:]] + 0.6 * noise[n:])
    return vectors.astype(np.float16), asked.astype(np.float32)


BUILT = {}


@pytest.fixture(scope="module", autouse=True)
def built(tmp_path_factory):
    """A folder for what is built once and used by several tests."""
    BUILT["folder"] = tmp_path_factory.mktemp("built")
    yield
    BUILT.clear()


def made(policy, n=4000, dim=32, texts=True):
    """An index with a base, its ids and vectors, and queries that it was not calibrated by."""
    vectors, queries = gap(n, dim)
    ids = np.arange(n) * 2 + 5
    key = (policy, n, dim, texts)
    if key not in BUILT:
        index = VectorIndex(dim, policy)
        index.add(ids, vectors)
        index.settle(queries[100:] if texts else None)
        BUILT[key] = BUILT["folder"] / f"{len(BUILT)}.faiss"
        index.save(BUILT[key], replace(STAMP, dim=dim))
    return VectorIndex.load(BUILT[key], policy)[0], ids, vectors, queries[:100]


def brute_force(queries, ids, vectors, k):
    scores = queries @ unit_of(vectors).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), ids[order]


def recall(found, wanted):
    return np.mean([np.isin(want, have).mean() for want, have in zip(wanted, found, strict=True)])


def true_scores(scores, found, queries, ids, vectors):
    """Whether each score is the inner product of the query and the vector with that id."""
    rows = np.searchsorted(ids, found)
    products = np.einsum("qd,qkd->qk", queries, unit_of(vectors)[rows])
    np.testing.assert_allclose(scores, products, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", [FEW, MANY_LISTS])
@pytest.mark.parametrize("texts", [True, False])
def test_text_and_picture_queries_find_what_numpy_finds(policy, texts):
    index, ids, vectors, queries = made(policy, texts=texts)
    assert index.facts.structure == ("IVF8,PQ16x4fs" if policy is FEW else "IVF128,PQ16x4fs")
    assert index.facts.settings.asked == ("texts" if texts else "own vectors")
    assert index.facts.settings.depth(10) * 8 < len(index), "it would be scanned"
    pictures = unit_of(vectors[::40]) + np.random.default_rng(1).normal(0, 0.03, (100, 32)).astype(np.float32)
    for asked in (queries, np.ascontiguousarray(pictures, np.float32)):
        for k in (1, 10, 50):
            scores, found = index.search(asked, k)
            assert found.shape == (100, k)
            assert recall(found, brute_force(asked, ids, vectors, k)[1]) >= 0.97
            assert (np.diff(scores, axis=1) <= 0).all()
            true_scores(scores, found, asked, ids, vectors)


def test_calibration_pays_for_texts():
    """By the settings that pictures need, texts would find less: this is why texts are asked."""
    index, ids, vectors, queries = made(replace(MANY_LISTS, recall=0.95))
    low = index.facts.settings
    index.policy = MANY_LISTS
    index.settle(gap(4000)[1][100:])
    high = index.facts.settings
    assert (low.target, high.target) == (0.95, 0.99)
    assert all(a >= b for a, b in zip(high.probes, low.probes, strict=True))
    assert all(a >= b for a, b in zip(high.depths, low.depths, strict=True))
    assert recall(index.search(queries, 10)[1], brute_force(queries, ids, vectors, 10)[1]) >= 0.98


def test_exact_is_exact_and_any_k_is_answered():
    index, ids, vectors, queries = made(MANY_LISTS)
    queries = queries[:5]
    index.add(np.array([1, 2]), vectors[:2])
    ids, vectors = np.append(ids, [1, 2]), np.append(vectors, vectors[:2], axis=0)
    for k, exact in ((10, True), (1500, True), (3000, False), (4002, False), (9999, False)):
        scores, found = index.search(queries, k, exact=exact)
        want_scores, want = brute_force(queries, ids, vectors, k)
        np.testing.assert_allclose(scores, want_scores, rtol=1e-5, atol=1e-6)
        assert [set(row) for row in found.tolist()] == [set(row) for row in want.tolist()]
        assert found.shape == (5, min(k, 4002))


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_a_filter_misses_nothing_and_returns_as_many_as_there_are(share):
    index, ids, vectors, queries = made(MANY_LISTS)
    rng = np.random.default_rng(2)
    allowed = rng.choice(ids, round(len(ids) * share), replace=False)
    chosen = np.isin(ids, allowed)
    for _ in range(2):  # the second time from what is kept of the filter
        for k in (10, 100):
            scores, found = index.search(queries, k, allowed=np.append(allowed, 10**12))
            assert found.shape == (100, min(k, len(allowed)))
            assert np.isin(found, allowed).all()
            assert recall(found, brute_force(queries, ids[chosen], vectors[chosen], k)[1]) >= 0.98
            true_scores(scores, found, queries, ids, vectors)
    same = index.search(queries, 10, allowed=allowed)[1]
    np.testing.assert_array_equal(same, index.search(queries, 10, allowed=allowed)[1])
    index.remove(same[0][:5])  # what is kept of a filter does not outlive a change
    assert not np.isin(index.search(queries, 10, allowed=allowed)[1], same[0][:5]).any()


def test_under_a_filter_as_many_of_its_vectors_are_looked_at_as_of_all_without_one(monkeypatch):
    """What is left of the nearest lies further away, and perhaps in few of the lists."""
    index, ids, _, queries = made(MANY_LISTS)
    base = index._base
    monkeypatch.setattr("indexer.ann.base._SMALL", 0)  # vectors and candidates up to which all are compared
    monkeypatch.setattr("indexer.ann.base._SHALLOWEST", 1)
    settings, lists, asked = index._settings, base.structure.lists, []
    candidates = base.candidates
    monkeypatch.setattr(
        base,
        "candidates",
        lambda queries, depth, probes, chosen: asked.append(probes) or candidates(queries, depth, probes, chosen),
    )
    in_list = lists_of_rows(base._index, len(ids))
    assert np.bincount(in_list, minlength=lists).tolist() == [base._index.get_list_size(at) for at in range(lists)]
    usual = settings.lists(1)
    for mask in (
        *(np.arange(len(ids)) % 100 < 100 * share for share in (0.75, 0.5, 0.4)),
        in_list % 3 == 0,  # whole lists
    ):
        for query in queries[:10]:
            asked.clear()
            base.search(query[None], 1, Chosen(mask), settings)
            order = base._index.quantizer.search(query[None], lists)[1][0]
            held = np.cumsum([np.count_nonzero(mask & (in_list == at)) for at in order])
            enough = min(usual * len(ids) / lists, np.count_nonzero(mask))
            needed = int(np.argmax(held >= enough)) + 1
            assert needed <= asked[0] <= min(1.19 * needed + 1, lists)
    asked.clear()
    base.search(queries[:10], 1, None, settings)
    assert asked == [min(usual, lists)]


def test_a_filter_whose_vectors_are_in_lists_that_are_not_probed():
    index, ids, vectors, queries = made(MANY_LISTS)
    order = np.argsort(unit_of(vectors) @ queries[0])
    allowed = ids[order[:1100]]  # those farthest from the query
    _, found = index.search(queries[:1], 50, allowed=allowed)
    assert found.shape == (1, 50)
    chosen = np.isin(ids, allowed)
    assert recall(found, brute_force(queries[:1], ids[chosen], vectors[chosen], 50)[1]) >= 0.8


def test_answers_do_not_hang_on_how_many_are_asked_at_once():
    index, _, _, queries = made(MANY_LISTS)
    scores, found = index.search(queries[: 2 * MANY + 3], 10)
    for at in range(2 * MANY + 3):
        one_score, one = index.search(queries[at : at + 1], 10)
        np.testing.assert_array_equal(one[0], found[at])
        np.testing.assert_array_equal(one_score[0], scores[at])


def test_nor_do_they_under_a_filter():
    index, ids, _, queries = made(MANY_LISTS)
    allowed = ids[np.arange(len(ids)) % 3 == 0]
    scores, found = index.search(queries[: 2 * MANY], 1, allowed=allowed)
    for at in range(2 * MANY):
        one_score, one = index.search(queries[at : at + 1], 1, allowed=allowed)
        np.testing.assert_array_equal(one[0], found[at])
        np.testing.assert_array_equal(one_score[0], scores[at])


def test_equal_vectors_come_in_the_order_of_their_ids_wherever_they_lie():
    index, _, vectors, _ = made(FEW)
    index.add(np.array([4, 2]), vectors[[7, 7]])  # in the tail; that of the base has the id 19
    scores, found = index.search(unit_of(vectors[7:8]), 3)
    assert found.tolist() == [[2, 4, 19]]
    assert len(set(scores[0].tolist())) == 1


@pytest.mark.parametrize("dim", [2, 9, 30, 64])
def test_any_length_of_vectors(dim):
    index, ids, vectors, queries = made(replace(FEW, exact_components=100), n=1500, dim=dim)
    assert index.facts.structure != "exact"
    assert recall(index.search(queries, 10)[1], brute_force(queries, ids, vectors, 10)[1]) >= 0.97


def test_removed_vectors_are_not_found_and_new_ones_are_at_once():
    index, ids, vectors, queries = made(MANY_LISTS)
    gone = ids[::3]
    assert index.remove(np.append(gone, [10**12])) == len(gone)
    assert index.remove(gone) == 0
    kept = ~np.isin(ids, gone)
    assert len(index) == kept.sum()
    np.testing.assert_array_equal(np.sort(index.ids), ids[kept])
    _, found = index.search(queries, 10)
    assert not np.isin(found, gone).any()
    assert recall(found, brute_force(queries, ids[kept], vectors[kept], 10)[1]) >= 0.97
    index.add(np.array([1]), queries[:1].astype(np.float16))
    assert index.search(queries[:1], 1)[1].tolist() == [[1]]


def test_vectors_come_back_as_they_went_in():
    index, ids, vectors, _ = made(FEW)
    index.add(np.array([2, 1]), vectors[:2])
    index.remove(ids[10:20])
    some = np.array([1, ids[3], 2, ids[3999]])
    np.testing.assert_array_equal(index.halves_of(some), vectors[[1, 3, 0, 3999]])
    np.testing.assert_allclose(index.vectors_of(some), unit_of(vectors[[1, 3, 0, 3999]]), rtol=1e-6)
    np.testing.assert_array_equal(index.vectors_of(np.array([10**12])), np.zeros((1, 32)))
    whole = np.append(np.delete(vectors, np.arange(10, 20), axis=0), vectors[:2], axis=0)
    np.testing.assert_array_equal(index.halves(), whole)
    for start, count in ((0, 5), (5, 10), (3980, 5), (3988, 4), (3991, 99), (5000, 3)):
        np.testing.assert_array_equal(index.halves(start, count), whole[start : start + count])
        assert index.vectors(start, count).dtype == np.float32


def test_damaged_vectors_hurt_no_others():
    vectors, queries = gap(4000)
    vectors[5] = np.nan
    vectors[6] = np.inf
    vectors[7] = 0
    index = VectorIndex(32, FEW)
    index.add(np.arange(4000), vectors)
    small = VectorIndex(32)
    small.add(np.arange(20), vectors[:20])
    index.settle(queries[100:])
    sound = np.delete(np.arange(4000), [5, 6, 7])
    found = index.search(queries[:50], 10)[1]
    assert recall(found, brute_force(queries[:50], sound, vectors[sound], 10)[1]) >= 0.97
    for k in (10, 20):
        scores, found = small.search(queries[:3], k)
        assert np.isfinite(scores).all()
        assert (found >= 0).all()


def test_a_gpu_finds_what_the_processor_does(monkeypatch):
    """The index of a GPU is stood in for by FAISS's own of the processor: what is tested is what we do around it."""
    import faiss

    index, ids, vectors, queries = made(FEW)
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu, "_flat", lambda dim, size: faiss.IndexFlatIP(dim))
    index.remove(ids[:100])
    scores, found = index.search(queries, 10)
    want_scores, want = brute_force(queries, ids[100:], vectors[100:], 10)
    np.testing.assert_array_equal(found, want)
    np.testing.assert_allclose(scores, want_scores, rtol=1e-5)
    allowed = ids[500:2500]
    assert np.isin(index.search(queries, 10, allowed=allowed)[1], allowed).all()
    index, ids, vectors, _ = made(FEW)
    monkeypatch.setattr(gpu, "_flat", lambda dim, size: None)
    assert index.search(queries, 10)[1].shape == (100, 10)


# --- the policy ---


def test_the_policy_is_a_table_by_size():
    policy = Policy()
    for dim in (384, 512, 768, 1024):
        assert policy.structure(5000, dim) is None
        assert policy.structure(100_000, dim).factory == f"IVF64,PQ{dim // 2}x4fs"
    assert policy.structure(1_000_000, 512).factory == "IVF1984,PQ256x4fs"
    assert policy.structure(100_000, 511).dim == 512
    assert policy.structure(100_000, 513).codes == 258


def test_a_structure_stays_until_another_suits_much_better():
    policy = Policy()
    made = policy.structure(200_000, 512)
    assert not policy.needs_training(made, 299_000, 512)
    assert policy.needs_training(made, 301_000, 512), "more lists, of which some are probed"
    large = policy.structure(400_000, 512)
    assert not policy.needs_training(large, 1_500_000, 512)
    assert policy.needs_training(large, 1_700_000, 512), "it grew fourfold"
    limit = policy.exact_components // 512
    assert not policy.needs_training(made, limit - 1, 512)
    assert policy.needs_training(made, limit // 2, 512)


def test_an_index_follows_its_size_up_and_down():
    vectors, queries = gap(4000)
    index = VectorIndex(32, FEW)
    index.add(np.arange(600), vectors[:600])
    index.settle()
    assert index.facts.structure == "exact"
    index.add(np.arange(600, 2000), vectors[600:2000])
    assert not index.is_settled()
    index.settle()
    assert (index.facts.structure, index.facts.scanned) == ("IVF8,PQ16x4fs", 0)
    learned = index.facts.settings
    index.add(np.arange(2000, 2200), vectors[2000:2200])
    assert index.is_settled()
    assert index.facts.scanned == 200
    index.add(np.arange(2200, 2400), vectors[2200:2400])
    index.settle()
    assert index.facts.scanned == 0
    assert index.facts.settings == learned, "a fifth more does not call for other settings"
    index.settle(queries[100:])
    assert index.facts.settings.asked == "texts"
    index.remove(np.arange(600))  # a quarter: the base is written anew without them
    index.settle(queries[100:])
    assert len(index.ids) == index.facts.vectors == 1800
    assert recall(index.search(queries[:50], 10)[1], brute_force(queries[:50], *of(vectors, 600, 2400), 10)[1]) >= 0.97
    index.remove(np.arange(600, 2200))
    index.settle()
    assert (index.facts.structure, index.facts.settings) == ("exact", None)
    np.testing.assert_array_equal(
        index.search(queries[:3], 5)[1], brute_force(queries[:3], *of(vectors, 2200, 2400), 5)[1]
    )


def of(vectors, start, end):
    return np.arange(start, end), vectors[start:end]


def test_what_changes_while_a_base_is_built_is_not_lost():
    vectors, queries = gap(4000)
    index = VectorIndex(32, FEW)
    index.add(np.arange(3000), vectors[:3000])
    build = index.begin()
    index.add(np.arange(3000, 3100), vectors[3000:3100])
    index.remove(np.arange(500))
    built = build.make(None)
    index.add(np.arange(3100, 3200), vectors[3100:3200])
    index.remove(np.arange(3000, 3050))
    index.adopt(built)
    kept = np.concatenate([np.arange(500, 3000), np.arange(3050, 3200)])
    np.testing.assert_array_equal(np.sort(index.ids), kept)
    scores, found = index.search(queries[:9], 20, exact=True)
    want_scores, _ = brute_force(queries[:9], kept, vectors[kept], 20)
    np.testing.assert_allclose(scores, want_scores, rtol=1e-5)
    assert np.isin(found, kept).all()
    np.testing.assert_array_equal(index.halves_of(kept), vectors[kept])


# --- any order of changes ---

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 400)),
        st.tuples(st.just("remove"), st.integers(1, 300)),
        st.tuples(st.just("settle"), st.just(0)),
        st.tuples(st.just("file"), st.just(0)),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(0, 99))
def test_whatever_is_done_in_whatever_order(tmp_path, steps, seed):
    policy = Policy(exact_components=1600, few=500, few_lists=4, tail=60)
    rng = np.random.default_rng(seed)
    index, held, next_id = VectorIndex(8, policy), {}, 1
    path = tmp_path / f"{time.monotonic_ns()}" / "a.faiss"
    for step, count in steps:
        if step == "add":
            vectors = rng.normal(size=(count, 8))
            vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
            ids = np.arange(next_id, next_id + count)
            next_id += count + int(rng.integers(0, 3))
            index.add(ids, vectors)
            held |= dict(zip(ids.tolist(), vectors, strict=True))
        elif step == "remove":
            gone = rng.integers(1, next_id + 5, count)
            assert index.remove(gone) == len(held.keys() & set(gone.tolist()))
            held = {id: vector for id, vector in held.items() if id not in set(gone.tolist())}
        elif step == "settle":
            index.settle()
            assert index.is_settled()
        else:
            index.save(path, replace(STAMP, dim=8))
            index, _ = VectorIndex.load(path, policy, whole=True)
        assert len(index) == len(held)
        ids = np.array(sorted(held), np.int64)
        np.testing.assert_array_equal(np.sort(index.ids), ids)
        if not held:
            continue
        vectors = np.stack([held[id] for id in ids.tolist()])
        np.testing.assert_array_equal(index.halves_of(ids), vectors)
        query = rng.normal(size=(1, 8)).astype(np.float32)
        for exact, k in ((True, 7), (False, len(ids))):
            scores, found = index.search(query, k, exact=exact)
            np.testing.assert_allclose(scores, brute_force(query, ids, vectors, k)[0], rtol=1e-4, atol=1e-5)
            assert set(found[0].tolist()) <= held.keys()
        allowed = rng.choice(ids, max(1, len(ids) // 3), replace=False)
        scores, found = index.search(query, 5, allowed=allowed)
        assert found.shape == (1, min(5, len(allowed)))
        assert np.isin(found, allowed).all()


@given(st.lists(st.integers(-(10**12), 10**12), unique=True, max_size=40), st.lists(st.integers(-50, 50), max_size=20))
def test_rows_of_ids(ids, asked):
    for held in (ids, [id % 97 - 40 for id in range(len(ids))]):
        places = {id: row for row, id in enumerate(held)}
        asked = [*asked, *held]
        found = RowsOfIds(np.array(held, np.int64))(np.array(asked, np.int64))
        assert found.tolist() == [places.get(id, -1) for id in asked]


def test_scales_bring_to_length_1():
    vectors, _ = gap(20_000)
    vectors[3] = 0
    scaled = vectors.astype(np.float32) * scales_of(vectors)[:, None]
    np.testing.assert_allclose(scaled, unit_of(vectors), rtol=1e-6)


# --- files ---


def bases(path):
    return sorted(path.parent.glob("*.base"))


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    index, ids, vectors, queries = made(MANY_LISTS)
    index.add(np.array([1, 2]), vectors[:2])
    index.remove(ids[:100])
    path = tmp_path / "x" / "a.faiss"
    index.save(path, STAMP)
    loaded, stamp = VectorIndex.load(path, MANY_LISTS, whole=True)
    assert stamp == STAMP
    assert loaded.facts == index.facts
    for mine, theirs in zip(index.search(queries, 20), loaded.search(queries, 20), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(loaded.ids, index.ids)
    np.testing.assert_array_equal(loaded.halves(), index.halves())
    (base,) = bases(path)
    assert vectors[100:].astype("<f2").tobytes() in base.read_bytes(), "the rows are the store's, to the bit"
    assert sorted(os.listdir(path.parent)) == sorted(["a.faiss", base.name])


def test_a_little_more_is_saved_without_writing_the_base_again(tmp_path):
    index, ids, vectors, queries = made(FEW)
    path = tmp_path / "a.faiss"
    index.save(path, STAMP)
    (base,) = bases(path)
    written = base.stat().st_mtime_ns
    loaded, _ = VectorIndex.load(path, FEW)
    loaded.add(np.array([1]), queries[:1].astype(np.float16))
    loaded.remove(ids[:50])
    loaded.save(path, STAMP)
    assert (bases(path), base.stat().st_mtime_ns) == ([base], written)
    again, _ = VectorIndex.load(path, FEW)
    assert again.search(queries[:1], 1)[1].tolist() == [[1]]
    assert len(again) == 4000 + 1 - 50
    again.add(np.arange(10**6, 10**6 + 400), vectors[:400])
    again.settle()
    again.save(path, STAMP)
    assert len(bases(path)) == 1
    assert bases(path) != [base], "the one that was merged is gone"
    np.testing.assert_array_equal(  # but not for who has it mapped
        loaded.halves_of(ids[50:]), vectors[50:]
    )
    assert recall(loaded.search(queries, 11)[1], brute_force(queries, ids[50:], vectors[50:], 10)[1]) >= 0.97


@pytest.mark.parametrize("where", ["head", "ids", "scales", "codes", "rows"])
def test_damage_in_a_base_is_noticed(tmp_path, where):
    index, *_ = made(FEW, n=2000)
    path = tmp_path / "a.faiss"
    index.save(path, STAMP)
    (base,) = bases(path)
    whole = base.read_bytes()
    rows = 4096 + 2000 * 32 * 2
    at = {"head": 60, "rows": 5000, "ids": rows + 9, "scales": rows + 8 * 2000 + 9, "codes": len(whole) - 9}[where]
    base.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
    with pytest.raises(IndexFileError):
        VectorIndex.load(path, FEW, whole=True)
    if where != "rows":  # these are not all read to answer a query
        with pytest.raises(IndexFileError):
            VectorIndex.load(path, FEW)
    for length in (0, 100, 4096, rows, len(whole) - 1):
        base.write_bytes(whole[:length])
        with pytest.raises(IndexFileError):
            VectorIndex.load(path, FEW)
    base.unlink()
    with pytest.raises(IndexFileError, match="is not there"):
        VectorIndex.load(path, FEW)


def test_a_base_of_another_index_is_not_believed(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        index = VectorIndex(32, FEW)
        index.add(np.arange(2000), gap(2000, seed=seed)[0])
        index.settle()
        index.save(tmp_path / name / "a.faiss", STAMP)
    (one,), (other,) = bases(tmp_path / "a" / "a.faiss"), bases(tmp_path / "b" / "a.faiss")
    one.write_bytes(other.read_bytes())
    with pytest.raises(IndexFileError, match="is not what"):
        VectorIndex.load(tmp_path / "a" / "a.faiss", FEW)


def test_an_interrupted_save_leaves_what_was(tmp_path, monkeypatch):
    index, ids, vectors, _ = made(FEW)
    path = tmp_path / "a.faiss"
    index.save(path, STAMP)
    changed, _ = VectorIndex.load(path, FEW)
    changed.add(np.arange(10**6, 10**6 + 400), vectors[:400])
    changed.settle()
    for fails_at in (0, 1):
        done = []

        def interrupted(source, target, done=done, fails_at=fails_at, renamed=os.replace):
            if len(done) == fails_at:
                raise KeyboardInterrupt
            done.append(target)
            renamed(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                changed.save(path, STAMP)
        np.testing.assert_array_equal(np.sort(VectorIndex.load(path, FEW, whole=True)[0].ids), ids)
        assert not list(tmp_path.glob("*.tmp"))
    changed.save(path, STAMP)
    assert len(VectorIndex.load(path, FEW)[0]) == 4400


SAVE_FOR_EVER = """
import sys, numpy as np
from pathlib import Path
from indexer.ann import Policy, Stamp, VectorIndex
path, policy = Path(sys.argv[1]), Policy(exact_components=20_000, few_lists=8, tail=300)
stamp = Stamp("lib", 1, "visual", 32, 300, 0)
for number in range(10**6):
    index, _ = VectorIndex.load(path, policy)
    fresh = np.arange(10**6 * (number + 1), 10**6 * (number + 1) + 350)
    index.remove(index.ids[index.ids >= 10**6])
    index.add(fresh, index.halves(0, 350))
    index.settle()
    index.save(path, stamp)
    print(number, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by signal")
def test_killed_at_any_moment_the_files_are_whole(tmp_path):
    index, ids, vectors, _ = made(FEW)
    path = tmp_path / "a.faiss"
    index.save(path, STAMP)
    rng = np.random.default_rng(4)
    process = None
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, str(path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        loaded, _ = VectorIndex.load(path, FEW, whole=True)
        np.testing.assert_array_equal(loaded.halves_of(ids), vectors)
        assert len(loaded) == 4350
    for left in [*bases(path), *tmp_path.glob("*.tmp")]:
        os.utime(left, (0, 0))
    sweep(path)
    assert len(bases(path)) == 1, "what killed processes left behind goes when it is old"


def test_a_reader_and_a_writer_of_the_same_files(tmp_path):
    """A writer replaces both files again and again; whoever loads gets a whole index of one of them."""
    index, _, vectors, queries = made(FEW)
    path = tmp_path / "a.faiss"
    index.save(path, STAMP)
    stop, errors, loads = threading.Event(), [], 0

    def write():
        try:
            for number in range(1, 200):
                if number > 5 and loads > 1:
                    break
                index.add(np.arange(number * 10**6, number * 10**6 + 301), vectors[:301])
                index.settle()
                index.save(path, STAMP)
        except Exception as error:
            errors.append(error)
        finally:
            stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        loaded, _ = VectorIndex.load(path, FEW)
        assert (len(loaded) - 4000) % 301 == 0
        assert len(loaded.search(queries[:1], 10)[1][0]) == 10
        loads += 1
    writer.join()
    assert errors == []
    assert loads > 1


def test_vectors_may_be_read_while_others_are_added():
    vectors, _ = gap(20_000, dim=64)
    index = VectorIndex(64, Policy(exact_components=10**9))
    index.add(np.arange(100), vectors[:100])
    stop, errors = threading.Event(), []

    def read():
        try:
            while not stop.is_set():
                np.testing.assert_array_equal(index.halves_of(np.arange(100)), vectors[:100])
                index.search(unit_of(vectors[:1]), 5)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(100, 20_000, 100):
        index.add(np.arange(start, start + 100), vectors[start : start + 100])
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_settings_grow_with_k():
    of = Settings((8, 10, 100), (40, 200, 1600), (1.0, 1.0, 1.0), "texts", 256, 10**5, 0.99)
    assert [of.depth(k) for k in (1, 10, 55, 100, 1000, 2000)] == [40, 40, 120, 200, 1600, 3200]
    assert [of.lists(k) for k in (1, 10, 55, 100, 1000, 2000)] == [8, 8, 9, 10, 100, 200]
    assert all(of.depth(k) >= k for k in range(1, 5000, 7))
