"""Vectors as towers give them, and what cosine similarity wants of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ModelError
from indexer.types import Vectors


def lengths(vectors: Vectors) -> NDArray[np.float64]:
    """The Euclidean length of each row: (n,). In double precision: squares of large numbers leave float32's range."""
    return np.asarray(np.linalg.norm(np.asarray(vectors, np.float64), axis=1), np.float64)


def usable(length: float) -> bool:
    """Whether a vector of this length points anywhere: not 0, not infinite, no NaN in it."""
    return bool(0 < length < np.inf)


def unit(vectors: Vectors) -> tuple[Vectors, NDArray[np.float64]]:
    """Bring rows to length 1.

    Args:
        vectors: (n, dim) float32.

    Returns:
        the same directions, (n, dim) float32 of length 1; and the lengths that were, (n,) float64.

    Raises:
        ModelError: a row is zero, or holds what is no number.
    """
    norms = lengths(vectors)
    for norm in norms.tolist():
        if not usable(norm):
            raise ModelError(
                f"the model gave a vector of length {norm}, and needs a positive number: its weights may be damaged"
            )
    return (vectors / norms[:, None]).astype(np.float32), norms
