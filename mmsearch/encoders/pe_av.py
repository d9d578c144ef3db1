"""PE-AV: pictures, sounds and texts in one space, from a checkpoint of transformers' `PeAudioVideoModel`.

Model: Vyas et al., Pushing the Frontier of Audiovisual Perception with Large-Scale Multimodal Correspondence Learning,
2025 (arXiv:2512.19687). Checkpoints: https://huggingface.co/facebook/pe-av-large, -base and -small.

A text has a head for each of what it may be compared with, so that there are two text towers: one asks pictures, one
asks sounds. Pictures and sounds are compared with one another as they are. A picture or a frame is a video of
one frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.errors import ModelError
from indexer.names import Channel
from indexer.types import AudioSample, ImageSample, TowerSpec, Vectors
from mmsearch.encoders.pe_av_network import audio_network, text_networks, video_network
from mmsearch.encoders.precision import Precision, choose_precision
from mmsearch.encoders.tower import Towers
from mmsearch.encoders.transformers_clip import ImageProcessor
from mmsearch.encoders.transformers_folder import Checkpoint, open_checkpoint
from mmsearch.encoders.transformers_half import Network, TransformersTextTower
from mmsearch.encoders.transformers_tokenizer import SharedTokenizer, token_limit

SPACE = "pe-av"

# Counted up by hand whenever the code makes other vectors of the same checkpoint.
PREPROCESSING_VERSION = "1"

# Pictures in one forward pass of one thread.
CHUNK = 4

# Sound is cut as for CLAP.
WINDOW_SECONDS, HOP_SECONDS = 10.0, 5.0

# ModernBERT's positions, for what a configuration leaves out; and defaults of PeAudioFeatureExtractor.
_POSITIONS = 8192
_SAMPLE_RATE, _HOP_LENGTH = 48_000, 1920


def pe_av_towers(source: str, *, precision: str | None = None) -> Towers:
    """The towers of a checkpoint: a local folder, or a repository such as facebook/pe-av-large.

    `precision` is float32 or bfloat16; None chooses as `choose_precision` does.

    Raises:
        ModelError: there is no such checkpoint, it is of another architecture, or it takes no single frames.
    """
    checkpoint = open_checkpoint(source, ("pe_audio_video",))
    text = checkpoint.config.get("text_config") or {}
    dim = int(text.get("hidden_size", 1024))  # upstream projects everything to the width of its text model
    number_type = choose_precision(precision)
    limit = token_limit(checkpoint, int(text.get("max_position_embeddings", _POSITIONS)))
    tokenizer = SharedTokenizer(checkpoint, apart=True)
    for_video, for_audio = text_networks(checkpoint, dim, number_type)

    def asks(channel: Channel, network: Network) -> TransformersTextTower:
        return TransformersTextTower(
            network,
            TowerSpec("text", SPACE, dim, asks=(channel,)),
            max_tokens=limit,
            padded=False,
            version=f"{PREPROCESSING_VERSION} {channel}",
            tokenizer=tokenizer,
        )

    return Towers(
        visual=PeImageTower(video_network(checkpoint, dim, number_type)),
        sound=PeAudioTower(audio_network(checkpoint, dim, number_type)),
        queries=(asks("visual", for_video), asks("sound", for_audio)),
    )


class PeImageTower:
    """Pictures and frames, each a video of one frame. The weights load on first use."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.spec = TowerSpec("image", SPACE, network.dim)
        self._processor = _image_processor(network.checkpoint)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checkpoint's weights and files, the precision, and what this code does to a picture."""
        return self._network.checkpoint.fingerprint("image", PREPROCESSING_VERSION, self._network.precision)

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._network.precision

    @property
    def image_side(self) -> int:
        """Shorter side, in pixels, below which a picture must not be scaled down before `prepare`."""
        return self._processor.image_side

    def prepare(self, sample: ImageSample) -> NDArray[np.uint8]:
        """The picture at the network's size: (height, width, 3) uint8, to be small in the queue."""
        return self._processor.resize_and_crop(sample.pixels)

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of prepared pictures: (len(prepared), dim) float32, of any length."""
        starts = range(0, len(prepared), CHUNK)
        return self._network.encode(
            [
                {"pixel_values_videos": self._processor.normalise(np.stack(prepared[start : start + CHUNK]))[:, None]}
                for start in starts
            ]
        )


class PeAudioTower:
    """Windows of sound. The weights load on first use. One goes through the network at a time, at its own length."""

    window_seconds = WINDOW_SECONDS
    hop_seconds = HOP_SECONDS

    def __init__(self, network: Network) -> None:
        self._network = network
        self.spec = TowerSpec("audio", SPACE, network.dim)
        settings = network.checkpoint.processor("feature_extractor")
        self.sample_rate = int(settings.get("sampling_rate", _SAMPLE_RATE))
        self._hop_length = int(settings.get("hop_length", _HOP_LENGTH))
        if int(settings.get("feature_size", 1)) != 1:
            raise ModelError(
                f"{network.checkpoint.source} hears {settings['feature_size']} channels, expected one; copy"
                " processor_config.json again from where the checkpoint came"
            )

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checkpoint's weights and files, the precision, and what this code does to a window."""
        return self._network.checkpoint.fingerprint("audio", PREPROCESSING_VERSION, self._network.precision)

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._network.precision

    def prepare(self, sample: AudioSample) -> NDArray[np.float32]:
        """A window, mirrored at its end up to a whole number of the codec's steps of 40 ms: (samples,) float32."""
        longest = round(WINDOW_SECONDS * self.sample_rate)
        if sample.sample_rate != self.sample_rate:
            raise ModelError(f"PE-AV hears {self.sample_rate} Hz, got sound at {sample.sample_rate} Hz; resample it")
        if not 0 < len(sample.waveform) <= longest:
            raise ModelError(
                f"PE-AV takes windows of 1 to {longest} samples, got {len(sample.waveform)}; cut sound with"
                " indexer.windows"
            )
        return np.pad(sample.waveform, (0, -len(sample.waveform) % self._hop_length), mode="reflect")

    def encode(self, prepared: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors of prepared windows: (len(prepared), dim) float32, of any length."""
        return self._network.encode([{"input_values": waveform[None, None]} for waveform in prepared])


def _image_processor(checkpoint: Checkpoint) -> ImageProcessor:
    """What the checkpoint's video processor does to a frame."""
    found = checkpoint.processor("video_processor")
    size = found.get("size") or {}
    vision = ((checkpoint.config.get("audio_video_config") or {}).get("video_config") or {}).get("vision_config") or {}
    wanted = _side_of(vision)
    if found.get("do_sample_frames") and (found.get("num_frames") or 1) > 1:
        raise ModelError(
            f"{checkpoint.source} takes {found['num_frames']} frames of a video at once, and pictures and frames are"
            " searched one by one here; take a checkpoint without a number of frames, such as facebook/pe-av-large"
        )
    if found.get("do_center_crop") or not {"height", "width"} <= set(size):
        raise ModelError(
            f"{checkpoint.source} prepares frames of the size {size!r}; expected height and width, without a crop"
        )
    given = (int(size["height"]), int(size["width"]))
    if wanted is not None and given != (wanted, wanted):
        raise ModelError(
            f"{checkpoint.source} prepares frames of {given} pixels, and its network takes {(wanted, wanted)}; copy"
            " processor_config.json and config.json again, from one checkpoint"
        )
    normalised = found.get("do_normalize", True)
    return ImageProcessor(
        size=given,
        crop=None,
        resampling=Image.Resampling(int(found.get("resample", Image.Resampling.BILINEAR))),
        scale=float(found.get("rescale_factor", 1 / 255)) if found.get("do_rescale", True) else 1.0,
        mean=tuple(found.get("image_mean") or (0.5,) * 3) if normalised else (0.0,) * 3,
        deviation=tuple(found.get("image_std") or (0.5,) * 3) if normalised else (1.0,) * 3,
    )


def _side_of(vision: dict[str, Any]) -> int | None:
    """Side of the pictures that timm's network takes, of its arguments or the end of its name; None if neither says."""
    given = (vision.get("model_args") or {}).get("img_size")
    named = re.search(r"_(\d+)$", str(vision.get("architecture", "")))
    return int(given) if isinstance(given, int) else int(named[1]) if named else None
