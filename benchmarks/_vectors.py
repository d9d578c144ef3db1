"""Vectors as towers of two modalities give them: pictures in clusters, and texts that lie beside all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexer.types import Vectors

_BLOCK = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """`vectors`: (n, dim) float16 of length 1; the others (q, dim) float32: texts to tune by, and queries to come."""

    vectors: np.ndarray
    tuning: Vectors
    texts: Vectors
    pictures: Vectors


def shelf(count: int, dim: int, queries: int, seed: int = 0) -> Shelf:
    """Clustered vectors with a modality gap (Liang et al., NeurIPS 2022), and queries of both kinds.

    A vector is its modality's own direction, its cluster's, and noise, all with a falling spectrum, brought to length
    1. A text is weaker in its cluster's direction and stronger in its modality's: its nearest picture has a cosine of
    about 0.3, as CLIP's have, and that of a held-out picture one of about 0.9.
    """
    rng = np.random.default_rng(seed)
    spectrum = (1 + np.arange(dim)) ** -0.4
    spectrum = (spectrum / np.sqrt((spectrum**2).sum())).astype(np.float32)
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0].astype(np.float32)

    def drawn(rows: int) -> Vectors:
        return rng.standard_normal((rows, dim), np.float32) * spectrum

    def of(own: Vectors, near: float, rows: int) -> Vectors:
        made = own + near * centres[rng.integers(0, len(centres), rows)] + np.float32(0.6) * drawn(rows)
        return np.asarray((made / np.linalg.norm(made, axis=1, keepdims=True)) @ basis, np.float32)

    of_pictures, of_texts = drawn(1), np.float32(1.3) * drawn(1)
    centres = drawn(max(50, round(count**0.5)))
    vectors = np.empty((count, dim), np.float16)
    for start in range(0, count, _BLOCK):
        vectors[start : start + _BLOCK] = of(of_pictures, 0.8, min(_BLOCK, count - start))
    texts = of(of_texts, 0.5, 2 * queries)
    return Shelf(vectors, texts[:queries], texts[queries:], of(of_pictures, 0.8, queries))
