"""Pairs as vectors, for each tower that may be adapted.

Vectors are taken from the library where it holds the file.

What is encoded for this (captions, and files that the library does not hold) is kept in the library's folder, so that a
second training encodes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from indexer.errors import CancelledError, MmsearchError
from indexer.found import segments_of, segments_with
from indexer.library import Library
from indexer.likeness import decoded_side
from indexer.names import Channel, Modality
from indexer.types import Encoder, ImageSample, ModelSpec, Sample, TextSample, TowerSpec, Vectors
from mmsearch.encoders.names import short_name
from mmsearch.held import content_at
from mmsearch.query import Term
from mmsearch.readings import mean_of, read_term
from mmsearch.sharing import encode_samples
from mmsearch.training.fit import PairVectors
from mmsearch.training.pairs import Pair, Side
from mmsearch.training.split import groups_of

_BATCH = 64
_MOST_SEGMENTS = 32  # of a file, that its mean is made of

_CHANNEL_OF: dict[str, Channel] = {"image": "visual", "video": "visual", "audio": "sound", "document": "text"}
_MODALITY_OF: dict[str, Modality] = {
    "text": "text",
    "document": "text",
    "image": "image",
    "video": "image",
    "audio": "audio",
}

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """The pairs of one channel, whose tower is adapted.

    `groups`: (n,) int64, the same for pairs that must not be divided. `views`: (k, n, dim) other vectors of the items,
    from pictures that were varied; None for none. `sources`: pairs by where they were found.
    """

    channel: Channel
    tower: TowerSpec
    vectors: PairVectors
    groups: np.ndarray[tuple[int], np.dtype[np.int64]]
    views: Vectors | None
    sources: dict[str, int]


@dataclass(slots=True)
class _Rows:
    queries: list[Vectors] = field(default_factory=list)
    items: list[Vectors] = field(default_factory=list)
    views: list[Vectors] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)
    groups: list[tuple[str, str]] = field(default_factory=list)
    through: list[bool] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)


def route_of(spec: ModelSpec, pair: Pair) -> tuple[TowerSpec, Channel, Side, Side] | str:
    """How a pair meets in a model: the tower that reads the query, the channel, the query and the item; or why not."""
    reasons = []
    for query, item in ((pair.one, pair.other), (pair.other, pair.one)):
        if item.kind == "text":
            continue
        channel = item.channel or _CHANNEL_OF[item.kind]
        target = spec.tower_of(channel)
        if target is None:
            reasons.append(f"the model {short_name(spec.name)} has no channel for {item.kind}")
            continue
        tower = spec.query_tower(_MODALITY_OF[query.kind], channel)
        if tower is None:
            reasons.append(f"in the model {short_name(spec.name)}, {query.kind} does not reach {item.kind}")
            continue
        if target.modality == "text" and any(
            spec.query_tower("text", other) == target for other, one in spec.channels if one.modality != "text"
        ):
            reasons.append(
                f"in the model {short_name(spec.name)}, what reads documents also reads questions for pictures"
            )
            continue
        return tower, channel, query, item
    return reasons[0] if reasons else "both sides are words"


def gather(
    library: Library,
    encoder: Encoder,
    pairs: Sequence[Pair],
    *,
    views: int = 0,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[list[Gathered], list[str]]:
    """Pairs as vectors, by channel; and what was passed over, as lines for people.

    Args:
        library: whose vectors are taken.
        encoder: its model, for what it does not hold.
        pairs: what belongs together.
        views: how many other vectors are made of each picture, mirrored and cropped.
        on_progress: called from this thread.
        cancelled: asked between files.

    Raises:
        CancelledError: it was cancelled.
    """
    from mmsearch.evaluation.cache import CachedEncoder, VectorCache

    say = on_progress or (lambda *_: None)
    spec = encoder.spec
    skipped: Counter[str] = Counter()
    rows: dict[Channel, _Rows] = defaultdict(_Rows)
    routed = []
    for pair in pairs:
        route = route_of(spec, pair)
        if isinstance(route, str):
            skipped[route] += 1
        else:
            routed.append((pair, *route))
    with VectorCache(cache_path(library)) as cache:
        cached = CachedEncoder(encoder, cache)
        texts = _texts(cached, routed, say, cancelled)
        reader = _Reader(library, cached)
        for number, (pair, tower, channel, query, item) in enumerate(routed):
            if cancelled():
                raise CancelledError("stopped while pairs were read; nothing was changed")
            if number % 50 == 0:
                say("Reading pairs", number, len(routed))
            try:
                found = reader.vector(item, channel, tower)
                asked = texts[query.value, tower] if query.kind == "text" else reader.vector(query, channel, tower)
                more = reader.views(item, channel, views, found) if views else None
            except MmsearchError as error:
                skipped[str(error)] += 1
                continue
            row = rows[channel]
            row.queries.append(asked)
            row.items.append(found)
            row.keys.append((query.key, item.key))
            row.groups.append((query.group, item.group))
            row.through.append(tower == spec.tower_of(channel))
            row.sources[pair.source] += 1
            if more is not None:
                row.views.append(more)
    say("Reading pairs", len(routed), len(routed))
    lines = [
        f"{count} {'pair was' if count == 1 else 'pairs were'} passed over: {why}"
        for why, count in skipped.most_common()
    ]
    return [_gathered(spec, channel, row) for channel, row in rows.items()], lines


def cache_path(library: Library) -> Path:
    """Where vectors are kept that were encoded for training."""
    return library.path / "training" / "vectors.sqlite"


def _gathered(spec: ModelSpec, channel: Channel, row: _Rows) -> Gathered:
    ids = [np.unique([key[side] for key in row.keys], return_inverse=True)[1].astype(np.int64) for side in (0, 1)]
    vectors = PairVectors(np.stack(row.queries), np.stack(row.items), ids[0], ids[1], np.array(row.through, np.bool_))
    views = np.stack(row.views, axis=1) if row.views else None
    tower = cast(TowerSpec, spec.tower_of(channel))
    return Gathered(channel, tower, vectors, groups_of(row.groups), views, dict(row.sources))


_Routed = tuple[Pair, TowerSpec, Channel, Side, Side]


def _texts(
    encoder: Encoder, routed: Sequence[_Routed], say: OnProgress, cancelled: Callable[[], bool]
) -> dict[tuple[str, TowerSpec], Vectors]:
    """Every caption through its tower, once."""
    wanted = list(dict.fromkeys((query.value, tower) for _, tower, _, query, _ in routed if query.kind == "text"))
    found: dict[tuple[str, TowerSpec], Vectors] = {}
    for tower in dict.fromkeys(tower for _, tower in wanted):
        some = [text for text, own in wanted if own == tower]
        for at in range(0, len(some), _BATCH):
            if cancelled():
                raise CancelledError("stopped while captions were read; nothing was changed")
            say("Reading captions", len(found), len(wanted))
            batch = some[at : at + _BATCH]
            vectors, _ = encode_samples(encoder, tower, [TextSample(text) for text in batch])
            found |= zip(((text, tower) for text in batch), vectors, strict=True)
    return found


class _Reader:
    """Files as vectors in a channel."""

    def __init__(self, library: Library, encoder: Encoder) -> None:
        self._library, self._encoder = library, encoder
        generation = library.store.generation()
        self._generation_id = 0 if generation is None else generation[0]
        self._known: dict[tuple[str, str], Vectors] = {}

    def vector(self, side: Side, channel: Channel, tower: TowerSpec) -> Vectors:
        """(dim,) float32 of length 1: the mean direction of what is meant."""
        key = side.key, channel if side.kind != "text" else str(tower)
        if key not in self._known:
            self._known[key] = self._read(side, channel)
        return self._known[key]

    def _read(self, side: Side, channel: Channel) -> Vectors:
        if side.segments:
            found = segments_with(self._library.store, side.segments)
            if not found:
                raise MmsearchError("its segments are gone from the library")
            return _mean(np.concatenate([part.vectors for part in found]))
        home = side.channel or _CHANNEL_OF[side.kind]
        content = content_at(self._library, side.value)
        if content is not None:
            for part in segments_of(self._library.store, self._generation_id, [content]):
                if part.channel == home:
                    start, end = side.start_seconds, side.end_seconds
                    inside = np.ones(len(part), np.bool_)
                    if start is not None and end is not None:
                        inside = (part.spans[:, 0] < end) & (part.spans[:, 1] > start)
                    if inside.any():
                        return _mean(part.vectors[inside])
            raise MmsearchError(f"the library has no {home} vectors of that file, or of that part of it")
        if side.start_seconds is not None:
            raise MmsearchError("a part of a file that is not in the library; index it first")
        reading = read_term(Term(side.kind, side.value), self._encoder, self._encode)
        # A video is in several channels; what stands for it here is what its own channel would hold.
        target = self._encoder.spec.tower_of(home)
        for found_channel, approach in reading.items():
            own = self._encoder.spec.tower_of(found_channel)
            if (
                own is not None
                and target is not None
                and own.space == target.space
                and approach.modality == target.modality
            ):
                return approach.vector
        raise MmsearchError(f"the model makes no {home} vectors of that file")

    def _encode(self, tower: TowerSpec, samples: Sequence[Sample]) -> tuple[Vectors, np.ndarray]:
        return encode_samples(self._encoder, tower, samples)

    def views(self, side: Side, channel: Channel, count: int, vector: Vectors) -> Vectors:
        """(count, dim) other vectors of a picture; of anything else, its own vector."""
        tower = self._encoder.spec.tower_of(channel)
        if side.kind != "image" or tower is None:
            return np.repeat(vector[None], count, axis=0)
        from indexer.media import open_media
        from indexer.types import DecodeSettings

        settings = DecodeSettings(
            decoded_side(self._encoder.spec), None, self._encoder.count_tokens, self._encoder.spec.max_tokens
        )
        with open_media(Path(side.value), settings) as media:
            pixels = next(sample.pixels for sample in media.samples if isinstance(sample, ImageSample))
        varied = [ImageSample(np.ascontiguousarray(_varied(pixels, number))) for number in range(count)]
        return encode_samples(self._encoder, tower, varied)[0]


def _varied(pixels: np.ndarray, number: int) -> np.ndarray:
    """A picture mirrored (in every second view) and cropped to a part that depends on the view's number."""
    rng = np.random.default_rng(number)
    height, width = pixels.shape[:2]
    scale = float(rng.uniform(0.7, 1.0)) if number else 1.0
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (int(rng.integers(0, size - part + 1)) for size, part in ((height, rows), (width, columns)))
    part = pixels[top : top + rows, left : left + columns]
    return part[:, ::-1] if number % 2 == 0 else part


def _mean(vectors: Vectors) -> Vectors:
    if len(vectors) > _MOST_SEGMENTS:
        vectors = vectors[np.linspace(0, len(vectors) - 1, _MOST_SEGMENTS).round().astype(int)]
    return mean_of(vectors, np.ones(len(vectors)))[0]
