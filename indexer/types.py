"""Values that cross boundaries: what decoders give, what encoders take, what a model says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.names import CHANNELS, KINDS, Channel, Kind, Modality

Vectors = NDArray[np.float32]


def _check_span(start_seconds: float | None, end_seconds: float | None) -> None:
    if (start_seconds is None) != (end_seconds is None):
        raise ValueError(f"a time span has both ends or none, got {start_seconds!r} to {end_seconds!r}")
    if start_seconds is not None and end_seconds is not None and not 0 <= start_seconds <= end_seconds:
        raise ValueError(f"a time span runs forward from 0, got {start_seconds!r} to {end_seconds!r} s")


@dataclass(frozen=True, slots=True, eq=False)
class ImageSample:
    """A picture, or one frame of a video with the span of time that it stands for.

    `pixels`: (height, width, 3) uint8, sRGB, upright, opaque.
    """

    pixels: NDArray[np.uint8]
    start_seconds: float | None = None
    end_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8 or not self.pixels.size:
            raise ValueError(f"pixels must be (height, width, 3) uint8, got {self.pixels.shape} {self.pixels.dtype}")
        _check_span(self.start_seconds, self.end_seconds)


@dataclass(frozen=True, slots=True, eq=False)
class AudioSample:
    """A stretch of sound. `waveform`: (samples,) float32, mono, nominally in [-1, 1], at `sample_rate` Hz."""

    waveform: NDArray[np.float32]
    sample_rate: int
    start_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.waveform.ndim != 1 or self.waveform.dtype != np.float32:
            raise ValueError(f"waveform must be (samples,) float32, got {self.waveform.shape} {self.waveform.dtype}")
        if self.sample_rate <= 0 or self.start_seconds < 0:
            raise ValueError(f"got a sample rate of {self.sample_rate} Hz, starting at {self.start_seconds} s")

    @property
    def end_seconds(self) -> float:
        """Where this stretch ends, in seconds from the start of the file."""
        return self.start_seconds + len(self.waveform) / self.sample_rate


@dataclass(frozen=True, slots=True)
class TextSample:
    """A chunk of a document, or a line that is said or shown in a span of time. Never blank."""

    text: str
    start_seconds: float | None = None
    end_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("a text sample must hold some text")
        _check_span(self.start_seconds, self.end_seconds)


Sample = ImageSample | AudioSample | TextSample


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a file says of itself.

    `format` is a short lower-case name such as "jpeg", "mp4" or "markdown". `captured_at` is
    aware where the file gives a time zone and naive (local time of the camera) where it does not.
    `latitude` and `longitude` are degrees, north and east positive (WGS 84).
    """

    kind: Kind
    format: str
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    captured_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """What decoders must know of the model and of the limits.

    `image_side`: shorter side, in pixels, below which a picture must not be scaled down.
    `sample_rate`: Hz that sound is resampled to; None when nothing listens, so none is decoded.
    `count_tokens`: how many tokens the text tower sees in a text, its special tokens included.
    `max_tokens`, `overlap_tokens`: size of a chunk of a document, and what neighbours share.
    `max_pixels`: pixels that may be decoded for one picture (after DCT scaling).
    """

    image_side: int
    sample_rate: int | None
    count_tokens: Callable[[str], int]
    max_tokens: int
    overlap_tokens: int = 32
    frames_per_second: float = 1.0
    max_frames_per_minute: int = 60
    audio_block_seconds: float = 300.0
    max_pixels: int = 64_000_000
    max_text_bytes: int = 64_000_000


