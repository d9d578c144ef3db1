"""Adapted generations: the vectors of another, each taken through a matrix. How that is learned is not known here.

A matrix belongs to a tower, so that what is encoded later (a query, a new file) goes through it as well. The generation
that the vectors came from stays beside the new one, untouched: to go back is to let it answer again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, exists, func, insert, literal, null, select, update

from indexer.errors import LibraryDamagedError, UsageError
from indexer.halves import STORED_DTYPE
from indexer.legible import READ_AS
from indexer.schema import Adapter, Encoding, File, Generation, Segment, Tally
from indexer.store import Store, unpack
from indexer.types import Channel, ModelSpec, TowerSpec, Vectors
from indexer.writes import inserted, now

_DTYPE = np.dtype("<f4")
_ROWS = 5_000  # vectors in memory at a time
_LEAST_LENGTH = 1e-6  # of an adapted vector, under which it has no direction left

Matrices = Mapping[tuple[str, str], Vectors]
"""By modality and space of a tower: (dim, dim) float32, through which its vectors go."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredAdapter:
    """What a generation's vectors went through. `base`: the generation before it, and its model. `report`: JSON."""

    base_id: int
    base: ModelSpec
    matrices: Matrices
    report: str


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of a library that went back.

    `generation_id`: what was dropped. `report`: of the adapter that it had. `files`: how many the next indexing run has
    to encode, because they came after the adapter.
    """

    generation_id: int
    report: str
    files: int


def adapted(vectors: Vectors, matrix: Vectors) -> Vectors:
    """Rows through a matrix, brought back to length 1: (n, dim) float32.

    A row of which nothing would be left stays as it is.

    Args:
        vectors: (n, dim) float32 of length 1.
        matrix: (dim, dim) float32: x becomes matrix @ x.
    """
    moved: Vectors = vectors @ matrix.T
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(
        np.where(lengths > _LEAST_LENGTH, moved / np.maximum(lengths, _LEAST_LENGTH), vectors), np.float32
    )


def adapter_report(store: Store, generation_id: int) -> str | None:
    """What was said of a generation's adapter when it was made: JSON; None for a generation without one."""
    query = select(Adapter.report).where(Adapter.generation_id == generation_id).limit(1)
    with store.reading() as connection:
        return connection.execute(query).scalar()


def read_adapter(store: Store, generation_id: int) -> StoredAdapter | None:
    """What a generation's vectors went through; None when they are as their towers made them.

    Raises:
        LibraryDamagedError: what is stored is no adapter.
    """
    with store.reading() as connection:
        query = (
            select(Adapter.modality, Adapter.space, Adapter.base_id, Adapter.matrix, Adapter.report, Generation.spec)
            .join(Generation, Generation.id == Adapter.base_id)
            .where(Adapter.generation_id == generation_id)
        )
        rows = connection.execute(query).all()
    if not rows:
        return None
    matrices: dict[tuple[str, str], Vectors] = {}
    for row in rows:
        flat = np.frombuffer(row.matrix, _DTYPE) if len(row.matrix) % _DTYPE.itemsize == 0 else np.empty(0, _DTYPE)
        side = round(len(flat) ** 0.5)
        if not side or side * side != len(flat) or not np.isfinite(flat).all():
            raise LibraryDamagedError(
                "the adapter that this library keeps is damaged; go back to the vectors before it with:"
                " mmsearch train --undo"
            )
        matrices[row.modality, row.space] = flat.reshape(side, side).astype(np.float32)
    return StoredAdapter(rows[0].base_id, ModelSpec.from_json(rows[0].spec), matrices, rows[0].report)


def write_adapted(store: Store, base_id: int, fingerprint: str, matrices: Matrices, report: str) -> int:
    """Make a generation of another's vectors, each through its tower's matrix, and let it answer; its id.

    One transaction: the old generation answers until the new one is whole, and does so still when this is interrupted.
    Call it with the writer's lock held.

    Args:
        store: where.
        base_id: the generation that answers now.
        fingerprint: of the model with the matrices.
        matrices: of the towers that get one.
        report: JSON, kept beside.
    """
    with store.writing() as connection:
        spec = ModelSpec.from_json(
            connection.execute(select(Generation.spec).where(Generation.id == base_id)).scalar_one()
        )
        changed = {channel: matrices[key] for channel, tower in spec.channels if (key := _key(tower)) in matrices}
        made = replace(spec, fingerprint=fingerprint)
        row = {"spec": made.to_json(), "fingerprint": fingerprint, "active": False, "created_at": now()}
        new_id = inserted(connection.execute(insert(Generation).values(**row)))
        _copy_encodings(connection, base_id, new_id)
        for channel, _ in spec.channels:
            if channel in changed:
                _adapt_segments(connection, base_id, new_id, channel, changed[channel])
            else:
                _copy_segments(connection, base_id, new_id, channel)
            _count(connection, new_id, channel)
        for stored in READ_AS:  # without vectors, and without a tally
            _copy_segments(connection, base_id, new_id, stored)
        for (modality, space), matrix in matrices.items():
            connection.execute(
                insert(Adapter).values(
                    generation_id=new_id,
                    modality=modality,
                    space=space,
                    base_id=base_id,
                    matrix=matrix.astype(_DTYPE).tobytes(),
                    report=report,
                    made_at=now(),
                )
            )
        _activate(connection, new_id)
    return new_id


