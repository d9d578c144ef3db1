"""What EmbeddingGemma 2 is given for a picture and for a sound, as its own processors in transformers make it.

Pictures: `Gemma4ImageProcessorPil`; frames: `EmbeddingGemma2VideoProcessor`, which does the same with another budget of
tokens. Padding is left out: upstream masks it everywhere, and alone in its batch an input needs none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.errors import ModelError
from indexer.types import AudioSample
from mmsearch.encoders.transformers_folder import Checkpoint
from mmsearch.encoders.transformers_loading import LOADING

Features = NDArray[np.float32]

# Both of two layers of convolution take every second frame (`EmbeddingGemma2Processor.compute_sscp`).
_SUBSAMPLING_LAYERS = 2

# The processors' defaults, for what a configuration leaves out: max_soft_tokens of pictures, and of a frame.
_SOFT_TOKENS = {"image_processor": 280, "video_processor": 70}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture in patches. `patches`: (rows * columns, patch area * 3) uint8, row by row, RGB."""

    patches: NDArray[np.uint8]
    rows: int
    columns: int
    pooling: int
    scale: float

    @property
    def soft_tokens(self) -> int:
        """How many tokens it becomes: one for each square of `pooling` by `pooling` patches."""
        return len(self.patches) // self.pooling**2

    def pixel_values(self) -> NDArray[np.float32]:
        """(1, patches, patch area * 3) float32 in [0, 1]."""
        return (self.patches.astype(np.float32) * np.float32(self.scale))[None]

    def positions(self) -> NDArray[np.int64]:
        """Column and row of each patch: (1, patches, 2) int64."""
        rows, columns = np.divmod(np.arange(len(self.patches), dtype=np.int64), self.columns)
        return np.stack([columns, rows], axis=-1)[None]


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """How pictures are brought to size: `max_soft_tokens` squares of `pooling` by `pooling` patches at most."""

    patch: int
    pooling: int
    max_soft_tokens: int
    resampling: Image.Resampling
    scale: float

    @classmethod
    def of(cls, checkpoint: Checkpoint, part: str) -> PictureSettings:
        """Read and check the settings of the "image_processor" or the "video_processor"."""
        found = checkpoint.processor(part)
        settings = cls(
            patch=int(found.get("patch_size", 16)),
            pooling=int(found.get("pooling_kernel_size", 3)),
            max_soft_tokens=int(found.get("max_soft_tokens", _SOFT_TOKENS[part])),
            resampling=Image.Resampling(int(found.get("resample", Image.Resampling.BICUBIC))),
            scale=float(found.get("rescale_factor", 1 / 255)),
        )
        vision = checkpoint.config.get("vision_config") or {}
        wanted = (int(vision.get("patch_size", 16)), int(vision.get("pooling_kernel_size", 3)))
        if (settings.patch, settings.pooling) != wanted:
            raise ModelError(
                f"the {part} of {checkpoint.source} makes patches of {settings.patch} pixels and pools"
                f" {settings.pooling}, and its network takes {wanted[0]} and {wanted[1]}; copy processor_config.json"
                " and config.json again, from one checkpoint"
            )
        changes_values = found.get("do_normalize") and (
            any(found.get("image_mean") or ()) or any(value != 1 for value in found.get("image_std") or ())
        )
        if changes_values or not found.get("do_resize", True) or not found.get("do_rescale", True):
            raise ModelError(
                f"the {part} of {checkpoint.source} does not prepare pictures as EmbeddingGemma 2 does: expected"
                " resizing, rescaling, and no normalisation; copy processor_config.json again"
            )
        return settings

    @property
    def side(self) -> int:
        """Side of a square picture that uses the whole budget, in pixels."""
        return int(math.sqrt(self.max_soft_tokens) * self.pooling * self.patch)

    def prepare(self, pixels: NDArray[np.uint8]) -> Picture:
        """(height, width, 3) uint8 in patches, resized with its proportions to use the budget."""
        height, width = self.size(*pixels.shape[:2])
        if (height, width) != pixels.shape[:2]:
            pixels = np.array(Image.fromarray(pixels).resize((width, height), self.resampling))
        rows, columns = height // self.patch, width // self.patch
        patches = pixels.reshape(rows, self.patch, columns, self.patch, 3).transpose(0, 2, 1, 3, 4)
        return Picture(patches.reshape(rows * columns, -1).copy(), rows, columns, self.pooling, self.scale)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a picture is resized to, as upstream's `get_aspect_ratio_preserving_size`.

        Both are multiples of a token's side. A strip is at least one token wide, and as long as the budget lasts.
        """
        token = self.pooling * self.patch
        factor = math.sqrt(self.max_soft_tokens * token**2 / (height * width))
        rows, columns = int(factor * height / token), int(factor * width / token)
        if rows == 0:
            rows, columns = 1, min(width // height, self.max_soft_tokens)
        elif columns == 0:
            rows, columns = min(height // width, self.max_soft_tokens), 1
        return rows * token, columns * token


class AudioFeatures:
    """Log-mel features of sound, by the checkpoint's own extractor (Universal Speech Model, arXiv:2303.01037)."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self.sample_rate = int(settings.get("sampling_rate", 16_000))

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> AudioFeatures:
        """Read and check the settings of a checkpoint."""
        settings = checkpoint.processor("feature_extractor")
        kind = settings.get("feature_extractor_type", "Gemma4AudioFeatureExtractor")
        if kind != "Gemma4AudioFeatureExtractor" or settings.get("dither"):
            raise ModelError(
                f"{checkpoint.source} prepares sound by {kind} with dither {settings.get('dither', 0)}, expected"
                " Gemma4AudioFeatureExtractor without dither, which is random; copy processor_config.json again"
            )
        return cls(settings)

    @staticmethod
    def soft_tokens(frames: int) -> int:
        """How many tokens so many frames become."""
        for _ in range(_SUBSAMPLING_LAYERS):
            frames = (frames + 1) // 2
        return frames

    def prepare(self, sample: AudioSample, longest: int) -> Features:
        """Features of a window of at most `longest` samples: (frames, mel bins) float32.

        A stretch too short for one frame, of 20 ms, is padded with silence to have one.
        """
        if sample.sample_rate != self.sample_rate:
            raise ModelError(
                f"EmbeddingGemma 2 hears {self.sample_rate} Hz, got sound at {sample.sample_rate} Hz; resample it"
            )
        if not 0 < len(sample.waveform) <= longest:
            raise ModelError(
                f"EmbeddingGemma 2 takes windows of 1 to {longest} samples, got {len(sample.waveform)}; cut sound with"
                " indexer.windows"
            )
        extractor = self._extractor
        waveform = np.pad(sample.waveform, (0, max(0, extractor.frame_length + 1 - len(sample.waveform))))
        found = extractor([waveform], return_tensors="np")
        # Frames that reach into padding come last, and upstream masks them.
        features: Features = found["input_features"][0][found["input_features_mask"][0]].astype(np.float32)
        return features

    @cached_property
    def _extractor(self) -> Any:
        with LOADING:
            from transformers import Gemma4AudioFeatureExtractor

            return Gemma4AudioFeatureExtractor.from_dict(dict(self._settings))
