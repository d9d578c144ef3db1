"""What is looked for, as vectors: each term of a query through every tower that brings it to a channel."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.errors import MediaError, UsageError
from indexer.likeness import decoded_side
from indexer.names import Channel, Modality
from indexer.types import (
    AudioSample,
    DecodeSettings,
    Encoder,
    ImageSample,
    ModelSpec,
    Sample,
    TextSample,
    TowerSpec,
    Vectors,
)
from indexer.windows import windows
from mmsearch.bridge import Bridge
from mmsearch.calibration import centred
from mmsearch.query import Query, Term
from mmsearch.unread import is_plain, legible_parts

FRAMES = 32
"""Frames of a video that a query is made of, evenly spread."""

LISTENED_SECONDS = 300.0
"""How much of a sound, from its beginning, a query is made of."""

_FRAMES_PER_SECOND = 1.0  # of a short video

_PREFERRED: Mapping[Channel, tuple[Modality, ...]] = {
    "visual": ("image", "audio", "text"),
    "sound": ("audio", "image", "text"),
    "speech": ("text", "image", "audio"),
    "text": ("text", "image", "audio"),
}
"""By what a term that is several things at once (a video has frames, sound and speech) reaches each channel."""


@dataclass(frozen=True, slots=True, eq=False)
class Approach:
    """How a term reaches a channel.

    `vector`: (dim,) float32 of length 1, in the channel's space. `norm`: the length that its tower gave it.
    `modality`: what was encoded, which says how it is calibrated: the words of a recording reach documents as text.
    `centre`: (dim,) what is taken from the channel's vectors before they are compared, by what comes over a bridge.
    """

    vector: Vectors
    norm: float
    modality: Modality
    centre: Vectors | None = None

    def compared(self, vectors: Vectors) -> Vectors:
        """The channel's vectors as this is compared with them: (n, dim) float32 of length 1."""
        return vectors if self.centre is None else centred(vectors, self.centre)


Reading = Mapping[Channel, Approach]
"""A term in every channel that it reaches."""

Meanings = dict[tuple[Modality, Channel], tuple[Vectors, float]]
"""Vector and norm of a term by the modality that was encoded and the channel that it is for."""

Encode = Callable[[TowerSpec, Sequence[Sample]], tuple[Vectors, NDArray[np.float64]]]
"""Samples through a tower: rows of length 1, (n, dim) float32, and the lengths that they had, (n,) float64."""


def read_term(
    term: Term, encoder: Encoder, encode: Encode, bridge: Bridge | None = None, filled: Sequence[Channel] | None = None
) -> Reading:
    """A term as vectors; none, of words that the model cannot read: these are still found as words.

    Args:
        term: words, a file, or samples in memory.
        encoder: whose model reads it, and which turns speech into words.
        encode: how samples are encoded; it takes turns with an indexing run.
        bridge: the library's, if it has one.
        filled: the channels that hold vectors. Where the term reaches one of them, no tower is loaded for the others.

    Raises:
        UsageError: the term cannot be read, is too long, or reaches nothing that this model sees or hears.
    """
    spec = encoder.spec
    samples = samples_of(term, encoder)
    meanings: Meanings = {}
    is_blind = False  # a tower could read nothing of it
    channels = [channel for channel, _ in spec.channels]
    within = [channel for channel in channels if filled is None or channel in filled]
    if bridge is None and any(spec.query_tower(modality, channel) for modality in samples for channel in within):
        channels = within
    for modality, parts in samples.items():
        encoded: dict[TowerSpec, tuple[Vectors, float] | None] = {}
        for channel in channels:
            tower = spec.query_tower(modality, channel)
            if tower is None:
                continue
            if tower not in encoded:
                read = legible_parts(term, parts, encoder, tower)
                if read and term.kind == "text" and isinstance(read[0], TextSample):
                    check_length(read[0].text, tower, encoder)
                is_blind = is_blind or not read
                encoded[tower] = mean_of(*encode(tower, read)) if read else None
            if (meaning := encoded[tower]) is not None:
                meanings[modality, channel] = meaning
    reading = reached(spec, meanings, bridge)
    if not reading and not (is_blind and is_plain(term)):
        raise UsageError(_unread(term, spec, samples))
    return reading


def has_meaning(query: Query, readings: Sequence[Reading]) -> bool:
    """Whether the model could read any term that is looked for."""
    return any(reading for term, reading in zip(query.terms, readings, strict=True) if term.weight > 0)


def reached(spec: ModelSpec, meanings: Meanings, bridge: Bridge | None = None) -> Reading:
    """Every channel that a term reaches, by the modality that suits the channel best.

    What was encoded as a modality without a tower into a channel's space may cross the bridge.
    """
    reading: dict[Channel, Approach] = {}
    for channel, _ in spec.channels:
        for modality in _PREFERRED[channel]:
            found = meanings.get((modality, channel))
            if found is not None:
                reading[channel] = Approach(*found, modality)
                break
            carried = bridge.carry(modality, channel, meanings) if bridge is not None else None
            if carried is not None:
                reading[channel] = Approach(carried.vector, carried.norm, modality, carried.centre)
                break
    return reading


