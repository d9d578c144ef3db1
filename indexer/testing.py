"""A fake model whose vectors can be computed by hand, for tests of mmsearch and of programs built on it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from indexer.types import AudioSample, ImageSample, ModelSpec, Sample, TextSample, TowerSpec, Vectors

VOCABULARY = (
    *("red", "green", "blue"),
    *("cat", "dog", "bird", "sea", "tree", "car", "house", "music", "night", "rain", "fire", "bread"),
    "other",
)
"""The meaning of each of the fake model's dimensions."""

SAMPLE_RATE = 8000
_LOUD_ENOUGH = 0.01


def frequency_of(word: str) -> int:
    """The tone, in Hz, that the fake model hears as `word`: 200 Hz for "red", 300 Hz for "green", and so on."""
    return 200 + 100 * VOCABULARY.index(word)


class FakeEncoder:
    """A model that anyone can work out on paper; it implements `indexer.types.Encoder`.

    - A text counts its words: one dimension for each word of `VOCABULARY`, the last for all others.
    - A picture is its mean colour, on the dimensions "red", "green" and "blue"; black is "other".
    - Speech is tones: each whole second is the word whose `frequency_of` is loudest, and
      neighbouring seconds of one word make one line. Silence says nothing.

    All vectors are then brought to length 1, so that "red green" against a red picture scores
    1 / sqrt(2). With `raw` they are given as they are, "cat cat dog" with a length of sqrt(5).
    `encoded` counts what was encoded, by modality, so that tests can prove that nothing was encoded
    twice. `seconds_per_batch` makes it slow, for tests that interrupt it.
    """

    def __init__(
        self, name: str = "fake", *, seconds_per_batch: float = 0.0, max_tokens: int = 32, raw: bool = False
    ) -> None:
        text = TowerSpec("text", "fake", len(VOCABULARY))
        image = TowerSpec("image", "fake", len(VOCABULARY))
        self._spec = ModelSpec(
            name=name,
            fingerprint=f"{name}-raw-1" if raw else f"{name}-1",
            towers=(text, image),
            channels=(("visual", image), ("text", text), ("speech", text)),
            image_side=8,
            sample_rate=SAMPLE_RATE,
            max_tokens=max_tokens,
            transcribes=True,
        )
        self._seconds_per_batch = seconds_per_batch
        self._raw = raw
        self.encoded: Counter[str] = Counter()

    @property
    def spec(self) -> ModelSpec:
        """One space, "fake", of len(VOCABULARY) dimensions, for text, pictures and speech."""
        return self._spec

    def prepare(self, tower: TowerSpec, sample: Sample) -> Any:
        """The unnormalised vector itself: (dim,) float32."""
        vector = np.zeros(tower.dim, np.float32)
        if isinstance(sample, ImageSample):
            vector[:3] = sample.pixels.reshape(-1, 3).mean(axis=0) / 255
        elif isinstance(sample, TextSample):
            for word in _words(sample.text):
                vector[VOCABULARY.index(word) if word in VOCABULARY else -1] += 1
        else:
            raise TypeError(f"the fake model has no tower for {type(sample).__name__}")
        if not vector.any():
            vector[-1] = 1
        return vector

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        """(len(prepared), dim) float32, rows of length 1 unless `raw`."""
        time.sleep(self._seconds_per_batch)
        self.encoded[tower.modality] += len(prepared)
        matrix = np.stack(prepared).astype(np.float32)
        if self._raw:
            return matrix
        lengths: Vectors = np.linalg.norm(matrix, axis=1, keepdims=True)
        return matrix / lengths

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """One line for each run of seconds in which the same word sounds."""
        self.encoded["audio"] += 1
        lines: list[TextSample] = []
        for second in range(len(audio.waveform) // audio.sample_rate):
            stretch = audio.waveform[second * audio.sample_rate : (second + 1) * audio.sample_rate]
            word = _heard(stretch)
            start = audio.start_seconds + second
            if word is None:
                continue
            if lines and lines[-1].text == word and lines[-1].end_seconds == start:
                lines[-1] = TextSample(word, lines[-1].start_seconds, start + 1)
            else:
                lines.append(TextSample(word, start, start + 1))
        return lines

    def count_tokens(self, text: str, tower: TowerSpec | None = None) -> int:
        """Words, and two for the ends."""
        return len(_words(text)) + 2


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _heard(second: np.ndarray[Any, np.dtype[np.float32]]) -> str | None:
    """The word whose tone is loudest in one second of sound: (sample_rate,) float32."""
    if float(np.sqrt(np.mean(second**2))) < _LOUD_ENOUGH:
        return None
    loudness = np.abs(np.fft.rfft(second))  # one second of sound, so bin i is i Hz
    return max(VOCABULARY, key=lambda word: loudness[frequency_of(word) - 5 : frequency_of(word) + 6].sum())
