"""CLAP: sound and text in one space, from a checkpoint of transformers' `ClapModel`.

Model: Wu et al., Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption
Augmentation, ICASSP 2023 (arXiv:2211.06687). Checkpoints: https://huggingface.co/laion, such as clap-htsat-unfused.

transformers' own `ClapFeatureExtractor` crops sound of more than ten seconds at random, so that vectors differ from run
to run. Here sound is cut into windows first, and only the deterministic steps for one window are done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ModelError
from indexer.types import AudioSample, TowerSpec, Vectors
from mmsearch.encoders.precision import Precision, choose_precision
from mmsearch.encoders.transformers_folder import Checkpoint, open_checkpoint
from mmsearch.encoders.transformers_half import Half, HalfClass, TransformersTextTower
from mmsearch.encoders.transformers_loading import LOADING
from mmsearch.encoders.transformers_tokenizer import token_limit

SPACE = "clap"
AUDIO = HalfClass("ClapAudioModelWithProjection", "audio_config", "audio_embeds")
TEXT = HalfClass("ClapTextModelWithProjection", "text_config", "text_embeds")

# Counted up by hand whenever the code makes other vectors of the same checkpoint.
PREPROCESSING_VERSION = "1"

# Windows in one forward pass of one thread: four was fastest, by a few per cent.
CHUNK = 4

# transformers.audio_utils: mel_floor of `spectrogram` and min_value of `power_to_db`, which is -100 dB.
POWER_FLOOR = 1e-10

# ClapFeatureExtractor's defaults, for what a configuration leaves out.
_DEFAULTS: dict[str, Any] = {
    "feature_size": 64,
    "sampling_rate": 48_000,
    "hop_length": 480,
    "max_length_s": 10,
    "fft_window_size": 1024,
    "frequency_min": 0,
    "frequency_max": 14_000,
    "truncation": "fusion",
    "padding": "repeatpad",
}

# The last part of a path or of a repository's name. Not larger_clap_music_and_speech, which is another.
_COLLAPSED = re.compile(r"larger_clap_music(?!_and_speech)[^/\\]*[/\\]*$")

Spectrogram = NDArray[np.float32]


def clap_towers(source: str, *, precision: str | None = None) -> tuple[ClapAudioTower, TransformersTextTower]:
    """The audio and the text tower of a checkpoint: a local folder, or a repository such as laion/clap-htsat-unfused.

    `precision` is float32, bfloat16 or float16; None chooses as `choose_precision` does.
    """
    _refuse_collapsed(source)
    checkpoint = open_checkpoint(source, ("clap",), "clap:{folder}")
    place = checkpoint.folder.resolve()
    # In the hub's cache, the name is that of the folder around "snapshots".
    cached = str(place.parents[1]) if place.parent.name == "snapshots" else ""
    _refuse_collapsed(str(place), cached, str(checkpoint.config.get("_name_or_path", "")))
    dim = int(checkpoint.config.get("projection_dim", 512))
    text = checkpoint.config.get("text_config") or {}
    # RoBERTa counts positions from the one after the padding token's.
    positions = int(text.get("max_position_embeddings", 514)) - int(text.get("pad_token_id", 1)) - 1
    number_type = choose_precision(precision)
    return (
        ClapAudioTower(Half(checkpoint, AUDIO, dim, number_type), TowerSpec("audio", SPACE, dim)),
        TransformersTextTower(
            Half(checkpoint, TEXT, dim, number_type),
            TowerSpec("text", SPACE, dim),
            max_tokens=token_limit(checkpoint, positions),
            padded=False,
            version=PREPROCESSING_VERSION,
        ),
    )


class ClapAudioTower:
    """Windows of sound. The weights load on first use.

    Of a checkpoint with feature fusion, windows take the path for sound that is not "longer" than the model hears
    at once. Upstream marks one of each batch as longer all the same, at random: its vector then depends on chance.
    """

    def __init__(self, half: Half, spec: TowerSpec) -> None:
        self._half = half
        self._spec = spec
        self._settings = _settings(half.checkpoint)

    @property
    def spec(self) -> TowerSpec:
        """Modality, space and number of dimensions, known from config.json."""
        return self._spec

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checkpoint's weights and files, the precision, and what this code does to a window."""
        return self._half.checkpoint.fingerprint("audio", PREPROCESSING_VERSION, self._half.precision)

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._half.precision

    @property
    def sample_rate(self) -> int:
        """Hz at which it hears."""
        return int(self._settings["sampling_rate"])

    @property
    def window_seconds(self) -> float:
        """Length of the windows that sound is cut into: what the model hears at once."""
        return float(self._settings["max_length_s"])

    @property
    def hop_seconds(self) -> float:
        """From the start of one window to the start of the next: half a window, so that no sound is only at an edge."""
        return self.window_seconds / 2

    def prepare(self, sample: AudioSample) -> Spectrogram:
        """The log-mel spectrogram of a window, padded if it is short: (frames, mel bins) float32, in dB.

        Done here and not in `encode`, because it is a seventh of the waveform's size: 256 kB for ten seconds.
        """
        length = int(self._settings["max_length_s"]) * self.sample_rate
        if sample.sample_rate != self.sample_rate:
            raise ModelError(f"CLAP hears {self.sample_rate} Hz, got sound at {sample.sample_rate} Hz; resample it")
        if not 0 < len(sample.waveform) <= length:
            raise ModelError(
                f"CLAP takes windows of 1 to {length} samples, got {len(sample.waveform)}; cut sound with"
                " indexer.windows"
            )
        waveform = _pad(sample.waveform, length, self._settings["padding"])
        window, bands = self._filters
        hop = int(self._settings["hop_length"])
        padded = np.pad(waveform, len(window) // 2, mode="reflect").astype(np.float64)
        frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
        # Rounded to complex64 because upstream does, in whose quiet frames it shows.
        spectrum = np.fft.rfft(frames * window, axis=1).astype(np.complex64)
        power = np.abs(spectrum, dtype=np.float64) ** 2
        # Each filter hears a narrow band. One product with the whole matrix, which is nearly all zeros, is slower, and
        # BLAS would split it over threads that the decoders are using.
        mel = np.empty((len(power), len(bands)))
        for row, (band, weights) in enumerate(bands):
            mel[:, row] = power[:, band] @ weights
        decibels: Spectrogram = (10.0 * np.log10(np.maximum(POWER_FLOOR, mel))).astype(np.float32)
        return decibels

    def encode(self, prepared: Sequence[Spectrogram]) -> Vectors:
        """Vectors of spectrograms: (len(prepared), dim) float32, of any length."""
        chunks = []
        for start in range(0, len(prepared), CHUNK):
            features = np.stack(prepared[start : start + CHUNK])[:, None]
            chunks.append({"input_features": features, "is_longer": np.zeros((len(features), 1), np.bool_)})
        return self._half.encode(chunks)

    @cached_property
    def _filters(self) -> tuple[NDArray[np.float64], list[tuple[slice, NDArray[np.float64]]]]:
        """A Hann window (fft_window_size,), and for each mel bin its band of frequencies and their weights."""
        with LOADING:
            from transformers.audio_utils import mel_filter_bank, window_function

        settings = self._settings
        # As ClapFeatureExtractor chooses: torchaudio's filters for checkpoints with fusion, librosa's for others.
        fused = settings["truncation"] == "fusion"
        mel_filters = mel_filter_bank(
            num_frequency_bins=settings["fft_window_size"] // 2 + 1,
            num_mel_filters=settings["feature_size"],
            min_frequency=settings["frequency_min"],
            max_frequency=settings["frequency_max"],
            sampling_rate=settings["sampling_rate"],
            norm=None if fused else "slaney",
            mel_scale="htk" if fused else "slaney",
        )
        bands = []
        for weights in mel_filters.T:
            heard = np.flatnonzero(weights)
            band = slice(heard[0], heard[-1] + 1) if len(heard) else slice(0, 0)
            bands.append((band, weights[band].copy()))
        return window_function(settings["fft_window_size"], "hann").astype(np.float64), bands


def _pad(waveform: NDArray[np.float32], length: int, padding: str) -> NDArray[np.float32]:
    """A waveform as ClapFeatureExtractor pads it: (length,) float32."""
    if len(waveform) < length and padding == "repeat":
        waveform = np.tile(waveform, length // len(waveform) + 1)[:length]
    if len(waveform) < length and padding == "repeatpad":
        waveform = np.tile(waveform, length // len(waveform))
    return np.pad(waveform, (0, length - len(waveform)))


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The feature extractor's settings, complete, after checking that they fit the model and this code."""
    found = checkpoint.processor("feature_extractor")
    settings = {name: found.get(name, default) for name, default in _DEFAULTS.items()}
    audio = checkpoint.config.get("audio_config") or {}
    accepted: dict[str, tuple[Any, ...]] = {
        "feature_size": (audio.get("num_mel_bins", 64),),
        "padding": ("repeatpad", "repeat", "pad"),
        "truncation": ("fusion", "rand_trunc"),
    }
    for name, values in accepted.items():
        if settings[name] not in values:
            raise ModelError(
                f"{checkpoint.source}: the feature extractor's {name} is {settings[name]!r}, expected"
                f" {' or '.join(map(repr, values))}; copy preprocessor_config.json again, or name another checkpoint"
            )
    if audio.get("enable_fusion") and audio.get("fusion_type") == "channel_map":
        raise ModelError(
            f"{checkpoint.source} fuses by 'channel_map', for which transformers' own model does not run; take a"
            " checkpoint with 'aff_2d', or without fusion, such as laion/clap-htsat-unfused"
        )
    return settings


def _refuse_collapsed(*names: str) -> None:
    for name in names:
        if _COLLAPSED.search(name):
            raise ModelError(
                f"{name!r} cannot be used: the text tower of laion/larger_clap_music is collapsed, all texts get nearly"
                " the same vector, so that no sound is found by words; use laion/clap-htsat-unfused or"
                " laion/larger_clap_general"
            )
