"""Heat laid over a picture: cool parts grey and dark, warm ones in colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.types import Vectors
from mmsearch.encoders.heat import Box

_STOPS = np.array(
    [(0.0, 0, 0, 4), (0.25, 87, 16, 110), (0.5, 188, 55, 84), (0.75, 249, 142, 9), (1.0, 252, 255, 164)], np.float64
)
"""Of the colour map "inferno" (Nathaniel Smith and Stefan van der Walt, CC0): even in lightness, also in grey."""

_STRONGEST = 0.72  # of the colour; the picture stays to be seen
_DARKEST = 0.45


def colour(heat: Vectors) -> NDArray[np.uint8]:
    """Colours of heat in [0, 1]: (..., 3) uint8."""
    parts = [np.interp(heat, _STOPS[:, 0], _STOPS[:, channel]) for channel in (1, 2, 3)]
    return np.stack(parts, axis=-1).round().astype(np.uint8)


def spread(heat: Vectors, box: Box, size: tuple[int, int]) -> Vectors:
    """A map at the size of its picture, (height, width) float32 in [0, 1]; 0 where the model does not look.

    Args:
        heat: (h, w) float32 in [0, 1].
        box: what part of the picture it lies over.
        size: width and height of the picture.
    """
    width, height = size
    left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    scale = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    inner = (max(1, round(right - left)), max(1, round(bottom - top)))
    stretched = scale.resize(inner, Image.Resampling.BICUBIC)
    canvas = Image.new("F", size, 0.0)
    canvas.paste(stretched, (round(left), round(top)))
    return np.clip(np.asarray(canvas, np.float32), 0.0, 1.0)


def overlay(picture: Image.Image, heat: Vectors, box: Box) -> Image.Image:
    """A picture with its heat laid over it."""
    strength = spread(heat, box, picture.size)[..., None]
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    dimmed = (grey * (1 - strength) + pixels * strength) * (_DARKEST + (1 - _DARKEST) * strength)
    share = _STRONGEST * strength**1.5 * 0.75
    mixed = dimmed * (1 - share) + colour(strength[..., 0]).astype(np.float32) * share
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
