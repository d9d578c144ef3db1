"""Questions to the store on behalf of a person: what a hit is, how things stand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, or_, select

from indexer.filters import Filter, Place
from indexer.legible import READ_AS
from indexer.records import FOLDER_PROBLEM
from indexer.schema import FAILED, MISSING, PRESENT, Content, Encoding, File, Root, Segment
from indexer.store import Store

__all__ = [
    "Counts",
    "Filter",
    "Place",
    "RootStatus",
    "Trouble",
    "count",
    "full_path",
    "troubles",
]

_MANY = 500

_IS_FOLDER = func.coalesce(File.reason, "").startswith(FOLDER_PROBLEM)
"""Whether a row is of a folder that could not be read, and not of a file."""


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
    """How things stand, in files unless named otherwise. `kinds` counts files on disk that are indexed.

    `segments`: those with vectors, by channel. `unread`: passages without, which the model cannot read.
    `failed_folders` of the `failed` are folders that cannot be read.
    """

    kinds: dict[str, int]
    segments: dict[str, int]
    unread: int
    roots: tuple[RootStatus, ...]
    failed: int
    failed_folders: int
    partial: int
    missing: int
    no_speech: int
    hours: float


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
        segments = _table(
            connection.execute(
                select(Segment.channel, func.count())
                .join(Encoding, Encoding.id == Segment.encoding_id)
                .where(Encoding.generation_id == generation_id)
                .group_by(Segment.channel)
            )
        )
        roots = connection.execute(
            select(Root.path, func.count(File.id))
            .join(File, and_(File.root_id == Root.id, File.state != MISSING, ~_IS_FOLDER), isouter=True)
            .group_by(Root.id)
            .order_by(Root.path)
        )
        states = _table(connection.execute(select(File.state, func.count()).group_by(File.state)))
        of_file = select(func.count()).select_from(File).join(Encoding, Encoding.content_id == File.content_id)
        of_file = of_file.where(on_disk, Encoding.generation_id == generation_id)
        seconds = select(func.sum(Content.duration_seconds)).join(File, File.content_id == Content.id).where(on_disk)
        return Counts(
            kinds=_table(kinds),
            segments={channel: number for channel, number in segments.items() if channel not in READ_AS},
            unread=sum(segments.get(stored, 0) for stored in READ_AS),
            roots=tuple(RootStatus(path, files, os.path.isdir(path)) for path, files in roots),
            failed=states.get(FAILED, 0),
            failed_folders=connection.execute(
                select(func.count()).where(File.state == FAILED, _IS_FOLDER)
            ).scalar_one(),
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


def _table(rows: Iterable[Any]) -> dict[str, int]:
    """Counts by name."""
    return {str(name): int(number) for name, number in rows}
