"""Two spaces in which everything can be known: the second is the first, turned, moved and made noisy."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.testing import frequency_of
from indexer.types import ImageSample, TextSample, TowerSpec
from mmsearch.encoders.composite import CompositeEncoder

LATENT, SIGHT, HEARING = 24, 40, 32

CONCEPTS = ("dog", "piano", "rain", "train", "crowd", "saw", "waves", "bell", "engine", "bird", "fire", "drum", "cat")
"""What pictures show and sounds say. A picture of one is of one colour, a sound of it one tone."""

LEVELS = (32, 128, 224)


def colour_of(concept: str) -> tuple[int, int, int]:
    """The colour that shows a concept, far from all others: H.264 moves it by less."""
    number = CONCEPTS.index(concept) * 2 + 1  # of 27
    return (LEVELS[number // 9], LEVELS[number // 3 % 3], LEVELS[number % 3])


def latent_of(text: str) -> np.ndarray:
    """What a text means: the sum of its words' directions, which are drawn at random once and for all."""
    total = sum(_direction(word) for word in re.findall(r"\w+", text.lower()))
    return total / np.linalg.norm(total)


@cache
def _direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
    return np.random.default_rng(seed).normal(size=LATENT) * (3 if word in CONCEPTS else 1)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


class TwoSpaces:
    """Maps from meanings to the vectors of four towers.

    Each space is a turn of the latent one into more dimensions, and each tower adds a gap of its own, in a direction
    that also meets the meanings: what is not centred by its own tower's mean is in the wrong place.
    """

    def __init__(self, seed: int = 0, *, gap: float = 1.5, noise: float = 0.15) -> None:
        rng = np.random.default_rng(seed)
        self.noise = noise
        self.turns, self.gaps = {}, {}
        for space, dim in (("sight", SIGHT), ("hearing", HEARING)):
            self.turns[space] = np.linalg.qr(rng.normal(size=(dim, LATENT)))[0].T
            for modality in ("text", "image" if space == "sight" else "audio"):
                direction = rng.normal(size=dim)
                self.gaps[modality, space] = gap * direction / np.linalg.norm(direction)

    def vectors(self, latents: np.ndarray, modality: str, space: str, rng: np.random.Generator) -> np.ndarray:
        """Meanings (n, LATENT), as one tower sees them: (n, dim) float32 of length 1."""
        rows = latents @ self.turns[space]
        rows = rows + self.noise * rng.normal(size=rows.shape) / np.sqrt(rows.shape[-1]) * np.sqrt(LATENT / 4)
        return _unit(rows + self.gaps[modality, space])


@cache  # the captions are read in many tests
def _read(spaces: TwoSpaces, space: str, text: str) -> np.ndarray:
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little"))
    return spaces.vectors(latent_of(text)[None], "text", space, rng)[0]


_spaces = cache(TwoSpaces)


class Tower:
    """A tower into one of the two spaces, with the noise of each meaning fixed by what is encoded."""

    def __init__(self, spec: TowerSpec, spaces: TwoSpaces, **properties: Any) -> None:
        self.spec, self._spaces = spec, spaces
        self.fingerprint = f"{spec.modality} {spec.space}"
        self.encoded = 0
        self.__dict__.update(properties)

    def prepare(self, sample: Any) -> np.ndarray:
        if isinstance(sample, TextSample):
            return _read(self._spaces, self.spec.space, sample.text)
        if isinstance(sample, ImageSample):
            mean = sample.pixels.reshape(-1, 3).mean(axis=0)
            near = min(CONCEPTS, key=lambda concept: np.abs(mean - colour_of(concept)).sum())
            # A few pixels besides the plain colour make another picture of the same thing.
            latent, content = latent_of(near), (sample.pixels[:2] // 16).tobytes()
        else:
            loud = np.abs(np.fft.rfft(sample.waveform))
            heard = int(np.argmax(loud) * sample.sample_rate / len(sample.waveform) + 0.5)
            near = min(CONCEPTS, key=lambda concept: abs(heard - tone_of(concept)))
            latent, content = latent_of(near), np.round(sample.waveform[:64], 1).tobytes()
        seed = int.from_bytes(hashlib.sha256(content).digest()[:4], "little")
        rng = np.random.default_rng(seed)
        return self._spaces.vectors(latent[None], self.spec.modality, self.spec.space, rng)[0]

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        self.encoded += len(prepared)
        return np.stack(prepared)

    def count_tokens(self, text: str) -> int:
        return len(text.split()) + 2


class DocumentTower:
    """Texts in a space of their own."""

    spec = TowerSpec("text", "words", 4)
    fingerprint = "words"
    max_tokens = 64

    def prepare(self, sample: TextSample) -> np.ndarray:
        return _unit(np.array([len(sample.text), 1.0, 0.0, 0.0]))

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(prepared)

    def count_tokens(self, text: str) -> int:
        return len(text.split()) + 2


def tone_of(concept: str) -> int:
    from indexer.testing import VOCABULARY

    return frequency_of(VOCABULARY[CONCEPTS.index(concept)])


def two_spaces_encoder(**how: Any) -> CompositeEncoder:
    """A model with two spaces, of towers that are known."""
    spaces = _spaces(**how)
    sight, hearing = TowerSpec("text", "sight", SIGHT), TowerSpec("text", "hearing", HEARING)
    return CompositeEncoder(
        "two spaces",
        visual=Tower(TowerSpec("image", "sight", SIGHT), spaces, image_side=8),
        sound=Tower(
            TowerSpec("audio", "hearing", HEARING), spaces, sample_rate=8_000, window_seconds=2.0, hop_seconds=2.0
        ),
        document_text=DocumentTower(),
        query_texts=[Tower(sight, spaces, max_tokens=64), Tower(hearing, spaces, max_tokens=64)],
        transcriber=None,
    )


@pytest.fixture
def two_spaces() -> type[TwoSpaces]:
    return TwoSpaces


@pytest.fixture
def two_spaces_model():
    """Makes encoders of two spaces."""
    return two_spaces_encoder


class Media:
    """Media that show and say concepts."""

    CONCEPTS = CONCEPTS

    def __init__(self, folder: Path, make: Any) -> None:
        self.folder, self._make = folder, make

    def picture(self, concept: str, number: int = 0) -> Path:
        colour = colour_of(concept)
        other = tuple(max(0, value - 3 * number) for value in colour)
        return self._make.image(self.folder / f"{concept}-{number}.png", colour, colour, other)

    def sound(self, concept: str, seconds: int = 2, *, suffix: str = "") -> Path:
        return self._make.tones(self.folder / f"{concept}{suffix}.wav", [word_of(concept)] * seconds)

    def video(self, concept: str, seconds: int = 2, *, silent: bool = False) -> Path:
        words = () if silent else [word_of(concept)] * seconds
        return self._make.video(self.folder / f"{concept}.mp4", [colour_of(concept)] * seconds, words)


def word_of(concept: str) -> str:
    """The word of the fake model whose tone says a concept."""
    from indexer.testing import VOCABULARY

    return VOCABULARY[CONCEPTS.index(concept)]


@pytest.fixture
def media(tmp_path, make) -> Media:
    return Media(tmp_path / "media", make)