@dataclass(frozen=True, slots=True)
class TowerSpec:
    """One tower: it encodes `modality` into `space`, as vectors of `dim` numbers.

    `asks`: the channels of its space that a query reaches through this tower, None for each of them. Two text towers
    may share a space: one for documents, which asks none, and one for queries; or one for each channel.
    """

    modality: Modality
    space: str
    dim: int
    asks: tuple[Channel, ...] | None = None

    def to_row(self) -> dict[str, Any]:
        """As JSON values. What has its default is left out: a tower then has the row that it always had."""
        row: dict[str, Any] = {"modality": self.modality, "space": self.space, "dim": self.dim}
        return row if self.asks is None else {**row, "asks": list(self.asks)}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> TowerSpec:
        """Read back what `to_row` gave."""
        asks = row.get("asks")
        return cls(**{**row, "asks": None if asks is None else tuple(asks)})


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as a small table: its towers, and which tower makes the vectors of each channel.

    `fingerprint` changes whenever any vector would: it covers weights, precision and preprocessing.
    `transcribes`: the model turns speech into timed lines, which become the speech channel.
    `window_seconds`, `hop_seconds`: what sound is cut into for the sound channel; None without one.
    `token_limits`: how many tokens each text tower reads of a query; a tower without an entry reads `max_tokens`.
    `precision`: the number type of towers that could also compute in another; None where there is no choice.
    """

    name: str
    fingerprint: str
    towers: tuple[TowerSpec, ...]
    channels: tuple[tuple[Channel, TowerSpec], ...]
    image_side: int
    sample_rate: int | None
    max_tokens: int
    transcribes: bool
    window_seconds: float | None = None
    hop_seconds: float | None = None
    token_limits: tuple[tuple[TowerSpec, int], ...] = ()
    precision: str | None = None

    def __post_init__(self) -> None:
        for channel, tower in self.channels:
            if tower not in self.towers:
                raise ValueError(f"channel {channel!r} names a tower that model {self.name!r} does not have: {tower}")
        window, hop = self.window_seconds, self.hop_seconds
        if (self.tower_of("sound") is None) != (window is None) or (window is None) != (hop is None):
            raise ValueError(f"a sound channel, and nothing else, has windows; got {window!r} s every {hop!r} s")
        if window is not None and hop is not None and not 0 < hop <= window:
            raise ValueError(f"windows must cover all sound, got {window!r} s every {hop!r} s")

    def tower_of(self, channel: Channel) -> TowerSpec | None:
        """The tower that makes this channel's vectors; None when the model has no such channel."""
        return dict(self.channels).get(channel)

    def query_tower(self, modality: Modality, channel: Channel) -> TowerSpec | None:
        """The tower that brings a query of `modality` into the channel's space; None when there is none."""
        target = self.tower_of(channel)
        if target is None:
            return None
        fitting = (tower for tower in self.towers if tower.modality == modality and tower.space == target.space)
        return next((tower for tower in fitting if tower.asks is None or channel in tower.asks), None)

    def token_limit(self, tower: TowerSpec) -> int:
        """How many tokens a text tower reads of a query, its special tokens included."""
        return dict(self.token_limits).get(tower, self.max_tokens)

    def to_json(self) -> str:
        """The whole table as one line of JSON, which `from_json` reads back."""
        row = asdict(self)
        row["towers"] = [tower.to_row() for tower in self.towers]
        row["channels"] = [(channel, tower.to_row()) for channel, tower in self.channels]
        row["token_limits"] = [(tower.to_row(), limit) for tower, limit in self.token_limits]
        return json.dumps(row, sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> ModelSpec:
        """Read back what `to_json` wrote. Older versions wrote fewer fields; these have their defaults."""
        row = json.loads(line)
        row["towers"] = tuple(TowerSpec.from_row(tower) for tower in row["towers"])
        row["channels"] = tuple((channel, TowerSpec.from_row(tower)) for channel, tower in row["channels"])
        row["token_limits"] = tuple((TowerSpec.from_row(tower), limit) for tower, limit in row.get("token_limits", ()))
        return cls(**row)


class Encoder(Protocol):
    """The one expensive seam: everything that mmsearch asks of a model.

    An encoder loads its weights on first use, not when it is made. `prepare` and `count_tokens` are
    called from many threads at once; the other methods from one thread at a time. A vector may depend neither on its
    neighbours in a batch nor on their order. A `ModelError` from any method ends an indexing run: the model
    cannot be used. Any other exception is taken for a failure on the file in hand.
    """

    @property
    def spec(self) -> ModelSpec:
        """The model's table, known without loading any weights."""

    def prepare(self, tower: TowerSpec, sample: Sample) -> Any:
        """Bring one sample to the tower's input (resize, crop, tokenize), small enough to queue."""

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        """Encode what `prepare` gave: (len(prepared), tower.dim) float32, as the tower gives it.

        Rows may have any length but 0. Whoever calls brings them to length 1 (`indexer.vectors.unit`); the store keeps
        the length that was, because some measures of distance ask for it.
        """

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """The lines spoken in a stretch of sound, timed from the start of the file; [] without speech."""

    def count_tokens(self, text: str, tower: TowerSpec | None = None) -> int:
        """How many tokens a text tower sees in a text, its special tokens included.

        Without `tower`, the one that documents go through. It is only given where the spec has `token_limits`.
        """


__all__ = [
    "CHANNELS",
    "KINDS",
    "AudioSample",
    "Channel",
    "DecodeSettings",
    "Encoder",
    "ImageSample",
    "Kind",
    "MediaInfo",
    "Modality",
    "ModelSpec",
    "Sample",
    "TextSample",
    "TowerSpec",
    "Vectors",
]
