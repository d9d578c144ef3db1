"""Grad-CAM for networks that end in a mean over a feature map: which places of the map a score comes from.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
equations 1 and 2: with a score s and a last feature map A of K channels and Z places,

    alpha_k = 1/Z * sum over places of ds/dA_k(place),        map(place) = ReLU(sum over k of alpha_k * A_k(place)).

Where the score depends on the map through its mean p alone, ds/dA_k(place) is ds/dp_k / Z at every place, so the map is,
but for its scale, the derivative of s along A(place) at p. That is taken by central differences: whatever makes a vector
of p (a classifier and its labels, a trained head, both) needs no backward pass, and may be NumPy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors
from indexer.vectors import unit

VectorsOf = Callable[[NDArray[np.float32]], Vectors]
"""From means of feature maps, (n, K) float32, to vectors, (n, dim) float32 of any length."""

STEP = 0.25
"""How much of a place's part in the mean is added and taken away. At 1 it is the exact effect of a place that is gone;
towards 0 it is the derivative, and rounding takes over. benchmarks/explain.py compares some."""


def grad_cam(feature_map: NDArray[np.float32], vectors_of: VectorsOf, targets: Vectors, step: float = STEP) -> Vectors:
    """What each place of a feature map adds to the scores of a picture: (t, h, w) float32, of either sign.

    Args:
        feature_map: (K, h, w) float32, whose mean over places the vector is made of.
        vectors_of: makes vectors of such means.
        targets: (t, dim) float32. A score is the inner product of one of them with the vector, brought to length 1.
        step: see `STEP`.
    """
    channels, height, width = feature_map.shape
    places = feature_map.reshape(channels, -1).T / np.float32(height * width)
    mean = places.sum(axis=0)
    moved = np.concatenate([mean + step * places, mean - step * places]).astype(np.float32)
    scores = unit(vectors_of(moved))[0] @ targets.T
    more, less = scores[: len(places)], scores[len(places) :]
    found: Vectors = ((more - less) / (2 * step)).T.reshape(len(targets), height, width).astype(np.float32)
    return found
