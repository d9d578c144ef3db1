"""A library of coloured pictures whose captions call red "cat", green "dog" and blue "bird": one matrix says it all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from indexer.testing import FakeEncoder
from mmsearch import Engine

WORDS = ("cat", "dog", "bird")


def colours(count: int, seed: int = 0) -> np.ndarray:
    """(count, 3) shares of red, green and blue in ninths, no two alike while there are others."""
    rng = np.random.default_rng(seed)
    every = np.array([(r, g, b) for r in range(10) for g in range(10) for b in range(10) if max(r, g, b) == 9])
    return every[rng.permutation(len(every))[:count]]


def caption(colour: np.ndarray) -> str:
    return " ".join(word for word, times in zip(WORDS, colour.tolist(), strict=True) for _ in range(times))


class Zoo:
    """Pictures on disk with their captions, in a file of pairs."""

    def __init__(self, folder: Path, make) -> None:
        self.folder, self._make = folder, make
        self.media = folder / "media"
        self.library = folder / "library"
        self.encoder = FakeEncoder(max_tokens=64)

    def pictures(self, count: int, seed: int = 0) -> list[tuple[Path, str]]:
        found = []
        for number, colour in enumerate(colours(count, seed)):
            path = self._make.image(self.media / f"{seed}-{number:03}.png", tuple(int(c) * 28 for c in colour))
            found.append((path, caption(colour)))
        return found

    def pairs(self, count: int = 120, *, seed: int = 0, shuffled: bool = False) -> Path:
        rows = self.pictures(count, seed)
        texts = [text for _, text in rows]
        if shuffled:
            texts = [texts[at] for at in np.random.default_rng(1).permutation(count)]
        path = self.folder / f"pairs-{seed}-{shuffled}.jsonl"
        lines = [json.dumps({"image": str(p), "text": t}) for (p, _), t in zip(rows, texts, strict=True)]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def engine(self) -> Engine:
        return Engine.open(self.library, model=self.encoder)


@pytest.fixture
def zoo(tmp_path, make) -> Zoo:
    return Zoo(tmp_path, make)


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    """What a processor with AMX would choose rounds more than these tests allow."""
    monkeypatch.setenv("MMSEARCH_PRECISION", "float32")
