"""What a gallery holds, as vectors: one matrix for each channel, its rows grouped by item."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from indexer.contents import contents_of
from indexer.filters import Filter, shown
from indexer.library import Library
from indexer.lookup import full_path
from indexer.names import Channel, Kind
from indexer.schema import Content, File, Root
from indexer.types import Encoder, ModelSpec, Vectors
from indexer.vectors import unit
from mmsearch.evaluation.cache import encode_texts
from mmsearch.evaluation.cases import GalleryItem
from mmsearch.evaluation.options import Pooling

Places = NDArray[np.int64]

NATIVE: Mapping[str, tuple[Channel, ...]] = {
    "image": ("visual",),
    "video": ("visual",),
    "audio": ("sound", "speech"),
    "text": ("text",),
    "document": ("text",),
}
"""In which channel a kind of file is compared; the first that the model has."""


def native_channel(spec: ModelSpec, kind: str, allowed: Collection[Channel] = ()) -> Channel | None:
    """The channel in which a kind of file is compared; None when the model has none that is allowed (any if empty)."""
    fitting = (channel for channel in NATIVE[kind] if not allowed or channel in allowed)
    return next((channel for channel in fitting if spec.tower_of(channel) is not None), None)


@dataclass(frozen=True, slots=True)
class Holding:
    """A file of a library that is on disk, the content that it holds, and its kind."""

    path: str
    content: int
    kind: Kind


def holdings(library: Library) -> list[Holding]:
    """All files of a library that are on disk and indexed, by path."""
    query = (
        select(Root.path, File.directory, File.name, File.content_id, Content.kind)
        .select_from(File)
        .join(Content, Content.id == File.content_id)
        .join(Root, Root.id == File.root_id)
        .where(shown(Filter()))
        .order_by(Root.path, File.directory, File.name)
    )
    with library.store.reading() as connection:
        return [
            Holding(full_path(root, directory, name), content, cast(Kind, kind))
            for root, directory, name, content, kind in connection.execute(query)
            if content is not None
        ]


def items_of(held: Sequence[Holding], judged: Collection[str]) -> list[Holding]:
    """The files that stand for the contents of a library.

    Copies hold the same, and are one result. It goes by the names that somebody judged, and without any by the first.
    """
    by_content: dict[int, list[Holding]] = {}
    for file in held:
        by_content.setdefault(file.content, []).append(file)
    chosen = []
    for files in by_content.values():
        chosen += [file for file in files if file.path in judged] or files[:1]
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class ChannelVectors:
    """One channel of a gallery.

    `vectors`: (n, dim) float32 of length 1. `items`: (n,) int64, rising, which item each row belongs to.
    """

    vectors: Vectors
    items: Places

    @property
    def starts(self) -> Places:
        """Where the rows of each item begin: (items with rows,) int64."""
        return np.flatnonzero(np.diff(self.items, prepend=-1)).astype(np.int64)

    def pooled(self, pooling: Pooling) -> ChannelVectors:
        """With "mean", one row for each item: the mean direction of its segments."""
        if pooling == "best" or not len(self.items):
            return self
        starts = self.starts
        sums = np.add.reduceat(self.vectors.astype(np.float64), starts, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        cancelled = lengths[:, 0] < 1e-6  # segments that point everywhere: the first stands for them
        means = np.where(cancelled[:, None], self.vectors[starts], sums / np.where(lengths > 0, lengths, 1))
        return ChannelVectors(means.astype(np.float32), self.items[starts])


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """A gallery: ids of its items, the kind of each, and the vectors of each channel in which they are compared."""

    ids: tuple[str, ...]
    kinds: tuple[str, ...]
    channels: Mapping[Channel, ChannelVectors]

    def scores(self, asked: Mapping[Channel, Vectors], *, block_bytes: int = 2**26) -> Iterator[NDArray[np.float32]]:
        """The score of every item for every query: that of its best segment, in the channel of its kind.

        Args:
            asked: by channel, (Q, dim) float32; a row of NaN for a query that does not reach the channel.
            block_bytes: how large a block of scores of segments may be.

        Yields:
            (rows, items) float32, together Q rows in order; minus infinity for what is not found.
        """
        queries = len(next(iter(asked.values())))
        widest = max([len(self.ids), *(len(self.channels[channel].items) for channel in asked)])
        rows = max(1, block_bytes // (4 * max(1, widest)))
        starts = {channel: self.channels[channel].starts for channel in asked}
        for begin in range(0, queries, rows):
            end = min(queries, begin + rows)
            block = np.full((end - begin, len(self.ids)), -np.inf, np.float32)
            for channel, vectors in asked.items():
                held = self.channels[channel]
                if not len(held.items):
                    continue
                some = vectors[begin:end]
                reached = ~np.isnan(some[:, 0])
                scores = some[reached] @ held.vectors.T
                best = np.maximum.reduceat(scores, starts[channel], axis=1)
                block[np.ix_(reached, held.items[starts[channel]])] = best
            yield block


def shelf_of_files(
    library: Library,
    generation_id: int,
    items: Sequence[Holding | tuple[GalleryItem, int]],
    spec: ModelSpec,
    *,
    allowed: Collection[Channel] = (),
    pooling: Pooling = "best",
) -> Shelf:
    """The vectors of some files of a library.

    Args:
        library: where they are.
        generation_id: which model's vectors.
        items: files of the library; or items of a gallery, each with its content.
        spec: the model.
        allowed: the only channels that may answer; any when empty.
        pooling: what becomes of several segments of a file.
    """
    rows = [
        (item.path, item.kind, item.content) if isinstance(item, Holding) else (item[0].id, item[0].kind, item[1])
        for item in items
    ]
    natives = {kind: native_channel(spec, kind, allowed) for kind in {kind for _, kind, _ in rows}}
    channels = {}
    for channel in dict.fromkeys(channel for channel in natives.values() if channel is not None):
        own = [(content, place) for place, (_, kind, content) in enumerate(rows) if natives[kind] == channel]
        channels[channel] = _of_channel(library, generation_id, spec, channel, own).pooled(pooling)
    return Shelf(tuple(row[0] for row in rows), tuple(row[1] for row in rows), channels)


def _of_channel(
    library: Library, generation_id: int, spec: ModelSpec, channel: Channel, own: Sequence[tuple[int, int]]
) -> ChannelVectors:
    """One channel's vectors, of the items (content, place)."""
    table = np.array(sorted(own), np.int64).reshape(-1, 2)
    tower = spec.tower_of(channel)
    parts: list[Vectors] = [np.empty((0, 0 if tower is None else tower.dim), np.float32)]
    places: list[Places] = [np.empty(0, np.int64)]
    for ids, vectors in library.store.vectors(generation_id, channel):
        contents = contents_of(library.store, ids)
        first = np.searchsorted(table[:, 0], contents)
        counts = np.searchsorted(table[:, 0], contents, side="right") - first  # items that hold the content
        rows = np.repeat(np.arange(len(ids)), counts)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        parts.append(vectors[rows])
        places.append(table[first[rows] + nth, 1])
    items = np.concatenate(places)
    order = np.argsort(items, kind="stable")
    return ChannelVectors(np.concatenate(parts)[order], items[order])


def shelf_of_texts(items: Sequence[GalleryItem], encoder: Encoder, channels: Collection[Channel]) -> Shelf:
    """Texts that are no files, brought into the space of each channel by the tower that queries go through."""
    texts = [item.text or "" for item in items]
    made = {}
    for channel in channels:
        tower = encoder.spec.query_tower("text", channel)
        if tower is not None:
            vectors, _ = unit(encode_texts(encoder, tower, texts))
            made[channel] = ChannelVectors(vectors, np.arange(len(texts)))
    return Shelf(tuple(item.id for item in items), ("text",) * len(items), made)
