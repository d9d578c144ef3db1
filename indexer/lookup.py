"""Questions to the store on behalf of a person: what a hit is, which segments a filter admits, how things stand."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, true

from indexer.ann import Ids
from indexer.schema import FAILED, MISSING, PRESENT, Content, Encoding, File, Root, Segment, under_or_at
from indexer.store import Store, unpack
from indexer.types import Channel, Kind, Vectors

Place = tuple[int, str]
"""A root's id, and a folder relative to it."""

_MANY = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """Which files may be found. Empty `kinds` or `places` mean any; a file must be in one of the places."""

    kinds: tuple[Kind, ...] = ()
    places: tuple[Place, ...] | None = None


@dataclass(frozen=True, slots=True)
class FoundSegment:
    """A segment as a person knows it. `paths` are the files that hold it, all on disk when last seen."""

    content_id: int
    kind: Kind
    channel: Channel
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    title: str | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundContent:
    """A content as a person knows it. `paths` are the files that hold it, all on disk when last seen."""

    id: int
    kind: Kind
    width: int | None
    height: int | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A file that could not be used (`state` "failed"), or only in part ("partial"), and why."""

    path: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class RootStatus:
    """One root: how many files it holds, and whether it can be reached now."""

    path: str
    files: int
    reachable: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How things stand, in files unless named otherwise. `kinds` counts files on disk that are indexed."""

    kinds: dict[str, int]
    segments: dict[str, int]
    roots: tuple[RootStatus, ...]
    failed: int
    partial: int
    missing: int
    no_speech: int
    hours: float


def admitted(store: Store, generation_id: int, channel: Channel, wanted: Filter) -> Ids | None:
    """The segments of a channel that a filter lets through: (n,) int64; None when that is all of them."""
    with store.reading() as connection:
        hidden = connection.execute(select(exists().where(File.state == MISSING))).scalar()
        if not wanted.kinds and wanted.places is None and not hidden:
            return None
        # The shown contents are collected first: asked for each segment anew, SQLite may scan all files each time.
        shown = select(File.content_id).join(Content, Content.id == File.content_id).where(_shown(wanted))
        if wanted.kinds:
            shown = shown.where(Content.kind.in_(wanted.kinds))
        query = (
            select(Segment.id)
            .join(Encoding, Encoding.id == Segment.encoding_id)
            .where(Encoding.generation_id == generation_id, Segment.channel == channel)
            .where(Encoding.content_id.in_(shown))
            .order_by(Segment.id)
        )
        return np.fromiter(connection.execute(query).scalars(), np.int64)


def segments_of(
    store: Store, generation_id: int, channel: Channel, content_ids: Sequence[int]
) -> tuple[Ids, Vectors, NDArray[np.float64]]:
    """All segments that some contents have in a channel.

    Returns:
        ids (n,) int64; vectors (n, dim) float32 of length 1; and the lengths (n,) that the tower gave them.
    """
    ids: list[int] = []
    stored: list[bytes] = []
    norms: list[float] = []
    with store.reading() as connection:
        for at in range(0, len(content_ids), _MANY):
            query = (
                select(Segment.id, Segment.vector, Segment.norm)
                .join(Encoding, Encoding.id == Segment.encoding_id)
                .where(Encoding.generation_id == generation_id, Segment.channel == channel)
                .where(Encoding.content_id.in_(content_ids[at : at + _MANY]))
            )
            for row in connection.execute(query):
                ids.append(row.id)
                stored.append(row.vector)
                norms.append(row.norm)
    if not ids:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32), np.empty(0)
    return np.array(ids, np.int64), unpack(b"".join(stored), len(ids)), np.array(norms)


def files_of(store: Store, content_ids: Sequence[int], wanted: Filter) -> dict[int, FoundContent]:
    """What these contents are, and which files hold them, by id; one that no file on disk holds is left out."""
    found = {}
    reachable: dict[str, bool] = {}
    with store.reading() as connection:
        for at in range(0, len(content_ids), _MANY):
            some = [int(id) for id in content_ids[at : at + _MANY]]
            paths = _paths(connection, some, wanted, reachable)
            query = select(Content.id, Content.kind, Content.width, Content.height).where(Content.id.in_(list(paths)))
            for row in connection.execute(query):
                found[row.id] = FoundContent(row.id, row.kind, row.width, row.height, tuple(paths[row.id]))
    return found


def copied(store: Store, wanted: Filter) -> list[int]:
    """The contents that more than one file on disk holds, by rising id."""
    query = (
        select(File.content_id)
        .join(Content, Content.id == File.content_id)
        .where(_shown(wanted))
        .group_by(File.content_id)
        .having(func.count() > 1)
        .order_by(File.content_id)
    )
    with store.reading() as connection:
        return [int(id) for id in connection.execute(query).scalars() if id is not None]