def check_length(text: str, tower: TowerSpec, encoder: Encoder) -> None:
    """Refuse a text that a tower would read only the beginning of.

    Raises:
        UsageError: it is longer than the tower reads.
    """
    spec = encoder.spec
    limited = tower in dict(spec.token_limits)
    tokens = encoder.count_tokens(text, tower) if limited else encoder.count_tokens(text)
    limit = spec.token_limit(tower)
    if tokens > limit:
        raise UsageError(
            f"the query has {tokens} tokens, and the model {spec.name!r} reads {limit}; shorten it",
            ", or put it into a file and ask with --text-file",
            hint="or send it as a file of text",
        )


def samples_of(term: Term, encoder: Encoder) -> dict[Modality, list[Sample]]:
    """What a term gives each modality to read, in pieces of the size that towers take."""
    spec = encoder.spec
    if term.kind == "text" and not term.samples:
        return {"text": [TextSample(term.value)]}
    parts: Iterable[Sample] = term.samples or _decoded(term, encoder)
    found: dict[Modality, list[Sample]] = defaultdict(list)
    for sample in parts:
        if isinstance(sample, TextSample):
            found["text"].append(sample)
        elif isinstance(sample, ImageSample):
            if term.kind != "audio":
                found["image"].append(sample)
        elif term.kind != "image":
            if spec.window_seconds is not None and spec.hop_seconds is not None:
                found["audio"].extend(windows(sample, spec.window_seconds, spec.hop_seconds))
            elif any(tower.modality == "audio" for tower in spec.towers):
                found["audio"].append(sample)
            if spec.transcribes:
                found["text"].extend(encoder.transcribe(sample))
    return {modality: parts for modality, parts in found.items() if parts}


def _decoded(term: Term, encoder: Encoder) -> list[Sample]:
    """The samples of a file, as an indexing run decodes it, but no more of them than make a query."""
    from indexer.media import open_media
    from mmsearch.sources import format_of

    spec = encoder.spec
    path = Path(term.value)
    format = format_of(path, term.kind)
    frames_per_second = _FRAMES_PER_SECOND
    try:
        with open_media(path, _settings(encoder, frames_per_second), format=format) as media:
            seconds = media.info.duration_seconds
        if seconds and seconds * frames_per_second > FRAMES:
            frames_per_second = FRAMES / seconds
        samples: list[Sample] = []
        heard = 0.0
        with open_media(path, _settings(encoder, frames_per_second), format=format) as media:
            for sample in media.samples:
                if isinstance(sample, AudioSample):
                    if heard >= LISTENED_SECONDS:
                        if media.info.kind == "audio":
                            break
                        continue
                    heard += len(sample.waveform) / sample.sample_rate
                samples.append(sample)
    except MediaError as error:
        said = f"{os.fsdecode(path)} cannot be asked with: {error.message}"
        raise UsageError(said, error.advice, hint=error.hint) from error
    if not samples and spec.sample_rate is None:
        raise UsageError(f"the model {spec.name!r} hears nothing, so it cannot be asked with {path}")
    return samples


def _settings(encoder: Encoder, frames_per_second: float) -> DecodeSettings:
    spec = encoder.spec
    return DecodeSettings(
        image_side=decoded_side(spec),
        sample_rate=spec.sample_rate,
        count_tokens=encoder.count_tokens,
        max_tokens=spec.max_tokens,
        frames_per_second=frames_per_second,
        audio_block_seconds=LISTENED_SECONDS,
    )


def mean_of(vectors: Vectors, norms: NDArray[np.float64]) -> tuple[Vectors, float]:
    """One vector of length 1 for several: their mean direction. Where they cancel out, the first."""
    mean: Vectors = vectors.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return (mean / length if length > 1e-6 else vectors[0]), float(norms.mean())


def _unread(term: Term, spec: ModelSpec, samples: Mapping[Modality, Sequence[Sample]]) -> str:
    """Why a term reaches nothing, and what to do."""
    what = "there is nothing in it"
    if samples:
        towerless = [one for one in samples if not any(spec.query_tower(one, channel) for channel, _ in spec.channels)]
        what = f"the model {spec.name!r} has no tower for {' or '.join(towerless)}"
        if len(towerless) < len(samples):
            what = f"the model {spec.name!r} cannot read what is in it"
    elif term.kind in ("audio", "video"):
        what = f"nothing is said in it, and the model {spec.name!r} hears only speech"
    return f"{term.value} cannot be looked for: {what}"
