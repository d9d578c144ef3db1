"""Background distributions in the store: how queries that nothing matches score. What they mean is not known here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select, update

from indexer.ann import Ids
from indexer.halves import STORED_DTYPE
from indexer.schema import Background, Content, Encoding, Segment
from indexer.store import Store, unpack
from indexer.types import Channel, Modality, Vectors

_MANY = 500  # values in one IN (...)
_HEAD = 4  # bytes before stored queries, which say how many there are


@dataclass(frozen=True, slots=True)
class BackgroundRow:
    """One row, without its queries: see `indexer.schema.Background`."""

    modality: Modality
    channel: Channel
    location: float
    scale: float
    mean: float
    least: float
    rest: float | None
    last_id: int
    size: int
    vectors: int
    source: str


def read_backgrounds(store: Store, generation_id: int) -> list[BackgroundRow]:
    """All rows of a generation."""
    columns = [column for column in Background.__table__.columns if column.name not in ("generation_id", "queries")]
    with store.reading() as connection:
        rows = connection.execute(select(*columns).where(Background.generation_id == generation_id)).all()
    return [BackgroundRow(**row._mapping) for row in rows]


def read_queries(store: Store, generation_id: int, modality: Modality, channel: Channel) -> Vectors:
    """The queries of one row: (n, dim) float32 of length 1; none when there is no such row."""
    query = select(Background.queries).where(
        Background.generation_id == generation_id, Background.modality == modality, Background.channel == channel
    )
    with store.reading() as connection:
        stored = connection.execute(query).scalar()
    if stored is None:
        return np.empty((0, 0), np.float32)
    return unpack(stored[_HEAD:], int.from_bytes(stored[:_HEAD], "little"))


def write_backgrounds(store: Store, generation_id: int, rows: Iterable[tuple[BackgroundRow, Vectors]]) -> None:
    """Put these rows, with their queries, in the place of all that a generation had."""
    with store.writing() as connection:
        connection.execute(delete(Background).where(Background.generation_id == generation_id))
        for row, queries in rows:
            packed = len(queries).to_bytes(_HEAD, "little") + queries.astype(STORED_DTYPE).tobytes()
            connection.execute(insert(Background).values(generation_id=generation_id, queries=packed, **asdict(row)))


def write_least(store: Store, generation_id: int, rows: Iterable[BackgroundRow]) -> None:
    """Write `least`, `rest` and `last_id` of rows that are there, and nothing else of them."""
    with store.writing() as connection:
        for row in rows:
            connection.execute(
                update(Background)
                .where(
                    Background.generation_id == generation_id,
                    Background.modality == row.modality,
                    Background.channel == row.channel,
                )
                .values(least=row.least, rest=row.rest, last_id=row.last_id)
            )


def sample_segments(store: Store, generation_id: int, channel: Channel, count: int, seed: int) -> tuple[Ids, Vectors]:
    """Segments of a channel drawn at random: their contents' ids (n,) int64 and vectors (n, dim) float32.

    Args:
        store: the library's store.
        generation_id: of which model.
        channel: of which channel.
        count: how many at most; all of a channel that holds no more.
        seed: the same seed draws the same of the same files, in whatever order they were indexed.
    """
    ids = ids_by_content(store, generation_id, channel)
    if len(ids) > count:
        ids = np.random.default_rng(seed).choice(ids, count, replace=False)
    found: dict[int, Any] = {}
    with store.reading() as connection:
        for at in range(0, len(ids), _MANY):
            query = select(Segment.id, Encoding.content_id, Segment.vector)
            query = query.join(Encoding, Encoding.id == Segment.encoding_id)
            some = connection.execute(query.where(Segment.id.in_(ids[at : at + _MANY].tolist())))
            found |= {row.id: row for row in some}
    rows = [found[id] for id in ids.tolist() if id in found]
    if not rows:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    return np.array([row.content_id for row in rows]), unpack(b"".join(row.vector for row in rows), len(rows))


def ids_by_content(store: Store, generation_id: int, channel: Channel) -> Ids:
    """The ids of a channel's segments in the order of what their files hold, and of time within these: (n,) int64.

    Ids are given as files are committed, and which of two is done first is a matter of chance. What is drawn at random
    from this order is the same for the same files.
    """
    query = (
        select(Segment.id)
        .join(Encoding, Encoding.id == Segment.encoding_id)
        .join(Content, Content.id == Encoding.content_id)
        .where(Encoding.generation_id == generation_id, Segment.channel == channel)
        .order_by(Content.digest, Content.format, Segment.id)
    )
    with store.reading() as connection:
        return np.fromiter(connection.execute(query).scalars(), np.int64)