def describe(store: Store, segment_ids: Sequence[int], wanted: Filter) -> dict[int, FoundSegment]:
    """What these segments are, by id; one that is gone meanwhile is left out."""
    found = {}
    reachable: dict[str, bool] = {}
    with store.reading() as connection:
        for at in range(0, len(segment_ids), _MANY):
            some = [int(id) for id in segment_ids[at : at + _MANY]]
            segments = connection.execute(
                select(
                    Segment.id,
                    Segment.channel,
                    Segment.start_seconds,
                    Segment.end_seconds,
                    Segment.text,
                    Content.id.label("content_id"),
                    Content.kind,
                    Content.title,
                )
                .join(Encoding, Encoding.id == Segment.encoding_id)
                .join(Content, Content.id == Encoding.content_id)
                .where(Segment.id.in_(some))
            ).all()
            contents = {row.content_id for row in segments}
            paths = _paths(connection, contents, wanted, reachable)
            for row in segments:
                if row.content_id in paths:
                    found[row.id] = FoundSegment(
                        row.content_id,
                        row.kind,
                        row.channel,
                        row.start_seconds,
                        row.end_seconds,
                        row.text,
                        row.title,
                        tuple(paths[row.content_id]),
                    )
    return found


def count(store: Store, generation_id: int | None) -> Counts:
    """Count everything that `status` shows."""
    with store.reading() as connection:
        on_disk = and_(File.state == PRESENT, File.content_id.is_not(None))
        kinds = connection.execute(
            select(Content.kind, func.count())
            .join(File, File.content_id == Content.id)
            .where(on_disk)
            .group_by(Content.kind)
        )
        segments = connection.execute(
            select(Segment.channel, func.count())
            .join(Encoding, Encoding.id == Segment.encoding_id)
            .where(Encoding.generation_id == generation_id)
            .group_by(Segment.channel)
        )
        roots = connection.execute(
            select(Root.path, func.count(File.id))
            .join(File, and_(File.root_id == Root.id, File.state != MISSING), isouter=True)
            .group_by(Root.id)
            .order_by(Root.path)
        )
        states = _table(connection.execute(select(File.state, func.count()).group_by(File.state)))
        of_file = select(func.count()).select_from(File).join(Encoding, Encoding.content_id == File.content_id)
        of_file = of_file.where(on_disk, Encoding.generation_id == generation_id)
        seconds = select(func.sum(Content.duration_seconds)).join(File, File.content_id == Content.id).where(on_disk)
        return Counts(
            kinds=_table(kinds),
            segments=_table(segments),
            roots=tuple(RootStatus(path, files, os.path.isdir(path)) for path, files in roots),
            failed=states.get(FAILED, 0),
            partial=connection.execute(of_file.where(Encoding.problem.is_not(None))).scalar_one(),
            missing=states.get(MISSING, 0),
            no_speech=connection.execute(of_file.where(Encoding.speech_lines == 0)).scalar_one(),
            hours=(connection.execute(seconds).scalar() or 0.0) / 3600,
        )


def troubles(store: Store, generation_id: int | None) -> Iterator[Trouble]:
    """Every file that could not be used, or only in part, by path."""
    with store.reading() as connection:
        rows = connection.execute(
            select(Root.path, File.directory, File.name, File.state, File.reason, Encoding.problem)
            .join(Root, Root.id == File.root_id)
            .join(
                Encoding,
                and_(Encoding.content_id == File.content_id, Encoding.generation_id == generation_id),
                isouter=True,
            )
            .where(or_(File.state == FAILED, and_(File.state == PRESENT, Encoding.problem.is_not(None))))
            .order_by(Root.path, File.directory, File.name)
        ).all()
    for row in rows:
        failed = row.state == FAILED
        path = full_path(row.path, row.directory, row.name)
        yield Trouble(path, "failed" if failed else "partial", (row.reason if failed else row.problem) or "")


def full_path(root: str, directory: str, name: str) -> str:
    """A stored file's absolute path, as this system writes it."""
    return os.path.join(root, *directory.split("/"), name) if directory else os.path.join(root, name)


def _paths(
    connection: Connection, content_ids: Collection[int], wanted: Filter, reachable: dict[str, bool]
) -> dict[int | None, list[str]]:
    """The files that hold some contents; `reachable` remembers which roots are there."""
    paths: dict[int | None, list[str]] = {}
    away: dict[int | None, list[str]] = {}  # below a root that cannot be reached now: shown after the others
    for content_id, root, directory, name in connection.execute(
        select(File.content_id, Root.path, File.directory, File.name)
        .join(Root, Root.id == File.root_id)
        .where(File.content_id.in_(content_ids), _shown(wanted))
        .order_by(Root.path, File.directory, File.name)
    ):
        here = paths if reachable.setdefault(root, os.path.isdir(root)) else away
        here.setdefault(content_id, []).append(full_path(root, directory, name))
    for content_id, elsewhere in away.items():
        paths.setdefault(content_id, []).extend(elsewhere)
    return paths


def _table(rows: Iterable[Any]) -> dict[str, int]:
    """Counts by name."""
    return {str(name): int(number) for name, number in rows}


def _shown(wanted: Filter) -> ColumnElement[bool]:
    """Whether a file is on disk, and in one of the wanted places."""
    places: ColumnElement[bool] = true()
    if wanted.places is not None:
        places = or_(*[and_(File.root_id == root_id, under_or_at(scope)) for root_id, scope in wanted.places])
    return and_(File.state == PRESENT, places)
