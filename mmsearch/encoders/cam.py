"""Integrated Grad-CAM for networks that end in a mean over a feature map: which places a score comes from.

Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2) weighs a last feature map A by the gradient of a score s in
it. Where the score depends on the map through its mean p alone, that is, but for a scale, the derivative of s at p
along A(place). For a picture that a softmax is sure of, it is nearly 0 everywhere, and what is left of it points
anywhere: by deletion and insertion it is far behind (benchmarks/explain.py; figures in docs/explain.md). So the
derivative is taken on the whole way from no features to those of the picture, and its mean is the map: integrated
gradients (Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017), for feature maps
Sattarzadeh et al., "Integrated Grad-CAM", ICASSP 2021:

    map(place) = integral over u in [0, 1/2] of d/dt s(u p + t A(place) / Z) at t = 0,

for Z places. Only the first half of the way counts: on the second, the softmax is sure already. With it, maps of labels
alone were less faithful, and those of labels and head are as faithful. The derivative is taken by central differences,
so that whatever makes a vector of p (a classifier and its labels, a trained head, both) needs no backward pass, and may
be NumPy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors
from indexer.vectors import unit

VectorsOf = Callable[[NDArray[np.float32]], Vectors]
"""From means of feature maps, (n, K) float32, to vectors, (n, dim) float32 of any length but 0."""

REACH, POINTS = 0.5, 5
"""How much of the way counts, and at how many points of it: the middles of equal parts."""

_STEP = 0.5  # of a place's part in the mean: what is smaller is lost in the rounding of float32


def integrated_grad_cam(
    feature_map: NDArray[np.float32], vectors_of: VectorsOf, targets: Vectors, reach: float = REACH
) -> Vectors:
    """What each place of a feature map adds to the scores of a picture: (t, h, w) float32, of either sign.

    Args:
        feature_map: (K, h, w) float32, whose mean over places the vector is made of.
        vectors_of: makes vectors of such means.
        targets: (t, dim) float32. A score is the inner product of one of them with the vector, brought to length 1.
        reach: how much of the way from no features to the picture's counts.
    """
    total = np.zeros((feature_map.shape[1] * feature_map.shape[2], len(targets)))
    for point in range(POINTS):
        share = reach * (point + 0.5) / POINTS
        total += derivatives(feature_map, vectors_of, targets, share) / POINTS
    return np.asarray(total.T.reshape(len(targets), *feature_map.shape[1:]), np.float32)


def derivatives(
    feature_map: NDArray[np.float32], vectors_of: VectorsOf, targets: Vectors, share: float = 1.0
) -> NDArray[np.float64]:
    """How scores change along each place, with this share of the features: (h * w, t). With all of them, Grad-CAM."""
    channels, height, width = feature_map.shape
    places = feature_map.reshape(channels, -1).T / np.float32(height * width)
    mean = share * places.sum(axis=0)
    moved = np.concatenate([mean + _STEP * places, mean - _STEP * places]).astype(np.float32)
    scores = unit(vectors_of(moved))[0] @ targets.T
    return np.asarray((scores[: len(places)] - scores[len(places) :]) / (2 * _STEP), np.float64)
