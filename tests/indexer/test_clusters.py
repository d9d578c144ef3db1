"""Clusters and codes: held against FAISS, which has both and is slower."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.ann.clusters import _shares, clustered, in_blocks, nearest
from indexer.ann.codes import Coder
from indexer.ann.policy import Structure


def unit(vectors):
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def vectors():
    """Clouds of unlike sizes."""
    rng = np.random.default_rng(0)
    of = rng.integers(0, 80, 20_000) * rng.integers(0, 2, 20_000)
    return unit(rng.normal(size=(80, 32))[of] + 0.6 * rng.normal(size=(20_000, 32)))


def kept(vectors, centres):
    """The mean cosine between a vector and its centre."""
    return float((vectors * centres[nearest(vectors, centres)]).sum(axis=1).mean())


@pytest.mark.parametrize("count", [64, 600])  # at once, and by way of clusters of clusters
def test_clusters_are_as_close_as_those_of_faiss(vectors, count):
    centres = clustered(vectors, count, np.random.default_rng(0))
    assert centres.shape == (count, 32)
    assert np.allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    theirs = faiss.Kmeans(32, count, niter=10, spherical=True, seed=1, max_points_per_centroid=10**6)
    theirs.train(vectors)
    assert kept(vectors, centres) > 0.995 * kept(vectors, theirs.centroids)
    assert np.array_equal(centres, clustered(vectors, count, np.random.default_rng(0)))


def test_the_nearest_centre_is_that_of_the_highest_product(vectors):
    centres = vectors[:77]
    assert np.array_equal(nearest(vectors, centres), np.argmax(vectors @ centres.T, axis=1))
    assert nearest(vectors[:0], centres).shape == (0,)


@pytest.mark.parametrize("different", [1, 3])
def test_there_may_be_fewer_different_vectors_than_clusters(different):
    few = unit(np.eye(8)[np.arange(500) % different])
    for count in (5, 300, 600):
        centres = clustered(few, count, np.random.default_rng(0))
        assert centres.shape == (count, 8)
        assert np.isfinite(centres).all()
        assert kept(few, centres) == pytest.approx(1)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=40).filter(lambda sizes: sum(sizes) > 0), st.data())
def test_every_group_has_its_share_of_clusters_and_no_more_than_members(sizes, data):
    count = data.draw(st.integers(1, sum(sizes)))
    shares = _shares(np.array(sizes), count)
    assert shares.sum() == count
    assert (shares <= sizes).all()
    assert (np.abs(shares - np.array(sizes) * count / sum(sizes)) < 1).all()


def test_blocks_are_whole_and_in_order():
    assert list(in_blocks(lambda rows: (rows.start, rows.stop), 10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(in_blocks(lambda rows: rows, 0)) == []


@pytest.mark.parametrize("lists", [7, 300])
def test_codes_are_those_that_faiss_would_have_written(vectors, lists):
    structure = Structure(lists, 16, 32)
    coder = Coder.learned(structure, vectors[:8000])
    theirs = faiss.index_factory(32, structure.factory, faiss.METRIC_INNER_PRODUCT)
    theirs.quantizer.add(coder.centres)
    theirs.pq.train(vectors[:8000])
    faiss.copy_array_to_vector(faiss.vector_to_array(coder._quantizer.centroids), theirs.pq.centroids)
    theirs.is_trained = True
    theirs.add_with_ids(vectors, np.arange(len(vectors)))
    parts = [*in_blocks(lambda rows: (np.arange(rows.start, rows.stop), coder.codes_of(vectors[rows])), len(vectors))]
    ours = coder.index(parts)
    assert not getattr(ours, "referenced_objects", []), "its codes are in memory twice"
    again = Coder.of(structure, ours)
    for index in (
        ours,
        again.index(parts),
        faiss.clone_index(ours),
        faiss.deserialize_index(faiss.serialize_index(ours)),
    ):
        assert index.ntotal == len(vectors)
        for some in (index, theirs):
            some.nprobe = 3
        scores, ids = index.search(vectors[:200], 10)
        expected, places = theirs.search(vectors[:200], 10)
        assert np.allclose(scores, expected)
        assert (ids == places).mean() > 0.98  # of equal scores, any may come first
    ours.add_with_ids(vectors[:5], np.arange(5) + len(vectors))
    assert ours.ntotal == len(vectors) + 5
