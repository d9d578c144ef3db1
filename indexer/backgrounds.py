"""Background distributions in the store: how queries that nothing matches score. What they mean is not known here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select, text, update

from indexer.ann import Ids
from indexer.halves import STORED_DTYPE
from indexer.schema import Background, Content, Encoding, Segment
from indexer.store import Store, unpack
from indexer.types import Channel, Modality, Vectors

_MANY = 500  # values in one IN (...)
_CONTENTS_OF = text(  # ids as one value, so that any number of them is one statement, which is prepared once
    "SELECT segment.id, encoding.content_id FROM json_each(:ids) AS asked JOIN segment ON segment.id = asked.value"
    " JOIN encoding ON encoding.id = segment.encoding_id"
)
_ALL_CONTENTS = text("SELECT segment.id, content_id FROM segment JOIN encoding ON encoding.id = encoding_id")
_ASKED_SHARE = 20
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
    """Write `least` and `last_id` of rows that are there, and nothing else of them."""
    with store.writing() as connection:
        for row in rows:
            connection.execute(
                update(Background)
                .where(
                    Background.generation_id == generation_id,
                    Background.modality == row.modality,
                    Background.channel == row.channel,
                )
                .values(least=row.least, last_id=row.last_id)
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


class _Contents:
    """Which content holds each segment, while the store stays as it is.

    A few rows are found by SQL in no time, and all of them take a while, but then each costs nothing. So all are read
    once a twentieth of them was asked for.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.by_id: Ids | None = None

    def all_of(self, store: Store, more: int) -> Ids | None:
        """Contents by segment id, 0 for none; None while SQL will do."""
        self.asked += more
        if self.by_id is None:
            with store.reading() as connection:
                most = connection.execute(text("SELECT max(id) FROM segment")).scalar() or 0
                if most > _ASKED_SHARE * self.asked:
                    return None
                rows = connection.execute(_ALL_CONTENTS).all()
            by_id = np.zeros(most + 1, np.int64)
            if rows:
                ids, contents = np.array(rows, np.int64).T
                by_id[ids] = contents
            self.by_id = by_id
        return self.by_id


def contents_of(store: Store, segment_ids: Ids) -> Ids:
    """The content that holds each segment: int64, of the shape of `segment_ids`; 0 for a segment that is gone."""
    by_id = store.fact("contents of segments", _Contents).all_of(store, segment_ids.size)
    if by_id is not None:
        known = (segment_ids >= 0) & (segment_ids < len(by_id))
        return np.where(known, by_id[np.where(known, segment_ids, 0)], 0)
    with store.reading() as connection:
        rows = connection.execute(_CONTENTS_OF, {"ids": json.dumps(segment_ids.ravel().tolist())}).all()
    contents: dict[int, int] = {row[0]: row[1] for row in rows}
    return np.array([contents.get(id, 0) for id in segment_ids.ravel().tolist()], np.int64).reshape(segment_ids.shape)
