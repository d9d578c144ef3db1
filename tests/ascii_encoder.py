"""A fake model that cannot read every text."""

from __future__ import annotations

from typing import Any

from indexer.legible import Legible
from indexer.testing import FakeEncoder
from indexer.types import AudioSample, Sample, TextSample, TowerSpec


class AsciiEncoder(FakeEncoder):
    """The fake model, for which any word with another character than ASCII's is no word."""

    def legible(self, text: str, tower: TowerSpec) -> Legible:
        words = text.split()
        read = [word for word in words if word.isascii()]
        return Legible(" ".join(read), len(read) / len(words) if words else 0.0)

    def prepare(self, tower: TowerSpec, sample: Sample) -> Any:
        if isinstance(sample, TextSample):
            assert sample.text.isascii(), "what cannot be read is not to be encoded"
        return super().prepare(tower, sample)

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """What is heard as "bread" is said in a language that it cannot read."""
        heard = super().transcribe(audio)
        return [TextSample(line.text.replace("bread", "хлеб"), line.start_seconds, line.end_seconds) for line in heard]
