"""The image tower: a picture as a blend of the texts of what it may show.

ConSE (Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings, ICLR 2014,
arXiv:1312.5650, eq. 5): an image network gives class probabilities, and the picture's vector is the mean
of the text vectors of the likeliest class names, weighted by their probabilities. Pictures and texts so
share one space, with no training on pairs of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.errors import WeightsError
from indexer.types import ImageSample, Vectors
from mmsearch.encoders.efficientnet import CLASSES, SIDE, Classifier
from mmsearch.encoders.heat import HeatMaps
from mmsearch.encoders.minilm import DIM, TextTower
from mmsearch.encoders.weights import (
    LABELS_PATH,
    MINILM_TOKENIZER,
    MINILM_WEIGHTS,
    cache_directory,
    write_atomically,
)

# Chosen by benchmarks/mini_choices.py on pictures that no reported number uses.
TEMPERATURE = 1.5
LABELS_PER_IMAGE = 20


class ImageTower:
    """Vectors of pictures, in the space of `text_tower`. The weights load on first use."""

    def __init__(self, text_tower: TextTower) -> None:
        self._text_tower = text_tower
        self._classifier = Classifier()

    def prepare(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture (height, width, 3) uint8 as the network takes it: (260, 260, 3) uint8.

        The whole picture is brought to a square, not cut: what a file is about may stand at its edge.
        """
        resized = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.array(resized)

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of prepared pictures: (len(prepared), 384) float32, each row of length 1."""
        if not prepared:
            return np.empty((0, DIM), dtype=np.float32)
        return conse(self._classifier.logits(prepared), self.label_vectors, TEMPERATURE, LABELS_PER_IMAGE)

    def heat_maps(self, sample: ImageSample, targets: Vectors) -> HeatMaps:
        """What each part of a picture adds to its scores with `targets`: see `mmsearch.encoders.cam`."""
        from mmsearch.encoders.cam import integrated_grad_cam

        feature_map = self._classifier.feature_map(self.prepare(sample.pixels))
        return HeatMaps(integrated_grad_cam(feature_map, self._of_means, targets), "integrated Grad-CAM")

    def _of_means(self, means: NDArray[np.float32]) -> Vectors:
        """Vectors of pictures by the means of their feature maps: (n, 1280) to (n, 384)."""
        return conse(self._classifier.logits_of_means(means), self.label_vectors, TEMPERATURE, LABELS_PER_IMAGE)

    @cached_property
    def label_vectors(self) -> Vectors:
        """(1000, 384) float32: a vector for each class, in the order of the network's classes.

        Kept in the cache directory, because computing them takes some seconds.
        """
        labels = read_labels()
        parts = [MINILM_WEIGHTS.sha256, MINILM_TOKENIZER.sha256, *labels]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        path = cache_directory() / "labels" / f"{key}.npy"
        cached = _read_vectors(path)
        if cached is not None:
            return cached
        vectors = self._text_tower.encode_texts(labels)
        write_atomically(path, lambda file: np.save(file, vectors, allow_pickle=False))
        return vectors


def read_labels() -> list[str]:
    """What each of the 1000 classes is called, in the order of the network's classes."""
    labels = LABELS_PATH.read_text(encoding="utf-8").splitlines()
    if len(labels) != CLASSES:
        raise WeightsError(f"{LABELS_PATH} has {len(labels)} lines, expected {CLASSES}; install mmsearch again")
    return labels


def conse(logits: NDArray[np.float32], label_vectors: Vectors, temperature: float, labels_per_image: int) -> Vectors:
    """Vectors (images, dim) float32 of length 1, from logits (images, classes) and a vector for each class.

    Norouzi et al., eq. 5, with p(label | image) = softmax(logits / temperature): the sum over the T
    likeliest labels of p times the label's vector. The paper divides by the sum of these p; bringing the
    result to length 1 comes to the same.
    """
    scaled = logits.astype(np.float64) / temperature
    # A stable sort, so that equal logits do not depend on how NumPy partitions.
    likeliest = np.argsort(-scaled, axis=1, kind="stable")[:, :labels_per_image]
    chosen = np.take_along_axis(scaled, likeliest, axis=1)
    weights = np.exp(chosen - chosen[:, :1])
    return _to_unit_length(np.einsum("it,itd->id", weights, label_vectors[likeliest]))


def _to_unit_length(vectors: NDArray[np.floating[Any]]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def _read_vectors(path: Path) -> Vectors | None:
    """The label vectors kept at `path`; None when there are none that can be used."""
    try:
        vectors: Vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if vectors.shape != (CLASSES, DIM) or vectors.dtype != np.float32:
        return None
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4):
        return None
    return vectors
