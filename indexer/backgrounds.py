"""Background distributions in the store: how queries that nothing matches score. What they mean is not known here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select

from indexer.ann import Ids
from indexer.schema import Background, Encoding, Segment
from indexer.store import Store, unpack
from indexer.types import Channel, Modality, Vectors
from indexer.writes import STORED_DTYPE

_MANY = 500  # values in one IN (...)


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundRow:
    """One row: see `indexer.schema.Background`. `queries`: (n, dim) float32 of length 1, or None."""

    modality: Modality
    channel: Channel
    location: float
    scale: float
    mean: float
    size: int
    source: str
    queries: Vectors | None = None


def read_backgrounds(store: Store, generation_id: int, *, queries: bool = False) -> list[BackgroundRow]:
    """All rows of a generation; their `queries` only when asked for, because they are large."""
    columns = [column for column in Background.__table__.columns if queries or column.name != "queries"]
    with store.reading() as connection:
        rows = connection.execute(select(*columns).where(Background.generation_id == generation_id)).all()
    return [
        BackgroundRow(
            row.modality,
            row.channel,
            row.location,
            row.scale,
            row.mean,
            row.size,
            row.source,
            _unpacked(row.queries) if queries else None,
        )
        for row in rows
    ]


def write_backgrounds(store: Store, generation_id: int, rows: Iterable[BackgroundRow]) -> None:
    """Put these rows in the place of all that a generation had."""
    with store.writing() as connection:
        connection.execute(delete(Background).where(Background.generation_id == generation_id))
        for row in rows:
            connection.execute(
                insert(Background).values(
                    generation_id=generation_id,
                    modality=row.modality,
                    channel=row.channel,
                    location=row.location,
                    scale=row.scale,
                    mean=row.mean,
                    size=row.size,
                    source=row.source,
                    queries=None if row.queries is None else _packed(row.queries),
                )
            )


def _packed(vectors: Vectors) -> bytes:
    return len(vectors).to_bytes(4, "little") + vectors.astype(STORED_DTYPE).tobytes()


def _unpacked(stored: bytes | None) -> Vectors | None:
    return None if stored is None else unpack(stored[4:], int.from_bytes(stored[:4], "little"))


def sample_segments(store: Store, generation_id: int, channel: Channel, count: int, seed: int) -> tuple[Ids, Vectors]:
    """Segments of a channel drawn at random: their contents' ids (n,) int64 and vectors (n, dim) float32.

    Args:
        store: the library's store.
        generation_id: of which model.
        channel: of which channel.
        count: how many at most; all of a channel that holds no more.
        seed: the same seed draws the same from the same library.
    """
    ids = store.segment_ids(generation_id, channel)
    if len(ids) > count:
        ids = np.random.default_rng(seed).choice(ids, count, replace=False)
    rows: list[Any] = []
    with store.reading() as connection:
        for at in range(0, len(ids), _MANY):
            query = select(Encoding.content_id, Segment.vector).join(Encoding, Encoding.id == Segment.encoding_id)
            rows += connection.execute(query.where(Segment.id.in_(ids[at : at + _MANY].tolist()))).all()
    if not rows:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    return np.array([row.content_id for row in rows]), unpack(b"".join(row.vector for row in rows), len(rows))


def contents_of(store: Store, segment_ids: Ids) -> Ids:
    """The content that holds each segment: int64, of the shape of `segment_ids`; 0 for a segment that is gone."""
    contents: dict[int, int] = {}
    unique = np.unique(segment_ids)
    with store.reading() as connection:
        for at in range(0, len(unique), _MANY):
            query = select(Segment.id, Encoding.content_id).join(Encoding, Encoding.id == Segment.encoding_id)
            for row in connection.execute(query.where(Segment.id.in_(unique[at : at + _MANY].tolist()))):
                contents[row.id] = row.content_id
    return np.array([contents.get(id, 0) for id in segment_ids.ravel().tolist()], np.int64).reshape(segment_ids.shape)
