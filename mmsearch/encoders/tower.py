"""What a tower is: the parts that a model is put together from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from indexer.legible import Legible
from indexer.types import AudioSample, TextSample, TowerSpec, Vectors


class Tower(Protocol):
    """One tower: it encodes one modality into one named space. Its weights load on first use.

    `prepare` is called from many threads at once, `encode` from one at a time. A vector may depend
    neither on its neighbours in a batch nor on their order.
    """

    @property
    def spec(self) -> TowerSpec:
        """Modality, space and number of dimensions, known without loading weights."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a vector would: weights (file hash or revision), precision, preprocessing."""

    def prepare(self, sample: Any) -> Any:
        """Bring a sample of the tower's modality to its input, small enough to queue."""

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        """Encode what `prepare` gave: (len(prepared), dim) float32, of any length."""


class ImageTower(Tower, Protocol):
    """A tower that takes `ImageSample`s."""

    @property
    def image_side(self) -> int:
        """Shorter side, in pixels, below which a picture must not be scaled down before `prepare`."""


class AudioTower(Tower, Protocol):
    """A tower that takes `AudioSample`s of one window each."""

    @property
    def sample_rate(self) -> int:
        """Hz at which it hears; `prepare` takes no other."""

    @property
    def window_seconds(self) -> float:
        """Length of the windows that sound is cut into; a shorter one is padded by `prepare`."""

    @property
    def hop_seconds(self) -> float:
        """From the start of one window to the start of the next."""


class TextTower(Tower, Protocol):
    """A tower that takes `TextSample`s."""

    @property
    def max_tokens(self) -> int:
        """How many tokens it reads, its special ones included."""

    def count_tokens(self, text: str) -> int:
        """How many tokens the tower sees in a text, its special ones included."""


@runtime_checkable
class ReadsWords(Protocol):
    """A text tower that cannot read every text, as `indexer.legible.ReadsInPart` is an encoder that cannot."""

    def legible(self, text: str) -> Legible:
        """What of a text it can read. Called from many threads at once."""


@dataclass(frozen=True, slots=True)
class Towers:
    """The towers of one part of a model.

    `queries`: text towers into the spaces of `visual` and `sound`. `documents`: for documents and spoken lines, where
    the part has a tower of its own for these.
    """

    visual: ImageTower | None = None
    sound: AudioTower | None = None
    queries: tuple[TextTower, ...] = ()
    documents: TextTower | None = None


class Transcriber(Protocol):
    """Turns speech into timed lines."""

    @property
    def sample_rate(self) -> int:
        """Hz at which it hears."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever its lines would."""

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """The lines spoken in a stretch of sound, timed from the start of the file; [] without speech."""