def undo_adapted(store: Store) -> Undone:
    """Let the generation answer again that the present one was made from, and drop the present one.

    Files that were indexed since have no vectors in the old one: the next indexing run opens them again. Call it with
    the writer's lock held.

    Raises:
        UsageError: the library's vectors are as their model made them.
    """
    with store.writing() as connection:
        row = connection.execute(
            select(Adapter.generation_id, Adapter.base_id, Adapter.report)
            .join(Generation, Generation.id == Adapter.generation_id)
            .where(Generation.active)
            .limit(1)
        ).one_or_none()
        if row is None:
            raise UsageError("there is nothing to undo: this library's vectors are as its model made them")
        _activate(connection, row.base_id)
        seen = exists().where(Encoding.content_id == File.content_id, Encoding.generation_id == row.base_id)
        reopened = connection.execute(
            update(File).where(File.content_id.is_not(None), ~seen).values(mtime_ns=-1)  # no file has this time
        )
        connection.execute(delete(Generation).where(Generation.id == row.generation_id))
        return Undone(row.generation_id, row.report, reopened.rowcount)


def _key(tower: TowerSpec) -> tuple[str, str]:
    return tower.modality, tower.space


def _activate(connection: Connection, generation_id: int) -> None:
    connection.execute(update(Generation).values(active=Generation.id == generation_id))


def _copy_encodings(connection: Connection, base_id: int, new_id: int) -> None:
    columns = ["content_id", "generation_id", "problem", "speech_lines", "encoded_at"]
    rows = select(
        Encoding.content_id, literal(new_id), Encoding.problem, Encoding.speech_lines, Encoding.encoded_at
    ).where(Encoding.generation_id == base_id)
    connection.execute(insert(Encoding).from_select(columns, rows))


_KEPT = ("start_seconds", "end_seconds", "text", "look", "norm")


def _copy_segments(connection: Connection, base_id: int, new_id: int, channel: str) -> None:
    before, after = Encoding.__table__.alias("before"), Encoding.__table__.alias("after")
    columns = [getattr(Segment, name) for name in _KEPT]
    rows = (
        select(after.c.id, Segment.channel, *columns, Segment.vector)
        .join(before, before.c.id == Segment.encoding_id)
        .join(after, after.c.content_id == before.c.content_id)
        .where(before.c.generation_id == base_id, after.c.generation_id == new_id, Segment.channel == channel)
        .order_by(Segment.id)
    )
    connection.execute(insert(Segment).from_select(["encoding_id", "channel", *_KEPT, "vector"], rows))


def _adapt_segments(connection: Connection, base_id: int, new_id: int, channel: Channel, matrix: Vectors) -> None:
    for block in _blocks(connection, base_id, new_id, channel):
        vectors = adapted(unpack(b"".join(row.vector for row in block), len(block)), matrix)
        connection.execute(
            insert(Segment),
            [
                {
                    "encoding_id": row.encoding_id,
                    "channel": channel,
                    **{name: getattr(row, name) for name in _KEPT},
                    "vector": vector.astype(STORED_DTYPE).tobytes(),
                }
                for row, vector in zip(block, vectors, strict=True)
            ],
        )


def _blocks(connection: Connection, base_id: int, new_id: int, channel: Channel) -> Iterator[list[Any]]:
    """A channel's segments in blocks, each with the encoding that its copy belongs to, by rising id."""
    before, after = Encoding.__table__.alias("before"), Encoding.__table__.alias("after")
    columns = [getattr(Segment, name) for name in _KEPT]
    last = 0
    while True:
        query = (
            select(Segment.id, after.c.id.label("encoding_id"), *columns, Segment.vector)
            .join(before, before.c.id == Segment.encoding_id)
            .join(after, after.c.content_id == before.c.content_id)
            .where(before.c.generation_id == base_id, after.c.generation_id == new_id, Segment.channel == channel)
            .where(Segment.id > last)
            .order_by(Segment.id)
            .limit(_ROWS)
        )
        block = list(connection.execute(query).all())
        if not block:
            return
        last = block[-1].id
        yield block


def _count(connection: Connection, generation_id: int, channel: Channel) -> None:
    counted = select(
        literal(generation_id), literal(channel), func.max(Segment.id), func.count(), literal(0), null()
    ).join(Encoding, Encoding.id == Segment.encoding_id)
    counted = counted.where(Encoding.generation_id == generation_id, Segment.channel == channel)
    columns = ["generation_id", "channel", "last_id", "vectors", "removals", "saved_index"]
    connection.execute(insert(Tally).from_select(columns, counted.having(func.count() > 0)))
