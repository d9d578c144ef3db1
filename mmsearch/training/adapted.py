"""The model of a library as its vectors were made: in the version that made them, and through the library's adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.adapters import Matrices, adapted, read_adapter
from indexer.legible import legible
from indexer.types import AudioSample, Encoder, ModelSpec, TextSample, TowerSpec, Vectors
from indexer.vectors import unit

if TYPE_CHECKING:
    from indexer.library import Library


class AdaptedEncoder:
    """An `Encoder` whose vectors go through matrices after their towers. Lengths stay those of the towers.

    Args:
        base: the model.
        matrices: by modality and space of a tower; other towers are as they were.
        fingerprint: of the two together.
    """

    def __init__(self, base: Encoder, matrices: Matrices, fingerprint: str) -> None:
        self.base = base
        self._matrices = matrices
        self.spec: ModelSpec = replace(base.spec, fingerprint=fingerprint)
        self.prepare = base.prepare
        self.count_tokens = base.count_tokens
        self.legible = partial(legible, base)

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        """As `Encoder.encode`."""
        vectors = self.base.encode(tower, prepared)
        matrix = self._matrices.get((tower.modality, tower.space))
        if matrix is None or not len(vectors):
            return vectors
        directions, lengths = unit(vectors)
        return np.asarray(adapted(directions, matrix) * lengths[:, None], np.float32)

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """As `Encoder.transcribe`."""
        return self.base.transcribe(audio)


def fitted(library: Library, encoder: Encoder) -> Encoder:
    """The encoder that makes such vectors as a library holds, given one of its model.

    Takes an older version of the embedded model where that made them, and puts the library's adapter behind it. An
    encoder that cannot be brought to fit is given back as it is: `Library.check` then says what is wrong.
    """
    generation = library.store.generation()
    if generation is None or library.store.is_empty(generation[0]):
        return encoder
    if encoder.spec.fingerprint == generation[1].fingerprint:
        return encoder
    while isinstance(encoder, AdaptedEncoder):
        encoder = encoder.base
    return _with_adapters(library, encoder, *generation)


def _with_adapters(library: Library, base: Encoder, generation_id: int, spec: ModelSpec) -> Encoder:
    """The model of a generation: that of the one before it, and its adapter."""
    if base.spec.fingerprint == spec.fingerprint:
        return base
    adapter = read_adapter(library.store, generation_id)
    if adapter is None:
        return _version_of(base, spec)
    before = _with_adapters(library, base, adapter.base_id, adapter.base)
    if before.spec.fingerprint != adapter.base.fingerprint:
        return before
    return AdaptedEncoder(before, adapter.matrices, spec.fingerprint)


def _version_of(encoder: Encoder, spec: ModelSpec) -> Encoder:
    """The version of the embedded model that has a fingerprint; the encoder itself where none has."""
    from mmsearch.encoders.mini import MiniEncoder

    if not isinstance(encoder, MiniEncoder):
        return encoder
    return encoder.in_version_of(spec.fingerprint) or encoder
