"""Vectors of towers held against those of the libraries that they come from, whatever lengths they have."""

from __future__ import annotations

import numpy as np

from indexer.types import Vectors
from indexer.vectors import lengths, unit


def assert_same(ours: Vectors, theirs: Vectors, part: float) -> None:
    """Each number is theirs, within this part of its row's length: what an absolute tolerance is for unit vectors."""
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    scale = lengths(theirs)[:, None]
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=part)


def assert_raw(vectors: Vectors) -> None:
    """Nobody has brought them to length 1: their lengths differ, and are not 1."""
    norms = lengths(vectors)
    assert np.ptp(norms) > 1e-3 * norms.mean()
    assert (np.abs(norms - 1) > 1e-3).all()


def cosines(vectors: Vectors, others: Vectors) -> Vectors:
    """Of each row with each of the others: (n, m)."""
    return unit(vectors)[0] @ unit(others)[0].T


def lowest_cosine(vectors: Vectors, others: Vectors) -> float:
    """The lowest of each row with the other of the same number: 1 where all directions are the same."""
    return float((unit(vectors)[0] * unit(others)[0]).sum(axis=1).min())
