import os

import numpy as np
import pytest

from indexer.ann import IndexFileError, Stamp, VectorIndex, read_stamp

STAMP = Stamp(library_id="lib", generation_id=1, channel="visual", dim=8, last_id=300, removals=0)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def unit(rng, n, dim=8):
    """Vectors that are of length 1 but for what half precision rounds away, as the store gives them."""
    vectors = rng.normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def filled(rng, n=300):
    ids, vectors = np.arange(1, n + 1) * 3, unit(rng, n)
    index = VectorIndex(8)
    index.add(ids, vectors)
    return index, ids, vectors


def brute_force(queries, ids, vectors, k):
    vectors = vectors.astype(np.float32)
    scores = queries.astype(np.float32) @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), ids[order]


def test_search_equals_brute_force_in_ids_and_scores(rng):
    index, ids, vectors = filled(rng)
    queries = rng.normal(size=(5, 8)).astype(np.float32) * 3  # not of length 1: scores are plain inner products
    scores, found = index.search(queries, 10)
    want_scores, want = brute_force(queries, ids, vectors, 10)
    np.testing.assert_array_equal(found, want)
    np.testing.assert_allclose(scores, want_scores, rtol=1e-5)


def test_a_filtered_search_finds_as_many_as_exist(rng):
    index, ids, vectors = filled(rng)
    allowed = np.sort(rng.choice(ids, 7, replace=False))
    queries = unit(rng, 2)
    scores, found = index.search(queries, 50, allowed=allowed)
    chosen = np.isin(ids, allowed)
    want_scores, want = brute_force(queries, ids[chosen], vectors[chosen], 7)
    np.testing.assert_array_equal(found, want)
    np.testing.assert_allclose(scores, want_scores, rtol=1e-5)


def test_a_filter_may_name_ids_that_are_not_there(rng):
    index, ids, _ = filled(rng)
    _, found = index.search(unit(rng, 1), 5, allowed=np.array([ids[0], 10**9]))
    assert found.tolist() == [[ids[0]]]


def test_an_empty_index_or_filter_finds_nothing(rng):
    assert VectorIndex(8).search(unit(rng, 3), 5)[1].shape == (3, 0)
    index, _, _ = filled(rng)
    assert index.search(unit(rng, 3), 5, allowed=np.empty(0, np.int64))[1].shape == (3, 0)


def test_removed_ids_are_not_found_again_and_the_rest_keep_theirs(rng):
    index, ids, vectors = filled(rng)
    gone = ids[::4]
    assert index.remove(np.append(gone, 10**9)) == len(gone)
    kept = ~np.isin(ids, gone)
    queries = unit(rng, 4)
    np.testing.assert_array_equal(index.search(queries, 20)[1], brute_force(queries, ids[kept], vectors[kept], 20)[1])
    assert len(index) == kept.sum()


def test_wrong_shapes_are_refused(rng):
    with pytest.raises(ValueError, match=r"vectors must be \(2, 8\)"):
        VectorIndex(8).add(np.array([1, 2]), unit(rng, 2, dim=9))


def test_saved_and_loaded_it_answers_the_same(rng, tmp_path):
    index, _, _ = filled(rng)
    index.save(tmp_path / "x" / "a.faiss", STAMP)
    loaded, stamp = VectorIndex.load(tmp_path / "x" / "a.faiss")
    assert stamp == STAMP == read_stamp(tmp_path / "x" / "a.faiss")
    queries = unit(rng, 3)
    for mine, theirs in zip(index.search(queries, 9), loaded.search(queries, 9), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(index.ids, loaded.ids)
    np.testing.assert_array_equal(index.vectors(), loaded.vectors())
    assert os.listdir(tmp_path / "x") == ["a.faiss"]


def loads_as_saved(path):
    """Whether the file loads, and says that it is what was saved: a changed stamp is noticed by who compares it."""
    try:
        return VectorIndex.load(path)[1] == STAMP
    except IndexFileError:
        return False


def test_damage_anywhere_is_noticed(rng, tmp_path):
    index, _, _ = filled(rng)
    path = tmp_path / "a.faiss"
    index.save(path, STAMP)
    whole = path.read_bytes()
    assert loads_as_saved(path)
    for at in [0, 5, 17, 25, 60, 300, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        assert not loads_as_saved(path)
    for length in [0, 3, 18, 100, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(IndexFileError):
            VectorIndex.load(path)
    path.unlink()
    with pytest.raises(IndexFileError, match="not there"):
        VectorIndex.load(path)
