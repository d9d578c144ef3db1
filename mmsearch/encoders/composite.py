"""A model put together from towers: one for pictures, one for sound, and text towers into the space of each.

Documents and speech are not what CLIP and CLAP were trained on: they have a text tower of their own, which every
such model shares. A text query goes through each of the text towers, and so reaches every channel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from indexer.errors import ModelError
from indexer.legible import Legible
from indexer.names import Channel
from indexer.types import AudioSample, ImageSample, ModelSpec, Sample, TextSample, TowerSpec, Vectors
from mmsearch.encoders.heat import ExplainsPictures, HeatMaps
from mmsearch.encoders.tower import AudioTower, ImageTower, ReadsWords, TextTower, Tower, Transcriber

# Pictures are decoded at this size where no tower looks at them.
UNSEEN_SIDE = 32


class CompositeEncoder:
    """The `Encoder` of a model that is made of towers. Each loads on first use, and only when it is used.

    Args:
        name: the model's canonical name, from which `load_encoder` makes it again.
        visual: makes the vectors of the visual channel; None for a model that does not look.
        sound: makes those of the sound channel; None for a model that does not listen to more than speech.
        document_text: makes those of the text and speech channels.
        query_texts: the text towers into the spaces of `visual` and `sound`.
        transcriber: turns speech into the lines of the speech channel; None for no such channel.
    """

    def __init__(
        self,
        name: str,
        *,
        visual: ImageTower | None,
        sound: AudioTower | None,
        document_text: TextTower,
        query_texts: Sequence[TextTower],
        transcriber: Transcriber | None,
    ) -> None:
        self._name = name
        self._visual = visual
        self._sound = sound
        self._document_text = document_text
        self._query_texts = tuple(query_texts)
        self._transcriber = transcriber

    @cached_property
    def spec(self) -> ModelSpec:
        """The model's table; no weights are loaded for it, though those of a hub are fetched for their revision."""
        document = self._document_text.spec
        channels: list[tuple[Channel, TowerSpec]] = []
        if self._visual is not None:
            channels.append(("visual", self._visual.spec))
        if self._sound is not None:
            channels.append(("sound", self._sound.spec))
        if self._transcriber is not None:
            channels.append(("speech", document))
        channels.append(("text", document))
        listeners = [listener for listener in (self._sound, self._transcriber) if listener is not None]
        texts = (self._document_text, *self._query_texts)
        return ModelSpec(
            name=self._name,
            fingerprint=self._fingerprint(channels),
            towers=tuple(self._towers),
            channels=tuple(channels),
            image_side=self._visual.image_side if self._visual is not None else UNSEEN_SIDE,
            sample_rate=max((listener.sample_rate for listener in listeners), default=None),
            max_tokens=self._document_text.max_tokens,
            transcribes=self._transcriber is not None,
            window_seconds=self._sound.window_seconds if self._sound is not None else None,
            hop_seconds=self._sound.hop_seconds if self._sound is not None else None,
            token_limits=tuple((tower.spec, tower.max_tokens) for tower in texts),
            precision=self._precision,
        )

    def prepare(self, tower: TowerSpec, sample: Sample) -> Any:
        """One sample as its tower takes it."""
        encoder = self._tower(tower)
        if isinstance(sample, AudioSample) and self._sound is not None and tower == self._sound.spec:
            return encoder.prepare(at_rate(sample, self._sound.sample_rate))
        return encoder.prepare(sample)

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        """Encode what `prepare` gave: (len(prepared), tower.dim) float32, of any length."""
        return self._tower(tower).encode(prepared)

    def heat_maps(self, tower: TowerSpec, sample: ImageSample, targets: Vectors) -> HeatMaps | None:
        """Where in a picture its scores come from, by its tower if that one knows: see `mmsearch.encoders.heat`."""
        own = self._tower(tower)
        return own.heat_maps(sample, targets) if isinstance(own, ExplainsPictures) else None

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """The lines spoken in a stretch of sound, timed from the start of the file; [] without speech."""
        if self._transcriber is None:
            return []
        return self._transcriber.transcribe(at_rate(audio, self._transcriber.sample_rate))

    def count_tokens(self, text: str, tower: TowerSpec | None = None) -> int:
        """How many tokens a text tower sees, its special ones included: that of documents, unless another is named."""
        for counter in self._query_texts:
            if tower == counter.spec:
                return counter.count_tokens(text)
        return self._document_text.count_tokens(text)

    def legible(self, text: str, tower: TowerSpec) -> Legible:
        """What of a text a text tower can read: all of it, where the tower does not say."""
        own = self._tower(tower)
        return own.legible(text) if isinstance(own, ReadsWords) else Legible.whole(text)

    def keep_text(self) -> None:
        """Keep the text towers that are loaded, so that another process answers queries without torch: kept_text.py."""
        for tower in self._query_texts:
            if hasattr(tower, "keep"):
                tower.keep()

    def text_troubles(self) -> dict[str, str]:
        """Why text towers, by space, are not kept for queries."""
        from mmsearch.encoders.kept_text import why_not_kept

        towers = {tower.spec.space: tower for tower in self._query_texts}
        found = {
            space: why_not_kept(tower.fingerprint) if hasattr(tower, "keep") else "this kind of model cannot be"
            for space, tower in towers.items()
        }
        return {space: reason for space, reason in found.items() if reason is not None}

    @cached_property
    def _towers(self) -> dict[TowerSpec, Tower]:
        towers = [self._visual, self._sound, self._document_text, *self._query_texts]
        table: dict[TowerSpec, Tower] = {}
        for tower in towers:
            if tower is None:
                continue
            if tower.spec in table:
                raise ModelError(f"model {self._name!r} has two towers {tower.spec}; leave one of its parts out")
            table[tower.spec] = tower
        return table

    def _tower(self, spec: TowerSpec) -> Tower:
        tower = self._towers.get(spec)
        if tower is None:
            raise ModelError(f"model {self._name!r} has no tower {spec}; it has {', '.join(map(str, self._towers))}")
        return tower

    @property
    def _precision(self) -> str | None:
        """What the towers with a choice compute in. The parts of a model are made with one choice for all of them."""
        found = {tower.precision for tower in self._towers.values() if hasattr(tower, "precision")}
        return found.pop() if len(found) == 1 else None

    def _fingerprint(self, channels: Sequence[tuple[Channel, TowerSpec]]) -> str:
        """16 hexadecimal digits over all towers and what they are for; the model's name does not count."""
        parts: list[Any] = [[channel, spec.to_row()] for channel, spec in channels]
        parts += [[spec.to_row(), tower.fingerprint] for spec, tower in self._towers.items()]
        if self._sound is not None:
            parts.append([self._sound.sample_rate, self._sound.window_seconds, self._sound.hop_seconds])
        parts.append(self._transcriber.fingerprint if self._transcriber is not None else None)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def at_rate(audio: AudioSample, sample_rate: int) -> AudioSample:
    """The same sound at `sample_rate` Hz, by torchaudio's windowed sinc interpolation."""
    if audio.sample_rate == sample_rate:
        return audio
    import torch
    from torchaudio.functional import resample

    with torch.inference_mode():
        # Copied, because torch does not take memory that is read-only.
        waveform = resample(torch.from_numpy(audio.waveform.copy()), audio.sample_rate, sample_rate).numpy()
    return AudioSample(waveform.astype(np.float32, copy=False), sample_rate, audio.start_seconds)
