"""The head of `mini`'s second version: what the image network's features say beyond the thousand labels.

Two layers over the network's 1280 features, trained contrastively on drawings and their captions: see mini_head.md for
what it learned from, and benchmarks/train_mini_head.py for how. Its direction is added to the vector that the labels
give (ConSE, images.py), so that photographs keep what they had. All of it is NumPy, row by row.

The file keeps the two matrices in 8 bits: each row as whole numbers from -127 to 127, and the step between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.cores import one_blas_thread
from indexer.errors import WeightsError
from indexer.types import Vectors
from mmsearch.encoders.efficientnet import FEATURES
from mmsearch.encoders.minilm import DIM
from mmsearch.encoders.weights import HEAD_PATH, HEAD_SHA256

Floats = NDArray[np.float32]


MATRICES = ("first", "second")


def in_8_bits(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A matrix (m, n) as whole numbers (m, n) from -127 to 127, and what one of them is worth in each row, (m,).

    The step is the row's greatest magnitude / 127, so that no number is off by more than half a step.
    """
    steps = np.maximum(np.abs(matrix).max(axis=1) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(matrix / steps[:, None]).astype(np.int8), steps


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The numbers of the head, all float32.

    `mean`, `scale`: (1280,), of the features' square roots. `first`: (hidden, 1280) and `first_bias`; `second`: (384,
    hidden) and `second_bias`. `share`: the length of what is added to a label vector of length 1.
    """

    mean: Floats
    scale: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats
    share: float

    @classmethod
    def load(cls) -> Head:
        """The head that is installed with mmsearch.

        Raises:
            WeightsError: its file is not there, or damaged.
        """
        from safetensors.numpy import load

        try:
            content = HEAD_PATH.read_bytes()
        except OSError as error:
            raise WeightsError(f"{HEAD_PATH} cannot be read: {error}; install mmsearch again") from error
        found = hashlib.sha256(content).hexdigest()
        if found != HEAD_SHA256:
            raise WeightsError(
                f"{HEAD_PATH} is damaged or of another version: its SHA-256 is {found}, expected {HEAD_SHA256};"
                " install mmsearch again"
            )
        return cls.of(load(content))

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]]) -> Head:
        """A head from its tensors: in any precision, or the matrices as `in_8_bits` gives them.

        Raises:
            KeyError: one is missing.
            ValueError: shapes do not fit.
        """
        tensors = dict(tensors)
        for name in MATRICES:
            if tensors[name].dtype == np.int8:
                tensors[name] = tensors[name] * tensors[f"{name}_step"].astype(np.float32)[:, None]
        names = ("mean", "scale", "first", "first_bias", "second", "second_bias")
        mean, scale, first, first_bias, second, second_bias = (tensors[name].astype(np.float32) for name in names)
        hidden = len(first_bias)
        shapes = [part.shape for part in (mean, scale, first, second, second_bias)]
        if shapes != [(FEATURES,), (FEATURES,), (hidden, FEATURES), (DIM, hidden), (DIM,)]:
            raise ValueError(f"the shapes of its tensors do not fit: {shapes}")
        share = float(tensors["share"].reshape(-1)[0])
        return cls(mean, scale, first, first_bias, second, second_bias, share)

    def blended(self, features: Floats, labels: Vectors) -> Vectors:
        """Vectors of pictures: (n, 384) float32 of length 1.

        Args:
            features: (n, 1280) float32, each in [0, 6].
            labels: (n, 384) float32 of length 1, what the labels give for the same pictures.
        """
        vectors = np.empty((len(features), DIM), np.float32)
        with one_blas_thread():
            for row, (feature, label) in enumerate(zip(features, labels, strict=True)):  # no row hangs on another
                hidden = np.maximum(
                    self.first @ ((np.sqrt(np.maximum(feature, 0)) - self.mean) * self.scale) + self.first_bias, 0
                )
                own = self.second @ hidden + self.second_bias
                vector = label + self.share * own / max(float(np.linalg.norm(own)), 1e-12)
                vectors[row] = vector / np.linalg.norm(vector)
        return vectors
