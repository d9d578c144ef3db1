"""Libraries whose vectors are drawn by chance, filled straight into the store, and the model that goes with them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.types import AudioSample, ImageSample, MediaInfo, ModelSpec, TextSample, TowerSpec, Vectors
from mmsearch.background import calibrate
from mmsearch.engine import Engine

DIM = 24

_CHANNELS_OF = {
    "one": (("visual", "image"), ("speech", "text"), ("text", "text")),
    "look": (("visual", "image"),),
    "listen": (("sound", "audio"),),
    "read": (("speech", "text"), ("text", "text")),
}


class ChanceEncoder:
    """A model that gives anything a vector of its own, drawn by chance around a direction that its tower shares.

    What it gives is not of length 1: a tower's rows are brought there by whoever asks for them.
    """

    ONE_SPACE = (("text", "one"), ("image", "one"))
    THREE_SPACES = (("text", "look"), ("image", "look"), ("text", "listen"), ("audio", "listen"), ("text", "read"))

    def __init__(self, towers: Sequence[tuple[str, str]] = ONE_SPACE) -> None:
        self.towers = {place: TowerSpec(*place, DIM) for place in towers}
        channels = [
            (channel, self.towers[modality, space])
            for space in dict.fromkeys(space for _, space in towers)
            for channel, modality in _CHANNELS_OF[space]
        ]
        hears = any(modality == "audio" for modality, _ in towers)
        self.spec = ModelSpec(
            name="chance",
            fingerprint=f"chance-{towers}",
            towers=tuple(self.towers.values()),
            channels=tuple(channels),
            image_side=8,
            sample_rate=8000,
            max_tokens=64,
            transcribes=True,
            window_seconds=2.0 if hears else None,
            hop_seconds=2.0 if hears else None,
        )
        self.encoded: Counter[str] = Counter()

    def vector(self, tower: TowerSpec, seed: bytes) -> Vectors:
        """(dim,) float32, of any length but 0."""
        shared = np.random.default_rng(zlib.crc32(f"{tower.modality} {tower.space}".encode()))
        own = np.random.default_rng(zlib.crc32(seed + tower.space.encode()))
        return (0.5 * shared.normal(size=tower.dim) + own.normal(size=tower.dim)).astype(np.float32)

    def prepare(self, tower: TowerSpec, sample: Any) -> Any:
        if isinstance(sample, TextSample):
            return self.vector(tower, sample.text.encode())
        if isinstance(sample, ImageSample):
            return self.vector(tower, sample.pixels.tobytes())
        if isinstance(sample, AudioSample):
            return self.vector(tower, sample.waveform.tobytes())
        raise TypeError(type(sample).__name__)

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        self.encoded[tower.modality] += len(prepared)
        return np.stack(prepared) * np.float32(2.5)

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        self.encoded["speech"] += 1
        return [TextSample(f"said {zlib.crc32(audio.waveform.tobytes()) % 5}", audio.start_seconds, audio.end_seconds)]

    def count_tokens(self, text: str, tower: TowerSpec | None = None) -> int:
        return len(text.split())


_KINDS = {"visual": "image", "sound": "audio", "speech": "audio", "text": "text"}


def write(engine: Engine, contents: Sequence[Sequence[NewSegment]], kinds: Sequence[str] | None = None) -> list[str]:
    """Write contents with these segments as files of a library, without decoding anything; their paths."""
    library = engine._library
    generation = library.use(engine.encoder.spec)
    root, _ = library.store.add_root("/drawn")
    start = len(library.store.known_in(root, ""))
    outcomes, paths = [], []
    for number, segments in enumerate(contents, start):
        kind = kinds[number - start] if kinds else _KINDS[segments[0].channel]
        name = f"{number * 7919 % 10_007:05}-{number}.{kind}"  # the order of paths is not that of ids
        paths.append(f"/drawn/{name}")
        content = NewContent(f"digest {number}", MediaInfo(kind, "raw"), segments)
        outcomes.append(Outcome(FilePlace(root, "", name, 1, 1), content))
    library.store.write(generation, outcomes)
    library.save_indexes()
    return paths


def unit(vectors: Any) -> Vectors:
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def drawn(encoder: ChanceEncoder, files: int, seed: int = 0, most: int = 6) -> list[list[NewSegment]]:
    """Contents with up to `most` segments in one or two channels each, some of them the same as others."""
    rng = np.random.default_rng(seed)
    channels = dict(encoder.spec.channels)
    earlier: list[NewSegment] = []
    contents = []
    for number in range(files):
        wanted = rng.choice(list(channels), rng.integers(1, 3), replace=False)
        segments = []
        for channel in map(str, wanted):
            for at in range(int(rng.integers(1, most + 1))):
                same = [old for old in earlier if old.channel == channel]
                if same and rng.random() < 0.1:  # a tie
                    vector = same[rng.integers(len(same))].vector
                else:
                    vector = unit(encoder.vector(channels[channel], f"{seed} {number} {channel} {at}".encode()))
                times = (None, None) if channel in ("text",) or number % 3 == 0 else (2.0 * at, 2.0 * at + 1)
                segments.append(NewSegment(channel, vector, *times))
        earlier += segments
        contents.append(segments)
    return contents


@pytest.fixture(scope="session")
def chance() -> type[ChanceEncoder]:
    """A model whose vectors are drawn by chance: `chance()`, or `chance(towers)`."""
    return ChanceEncoder


@pytest.fixture(scope="session")
def fill() -> Callable[..., list[str]]:
    """Write more contents into a library: `fill(engine, contents)` gives their paths."""
    return write


@pytest.fixture
def filled(tmp_path: Path) -> Callable[..., Engine]:
    """Make an engine over a library of given segments: `filled(contents, encoder=..., calibrated=True)`."""
    engines: list[Engine] = []

    def make(
        contents: Sequence[Sequence[NewSegment]] | int = 60,
        *,
        encoder: Any = None,
        calibrated: bool = True,
        kinds: Sequence[str] | None = None,
    ) -> Engine:
        encoder = encoder or ChanceEncoder()
        engine = Engine.open(tmp_path / f"library {len(engines)}", model=encoder)
        engines.append(engine)
        write(engine, drawn(encoder, contents) if isinstance(contents, int) else contents, kinds)
        if calibrated:
            calibrate(engine._library, encoder)
        return engine

    yield make
    for engine in engines:
        engine.close()
