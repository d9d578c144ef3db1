"""One encoder for an indexing run and for queries: its calls are taken in turn."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.legible import legible
from indexer.types import AudioSample, Encoder, Sample, TextSample, TowerSpec, Vectors
from indexer.vectors import unit
from mmsearch.cancel import Check, go_on

_BATCH = 32


class Turn:
    """A lock that is not given twice in a row to one thread while another waits for it.

    An indexing run asks for it again the moment that it lets go, and would get a plain lock every time: the thread
    of a query has to wake up first.
    """

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._next = threading.Lock()  # held by the one who is to get it next
        self._check: Check = go_on

    def while_wanted(self, check: Check) -> Turn:
        """The same lock, for somebody who may leave: it is not taken when `check` raises, before the wait or after."""
        other = Turn()
        other._taken, other._next, other._check = self._taken, self._next, check
        return other

    def __enter__(self) -> None:
        self._check()
        with self._next:
            self._taken.acquire()
        try:
            self._check()
        except BaseException:
            self._taken.release()
            raise

    def __exit__(self, *error: object) -> None:
        self._taken.release()


class Shared:
    """An encoder whose calls are taken in turn, so that queries are answered while an indexing run goes on."""

    def __init__(self, encoder: Encoder, turn: Turn) -> None:
        self._encoder = encoder
        self._turn = turn
        self.spec = encoder.spec
        self.prepare = encoder.prepare
        self.count_tokens = encoder.count_tokens
        self.legible = partial(legible, encoder)

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        """As `Encoder.encode`."""
        with self._turn:
            return self._encoder.encode(tower, prepared)

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """As `Encoder.transcribe`."""
        with self._turn:
            return self._encoder.transcribe(audio)


def encode_samples(
    encoder: Encoder, tower: TowerSpec, samples: Sequence[Sample]
) -> tuple[Vectors, NDArray[np.float64]]:
    """Samples through a tower: rows of length 1, and the lengths that they had."""
    parts = [
        encoder.encode(tower, [encoder.prepare(tower, sample) for sample in samples[at : at + _BATCH]])
        for at in range(0, len(samples), _BATCH)
    ]
    return unit(np.concatenate(parts))
