"""Bridges in the store: maps between the spaces of two channels. How they are made is not known here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import delete, insert, select, update

from indexer.ann import Ids
from indexer.errors import LibraryDamagedError
from indexer.records import Position
from indexer.schema import Bridge, Encoding, Segment
from indexer.store import Store
from indexer.types import Channel, Vectors
from indexer.writes import now

_DTYPE = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a channel had come when its mean was taken: see `indexer.schema.Tally`."""

    last_id: int
    removals: int

    @classmethod
    def of(cls, position: Position) -> Mark:
        """The mark of a channel as it stands."""
        return cls(position.last_id, position.removals)


@dataclass(frozen=True, slots=True, eq=False)
class BridgeSide:
    """One end of a bridge.

    `mean`: (dim,) float32, of the channel's vectors. `across`: (dim, other dim) float32: rows less `mean`, times this,
    lie in the other end's space. `mark`: when the mean was taken.
    """

    channel: Channel
    mean: Vectors
    across: Vectors
    mark: Mark


@dataclass(frozen=True, slots=True, eq=False)
class StoredBridge:
    """A bridge between two channels. `digest` changes whenever its maps do. `report`: JSON, as it was given."""

    digest: str
    sides: tuple[BridgeSide, BridgeSide]
    report: str


def bridge_state(store: Store, generation_id: int) -> tuple[tuple[str, Mark], ...]:
    """Which bridge a generation has, as digest and mark of each end; empty for none. No map is read."""
    query = select(Bridge.digest, Bridge.last_id, Bridge.removals).where(Bridge.generation_id == generation_id)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(Bridge.channel)).all()
    return tuple((row.digest, Mark(row.last_id, row.removals)) for row in rows)


def bridge_report(store: Store, generation_id: int) -> str | None:
    """What was said of a generation's bridge when it was made: JSON; None for no bridge."""
    query = select(Bridge.report).where(Bridge.generation_id == generation_id).limit(1)
    with store.reading() as connection:
        return connection.execute(query).scalar()


def read_bridge(store: Store, generation_id: int) -> StoredBridge | None:
    """A generation's bridge; None when it has none.

    Raises:
        LibraryDamagedError: what is stored is no bridge.
    """
    with store.reading() as connection:
        rows = connection.execute(
            select(*Bridge.__table__.columns).where(Bridge.generation_id == generation_id).order_by(Bridge.channel)
        ).all()
    if not rows:
        return None
    sizes = [len(row.mean) // _DTYPE.itemsize for row in rows]
    whole = len(rows) == 2 and all(
        len(row.mean) == size * _DTYPE.itemsize and len(row.across) == size * sizes[1 - at] * _DTYPE.itemsize
        for at, (row, size) in enumerate(zip(rows, sizes, strict=True))
    )
    if not whole or not all(sizes):
        raise LibraryDamagedError("the bridge that this library keeps is damaged; make it again with: mmsearch bridge")
    sides = [
        BridgeSide(
            row.channel,
            np.frombuffer(row.mean, _DTYPE).astype(np.float32),
            np.frombuffer(row.across, _DTYPE).reshape(size, -1).astype(np.float32),
            Mark(row.last_id, row.removals),
        )
        for row, size in zip(rows, sizes, strict=True)
    ]
    return StoredBridge(rows[0].digest, (sides[0], sides[1]), rows[0].report)


def write_bridge(store: Store, generation_id: int, bridge: StoredBridge | None) -> None:
    """Put a bridge, or none, in the place of the one that a generation had, in one transaction."""
    with store.writing() as connection:
        connection.execute(delete(Bridge).where(Bridge.generation_id == generation_id))
        if bridge is None:
            return
        for side in bridge.sides:
            connection.execute(
                insert(Bridge).values(
                    generation_id=generation_id,
                    channel=side.channel,
                    digest=bridge.digest,
                    mean=side.mean.astype(_DTYPE).tobytes(),
                    across=np.ascontiguousarray(side.across, _DTYPE).tobytes(),
                    last_id=side.mark.last_id,
                    removals=side.mark.removals,
                    report=bridge.report,
                    made_at=now(),
                )
            )


def write_mean(store: Store, generation_id: int, channel: Channel, mean: Vectors, mark: Mark) -> None:
    """Give one end of a bridge a newer mean."""
    with store.writing() as connection:
        connection.execute(
            update(Bridge)
            .where(Bridge.generation_id == generation_id, Bridge.channel == channel)
            .values(mean=mean.astype(_DTYPE).tobytes(), last_id=mark.last_id, removals=mark.removals)
        )


def contents_of_both(store: Store, generation_id: int, channels: tuple[Channel, Channel]) -> Ids:
    """The contents that have segments in each of two channels, rising: (n,) int64."""
    found = [
        select(Encoding.content_id)
        .join(Segment, Segment.encoding_id == Encoding.id)
        .where(Encoding.generation_id == generation_id, Segment.channel == channel)
        .distinct()
        for channel in channels
    ]
    with store.reading() as connection:
        first, second = ({int(id) for id in connection.execute(query).scalars()} for query in found)
    return np.array(sorted(first & second), np.int64)
