"""Clusters of vectors by cosine: the centres that an inverted file's lists have, and which list a vector belongs to.

FAISS has both, and takes four times as long for a product: see docs/performance.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from indexer.ann.threads import one_thread
from indexer.cores import available_cores, one_blas_thread
from indexer.types import Vectors

Made = TypeVar("Made")

BLOCK = 4096
"""Rows that a thread takes at a time."""

_FIRST_ROUNDS = 6  # of k-means, where clusters are few
_LAST_ROUNDS = 3  # with all of them, from centres that are good already
_FEW = 256  # clusters that are looked for at once


def clustered(vectors: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """The centres of clusters: spherical k-means (Dhillon and Modha, 2001).

    Many are begun as clusters of clusters, so that a few rounds among all of them are enough.

    Args:
        vectors: (n, d) float32, of length 1.
        count: how many clusters.
        rng: chooses where to begin.

    Returns:
        (count, d) float32, of length 1.
    """
    if count <= _FEW or count >= len(vectors):
        return _rounds(vectors, _drawn(vectors, count, rng), _FIRST_ROUNDS, rng)
    groups = clustered(vectors, round(math.sqrt(count)), rng)
    of = nearest(vectors, groups)
    order = np.argsort(of, kind="stable")
    sizes = np.bincount(of, minlength=len(groups))
    members = np.split(order, np.cumsum(sizes)[:-1])
    parts = [
        _rounds(vectors[some], _drawn(vectors[some], number, rng), _FIRST_ROUNDS, rng)
        for some, number in zip(members, _shares(sizes, count).tolist(), strict=True)
        if number
    ]
    return _rounds(vectors, np.concatenate(parts), _LAST_ROUNDS, rng)


def nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    """Which centre each vector has the highest inner product with: (n,)."""

    def of(rows: slice) -> NDArray[np.int64]:
        return np.asarray(np.argmax(vectors[rows] @ centres.T, axis=1), np.int64)

    found: NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *in_blocks(of, len(vectors))])
    return found


def in_blocks(function: Callable[[slice], Made], count: int, size: int = BLOCK) -> Iterator[Made]:
    """What `function` makes of each block of rows, in order; blocks share the cores, and none is split over them."""
    blocks = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    workers = min(available_cores(), len(blocks))

    def alone(block: slice) -> Made:
        with one_thread():
            return function(block)

    with one_blas_thread():
        if workers < 2:
            yield from map(alone, blocks)
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="clusters") as pool:
            yield from pool.map(alone, blocks)


def _drawn(vectors: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    drawn: Vectors = vectors[np.sort(rng.choice(len(vectors), count, replace=len(vectors) < count))]
    return drawn


def _shares(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many of `count` clusters each group gets, by its size and never above it."""
    exact = sizes * (count / sizes.sum())
    shares: NDArray[np.int64] = np.minimum(np.floor(exact).astype(np.int64), sizes)
    while (lacking := count - int(shares.sum())) > 0:
        room = np.flatnonzero(shares < sizes)
        first = room[np.argsort(shares[room] - exact[room], kind="stable")[:lacking]]
        shares[first] += 1
    return shares


def _rounds(vectors: Vectors, centres: Vectors, rounds: int, rng: np.random.Generator) -> Vectors:
    for _ in range(rounds):
        of = nearest(vectors, centres)
        sums: Vectors = np.zeros_like(centres)
        for part, here in in_blocks(partial(_sums, vectors, of), len(vectors), 4 * BLOCK):
            sums[here] += part
        empty = np.flatnonzero(np.bincount(of, minlength=len(centres)) == 0)
        if len(empty):
            sums[empty] = _drawn(vectors, len(empty), rng)
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return centres


def _sums(vectors: Vectors, of: NDArray[np.int64], rows: slice) -> tuple[Vectors, NDArray[np.int64]]:
    """The sum of the vectors of each cluster that there is in some rows, and which these are."""
    order = np.argsort(of[rows], kind="stable")
    here, first = np.unique(of[rows][order], return_index=True)
    return np.add.reduceat(vectors[rows][order], first, axis=0), here
