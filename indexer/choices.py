"""What there is to filter by in a library: kinds, folders, years, lengths, places, each with how many files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from indexer.lookup import full_path
from indexer.schema import PRESENT, Content, File, Root
from indexer.store import Store

LENGTHS = (0.0, 10.0, 60.0, 300.0, 1200.0)
"""Where ranges of length begin, in seconds: up to ten seconds, a minute, five, twenty, and above."""

_RANGES: tuple[tuple[float, float | None], ...] = tuple(zip(LENGTHS, (*LENGTHS[1:], None), strict=True))

_FOLDERS = 500
"""Folders that are listed: those that hold most."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and how many files lie in it, at any depth. `depth`: 0 for a root of the library."""

    path: str
    root_id: int
    depth: int
    files: int


@dataclass(frozen=True, slots=True)
class Length:
    """A range of durations in seconds, and how many files last so long; `max_seconds` is None for no end."""

    min_seconds: float
    max_seconds: float | None
    files: int


@dataclass(frozen=True, slots=True)
class Choices:
    """What files on disk can be told apart by. `years`: of when they were taken, or modified where they do not say."""

    files: int
    kinds: dict[str, int]
    folders: tuple[Folder, ...]
    years: dict[int, int]
    lengths: tuple[Length, ...]
    with_place: int


def choices_of(store: Store) -> Choices:
    """Count what there is; the answer is kept until the store changes."""
    return store.kept("choices", lambda: _choices(store))


def _choices(store: Store) -> Choices:
    on_disk = (File.state == PRESENT, File.content_id.is_not(None))
    files = select(File.directory, func.count()).where(*on_disk)
    with store.reading() as connection:
        kinds = connection.execute(
            select(Content.kind, func.count()).join(File, File.content_id == Content.id).where(*on_disk)
            .group_by(Content.kind)
        ).all()  # fmt: skip
        roots = {row.id: row.path for row in connection.execute(select(Root.id, Root.path))}
        directories = connection.execute(files.add_columns(File.root_id).group_by(File.root_id, File.directory)).all()
        written = func.substr(Content.captured_at, 1, 4)
        taken = connection.execute(
            select(written, func.count()).join(File, File.content_id == Content.id)
            .where(*on_disk, Content.captured_at.is_not(None)).group_by(written)
        ).all()  # fmt: skip
        # By days, so that a million files are some thousand rows; a day counts for the year in which it begins.
        day = File.mtime_ns.op("/")(86_400_000_000_000)
        modified = connection.execute(
            select(func.min(File.mtime_ns), func.count()).join(Content, Content.id == File.content_id)
            .where(*on_disk, Content.captured_at.is_(None)).group_by(day)
        ).all()  # fmt: skip
        seconds = Content.duration_seconds
        lengths = [
            connection.execute(
                select(func.count()).select_from(File).join(Content, Content.id == File.content_id)
                .where(*on_disk, seconds >= low, *((seconds < high,) if high is not None else ()))
            ).scalar_one()
            for low, high in _RANGES
        ]  # fmt: skip
        with_place = connection.execute(
            select(func.count()).select_from(File).join(Content, Content.id == File.content_id)
            .where(*on_disk, Content.latitude.is_not(None), Content.longitude.is_not(None))
        ).scalar_one()  # fmt: skip
    years: Counter[int] = Counter()
    for text, number in taken:
        if str(text).isdigit():
            years[int(text)] += number
    for mtime_ns, number in modified:
        year = _year_of(mtime_ns)
        if year is not None:
            years[year] += number
    return Choices(
        files=sum(number for _, number in kinds),
        kinds={str(kind): number for kind, number in kinds},
        folders=_folders(roots, [(root_id, directory, number) for directory, number, root_id in directories]),
        years=dict(sorted(years.items())),
        lengths=tuple(Length(low, high, number) for (low, high), number in zip(_RANGES, lengths, strict=True)),
        with_place=with_place,
    )


def _folders(roots: dict[int, str], counted: list[tuple[int, str, int]]) -> tuple[Folder, ...]:
    """Every folder with what lies below it, too: the fullest, in the order of their paths."""
    below: Counter[tuple[int, str]] = Counter({(root_id, ""): 0 for root_id in roots})
    for root_id, directory, number in counted:
        below[root_id, ""] += number
        parts = directory.split("/") if directory else []
        for end in range(1, len(parts) + 1):
            below[root_id, "/".join(parts[:end])] += number
    # Roots first: without its root, a folder hangs in the air.
    fullest = sorted(below.items(), key=lambda entry: (bool(entry[0][1]), -entry[1], entry[0]))[:_FOLDERS]
    folders = []
    for (root_id, inside), number in fullest:
        directory, _, name = inside.rpartition("/")
        path = full_path(roots[root_id], directory, name) if inside else roots[root_id]
        folders.append(Folder(path, root_id, len(inside.split("/")) if inside else 0, number))
    return tuple(sorted(folders, key=lambda folder: folder.path))


def _year_of(mtime_ns: int) -> int | None:
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9).year
    except (OverflowError, ValueError, OSError):
        return None
