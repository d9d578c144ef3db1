"""What was found, fetched from the store: segments with their vectors, and the files that hold them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from sqlalchemy import ColumnElement, Executable, bindparam, false, func, select

from indexer.ann import Ids
from indexer.filters import Filter, shown, shown_contents
from indexer.legible import READ_AS, channel_of
from indexer.lookup import full_path
from indexer.schema import Content, Encoding, File, Root, Segment
from indexer.store import Store, unpack
from indexer.types import Channel, Kind, Vectors

_MANY = 500  # values in one IN (...)

# Made once: each query asks for them, and making them costs SQLAlchemy more than SQLite takes to answer.
_SEGMENTS = select(
    Segment.channel,
    Segment.id,
    Encoding.content_id,
    Segment.start_seconds,
    Segment.end_seconds,
    Segment.text,
    Segment.vector,
    Segment.norm,
    Segment.look,
).join(Encoding, Encoding.id == Segment.encoding_id)
_SEGMENTS = _SEGMENTS.where(Segment.channel.not_in(READ_AS))  # which have no vectors
_SEGMENTS_WITH = _SEGMENTS.where(Segment.id.in_(bindparam("values", expanding=True)))
_SEGMENTS_OF = _SEGMENTS.where(
    Encoding.content_id.in_(bindparam("values", expanding=True)), Encoding.generation_id == bindparam("generation")
)


@dataclass(frozen=True, slots=True, eq=False)
class StoredSegments:
    """Segments of one channel.

    `ids`, `contents`: (n,) int64. `vectors`: (n, dim) float32 of length 1, and
    `norms`: (n,) float32, the lengths that their tower gave them. `spans`: (n, 2) float64, start and end in
    seconds, nan without times. `texts`: n lines, or None. `looks`: see `indexer.likeness`.
    """

    channel: Channel
    ids: Ids
    contents: Ids
    vectors: Vectors
    norms: Vectors
    spans: np.ndarray[Any, np.dtype[np.float64]]
    texts: tuple[str | None, ...]
    looks: tuple[bytes | None, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A content as a person knows it. `paths` are the files that hold it, all on disk when last seen."""

    id: int
    kind: Kind
    width: int | None
    height: int | None
    title: str | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of a content: in which channel, when it is said or shown, in seconds, and what it is; None for no text."""

    channel: Channel | None
    start_seconds: float | None
    end_seconds: float | None
    text: str | None


def passages_of(store: Store, segment_ids: Sequence[int]) -> dict[int, Passage]:
    """Segments by their ids without their vectors, those included that have none; what is gone is left out."""
    found: dict[int, Passage] = {}
    with store.reading() as connection:
        for some in slices(segment_ids):
            query = select(Segment.id, Segment.channel, Segment.start_seconds, Segment.end_seconds, Segment.text)
            for row in connection.execute(query.where(Segment.id.in_(some))):
                found[row.id] = Passage(channel_of(row.channel), row.start_seconds, row.end_seconds, row.text)
    return found


def segments_of(store: Store, generation_id: int, content_ids: Sequence[int]) -> list[StoredSegments]:
    """All segments with vectors that some contents have, channel by channel."""
    return _fetch(store, _SEGMENTS_OF, content_ids, generation=generation_id)


def segments_with(store: Store, segment_ids: Sequence[int]) -> list[StoredSegments]:
    """Segments by their ids, channel by channel; one that is gone meanwhile is left out."""
    return _fetch(store, _SEGMENTS_WITH, segment_ids)


def norms_of(store: Store, generation_id: int, channel: Channel) -> tuple[Ids, Vectors]:
    """The ids of a channel's segments, (n,) int64, rising, and the lengths that their tower gave them, (n,) float32.

    Both are kept until the store changes, and may not be written to.
    """
    return store.kept(("norms", generation_id, channel), lambda: _norms_of(store, generation_id, channel))


def _norms_of(store: Store, generation_id: int, channel: Channel) -> tuple[Ids, Vectors]:
    query = (
        select(Segment.id, Segment.norm)
        .join(Encoding, Encoding.id == Segment.encoding_id)
        .where(Encoding.generation_id == generation_id, Segment.channel == channel)
        .order_by(Segment.id)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    ids, norms = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float32)
    for kept in (ids, norms):
        kept.setflags(write=False)
    return ids, norms


def _fetch(store: Store, statement: Executable, values: Sequence[int], **also: int) -> list[StoredSegments]:
    by_channel: dict[Channel, list[Any]] = {}
    with store.reading() as connection:
        for some in slices(values):
            for row in connection.execute(statement, {"values": some, **also}):
                by_channel.setdefault(row[0], []).append(row)
    return [_stored(channel, *zip(*rows, strict=True)) for channel, rows in by_channel.items()]


def _stored(channel: Channel, _: Any, *columns: Sequence[Any]) -> StoredSegments:
    ids, contents, starts, ends, texts, vectors, norms, looks = columns
    return StoredSegments(
        channel,
        np.array(ids, np.int64),
        np.array(contents, np.int64),
        unpack(b"".join(vectors), len(vectors)),
        np.array(norms, np.float32),
        np.array([starts, ends], np.float64).T,
        tuple(texts),
        tuple(looks),
    )


def files_of(store: Store, content_ids: Sequence[int], wanted: Filter) -> dict[int, FoundFile]:
    """The files that hold some contents and that a filter lets through; a content without any is left out.

    Files below a root that cannot be reached now come after the others.
    """
    here: dict[int, list[str]] = {}
    away: dict[int, list[str]] = {}
    facts: dict[int, tuple[Kind, int | None, int | None, str | None]] = {}
    reachable: dict[str, bool] = {}
    with store.reading() as connection:
        for some in slices(content_ids):
            rows = connection.execute(_files_query(wanted, wanted.clocks()), {"values": some})
            for id, kind, width, height, title, root, directory, name in rows:
                there = here if reachable.setdefault(root, os.path.isdir(root)) else away
                there.setdefault(id, []).append(full_path(root, directory, name))
                facts[id] = (cast(Kind, kind), width, height, title)
    return {id: FoundFile(id, *fact, tuple(here.get(id, []) + away.get(id, []))) for id, fact in facts.items()}


@lru_cache(maxsize=64)  # queries come in series with the same filter
def _files_query(wanted: Filter, _clocks: Hashable) -> Executable:
    # Inside a function, the filter is no reason to begin with an index of places or times.
    shown_now: ColumnElement[bool] = func.coalesce(shown(wanted), false())
    return (
        select(Content.id, Content.kind, Content.width, Content.height, Content.title)
        .add_columns(Root.path, File.directory, File.name)
        .join(File, File.content_id == Content.id)
        .join(Root, Root.id == File.root_id)
        .where(Content.id.in_(bindparam("values", expanding=True)), shown_now)
        .order_by(Root.path, File.directory, File.name)
    )


def copied(store: Store, wanted: Filter) -> list[int]:
    """The contents that more than one file on disk holds, by rising id."""
    query = shown_contents(wanted).group_by(File.content_id).having(func.count() > 1).order_by(File.content_id)
    with store.reading() as connection:
        return [int(id) for id in connection.execute(query).scalars() if id is not None]


def slices(values: Sequence[int]) -> Iterator[list[int]]:
    """Values in lists that one SQL statement takes."""
    for at in range(0, len(values), _MANY):
        yield [int(value) for value in values[at : at + _MANY]]
