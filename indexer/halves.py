"""Vectors in half precision, as the store keeps them, and what is made of them in single precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors

STORED_DTYPE = np.dtype("<f2")
"""Vectors are kept in half precision: see benchmarks/vector_precision.py for what that costs."""

Halves = NDArray[np.float16]

_BLOCK = 8192  # rows


def unit_of(halves: NDArray[Any]) -> Vectors:
    """Stored vectors as (n, dim) float32, brought back to the length 1 that half precision rounded away.

    A row comes out the same to the last bit, whatever other rows are beside it.
    """
    vectors: Vectors = halves.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return vectors


def scales_of(halves: NDArray[Any]) -> Vectors:
    """What brings stored vectors, (n, dim) float16, to length 1: (n,) float32, near 1; 0 for what is no number."""
    scales = np.empty(len(halves), np.float32)
    for start in range(0, len(halves), _BLOCK):
        norms = np.linalg.norm(halves[start : start + _BLOCK].astype(np.float32), axis=1)
        sound = np.isfinite(norms)
        scales[start : start + _BLOCK] = sound / np.where(sound, np.maximum(norms, np.finfo(np.float32).tiny), 1)
    return scales
