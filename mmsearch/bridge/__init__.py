"""The bridge: how pictures reach sounds, and sounds pictures, in a model whose two spaces share no tower.

CLIP has pictures and texts in one space, CLAP has sounds and texts in another. What both read is text, so that a map
between the spaces can be learned from captions alone (fit.py). Each tower's vectors lie in a cone of their own (the
modality gap: Liang et al., "Mind the Gap", NeurIPS 2022), so that a map between texts is no map between sounds and
pictures, until each side is centred by *its own* mean: TextME (Hong et al., ICML 2026) learns from centred texts, and
takes the mean of sounds, not that of texts, from sounds when it is used. Here these means are of the library's own
media.

A mapped vector is compared with the vectors where it arrives *less their mean*, by cosine. The index holds them as they
are; it gives the nearest by inner product, which differs from that only by their lengths less the mean, and these are
then compared exactly. What is asked in words never goes this way: it has towers into both spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from indexer.bridges import Mark, bridge_state, read_bridge
from indexer.names import Channel, Modality
from indexer.types import ModelSpec, TowerSpec, Vectors
from mmsearch.calibration import centred

if TYPE_CHECKING:
    from indexer.bridges import StoredBridge
    from indexer.library import Library
    from mmsearch.calibration import Backgrounds

_LEAST_LENGTH = 1e-4  # of what is left of a vector, under which no direction is left

_ENDS: tuple[tuple[Channel, Modality], ...] = (("visual", "image"), ("sound", "audio"))


@dataclass(frozen=True, slots=True)
class Gap:
    """Two spaces that only texts are in both of. `visual`, `sound`: the channels' towers; the others read captions."""

    visual: TowerSpec
    sound: TowerSpec
    visual_text: TowerSpec
    sound_text: TowerSpec


def gap_of(spec: ModelSpec) -> Gap | None:
    """The gap that a bridge would close; None for a model that has none, or none that can be closed."""
    visual, sound = spec.tower_of("visual"), spec.tower_of("sound")
    if visual is None or sound is None or not _parted(spec):
        return None
    texts = spec.query_tower("text", "visual"), spec.query_tower("text", "sound")
    return Gap(visual, sound, texts[0], texts[1]) if texts[0] is not None and texts[1] is not None else None


def why_no_gap(spec: ModelSpec) -> str:
    """Why a model can have no bridge, or needs none, as a clause."""
    for channel, what in (("visual", "it does not look at pictures"), ("sound", "it hears nothing but speech")):
        if spec.tower_of(channel) is None:  # type: ignore[arg-type]
            return f"the model {spec.name!r} needs no bridge: {what}"
    if not _parted(spec):
        return f"the model {spec.name!r} needs no bridge: its pictures and sounds find each other by themselves"
    return f"the model {spec.name!r} can have no bridge: there is no text tower into the space of each"


def _parted(spec: ModelSpec) -> bool:
    """Whether pictures do not reach sounds, or sounds do not reach pictures."""
    return spec.query_tower("image", "sound") is None or spec.query_tower("audio", "visual") is None


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A term on the other side of a bridge.

    `vector`: (dim,) float32 of length 1. `norm`: the length that its tower gave it. `centre`: (dim,) what is taken from
    the vectors there before they are compared with it.
    """

    vector: Vectors
    norm: float
    centre: Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way over a bridge: from vectors of one space, less their `mean`, by `across`, to vectors less `centre`.

    `home`: the channel that holds vectors of the space it begins in.
    """

    home: Channel
    space: str
    mean: Vectors
    across: Vectors
    centre: Vectors

    def mapped(self, vectors: Vectors) -> Vectors:
        """Vectors on the other side, as `carried` gives them: (n, e) float32.

        Args:
            vectors: (n, d) float32 of length 1.
        """
        return carried(vectors, self.across, self.mean)


def carried(vectors: Vectors, across: Vectors, mean: Vectors) -> Vectors:
    """Vectors less their mean, mapped, and brought to length 1.

    Args:
        vectors: (n, d) float32.
        across: (d, e) float32.
        mean: (d,) float32, of the side where they come from.

    Returns:
        (n, e) float32 of length 1; rows of zeros for what has no direction left.
    """
    moved = centred(vectors, mean) @ across
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    left = (lengths > _LEAST_LENGTH) & (np.linalg.norm(vectors - mean, axis=1, keepdims=True) > _LEAST_LENGTH)
    return np.asarray(np.where(left, moved / np.maximum(lengths, _LEAST_LENGTH), 0), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Bridge:
    """The bridge of a library. `ways`: by (modality, channel), only where a model has no tower of its own.

    `digest` changes whenever a map does. `closed`: ways that are not to be taken.
    """

    digest: str
    ways: Mapping[tuple[Modality, Channel], Way]
    closed: frozenset[tuple[Modality, Channel]] = field(default_factory=frozenset)

    @classmethod
    def of(cls, stored: StoredBridge, spec: ModelSpec) -> Bridge:
        """A stored bridge, for the model that it was made with."""
        ways: dict[tuple[Modality, Channel], Way] = {}
        sides = {side.channel: side for side in stored.sides}
        for home, modality in _ENDS:
            other: Channel = "sound" if home == "visual" else "visual"
            tower = spec.tower_of(home)
            if tower is not None and spec.query_tower(modality, other) is None:
                here = sides[home]
                ways[modality, other] = Way(home, tower.space, here.mean, here.across, sides[other].mean)
        return cls(stored.digest, ways)

    def carry(
        self, modality: Modality, channel: Channel, meanings: Mapping[tuple[Modality, Channel], tuple[Vectors, float]]
    ) -> Carried | None:
        """A term in a channel of the other side.

        None where there is no way, or the way is closed, or nothing of the term is left on it.

        Args:
            modality: as what the term was read.
            channel: where it is to arrive.
            meanings: the term's vector and norm, by modality and channel that it reaches natively.
        """
        way = self.ways.get((modality, channel))
        if way is None or (modality, channel) in self.closed:
            return None
        meaning = meanings.get((modality, way.home))
        if meaning is None:
            return None
        vector = way.mapped(meaning[0][None])[0]
        return Carried(vector, meaning[1], way.centre) if vector.any() else None

    def calibrated(self, backgrounds: Backgrounds) -> Bridge:
        """The bridge without ways whose scores cannot be held against chance, where those of its towers can.

        A query's scores are calibrated in all channels or in none: one sound must not take that from all pictures.
        """
        known = {modality for modality, _ in backgrounds}
        closed = {key for key in self.ways if key[0] in known and key not in backgrounds}
        return replace(self, closed=frozenset(closed)) if closed else self


class BridgeCache:
    """The bridge of one library, which stays in memory while it is the same."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: tuple[int, tuple[tuple[str, Mark], ...], Bridge] | None = None

    def read(self, generation_id: int, spec: ModelSpec) -> Bridge | None:
        """The bridge of a generation; None where there is none, or none is needed."""
        if gap_of(spec) is None:
            return None
        store = self._library.store
        state = bridge_state(store, generation_id)
        if not state:
            return None
        if self._kept is None or self._kept[:2] != (generation_id, state):
            stored = read_bridge(store, generation_id)
            if stored is None:  # another process took it away meanwhile
                return None
            self._kept = (generation_id, state, Bridge.of(stored, spec))
        return self._kept[2]
