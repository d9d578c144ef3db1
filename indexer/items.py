"""Contents by a name that stays: what a program outside may hold on to, where paths and row numbers change.

A key is the digest of the bytes and the format that they were read as: `<40 hexadecimal digits>-<format>`. It is the
same after a file was moved, after an index was built anew, and in every library that holds the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import Row, func, select, tuple_

from indexer.legible import UNREAD, channel_of
from indexer.lookup import full_path
from indexer.paths import relative_to
from indexer.schema import PRESENT, Content, Encoding, File, Root, Segment
from indexer.store import Store
from indexer.types import Channel, Kind

_KEY = re.compile(r"([0-9a-f]{40})-([a-z0-9]{1,20})")
_MANY = 200  # names in one IN (...): each is three values, and SQLite's oldest limit is 999


@dataclass(frozen=True, slots=True)
class ItemFile:
    """One file that holds a content. `directory` is relative to `root`, with "/" between parts; `size` is in bytes."""

    root: str
    directory: str
    name: str
    size: int
    mtime_ns: int

    @property
    def path(self) -> str:
        """The file's absolute path."""
        return full_path(self.root, self.directory, self.name)


@dataclass(frozen=True, slots=True)
class Item:
    """A content with what its file says of itself, and the files that hold it: all on disk when last seen."""

    content_id: int
    digest: str
    format: str
    kind: Kind
    width: int | None
    height: int | None
    duration_seconds: float | None
    captured_at: str | None
    latitude: float | None
    longitude: float | None
    title: str | None
    files: tuple[ItemFile, ...]

    @property
    def key(self) -> str:
        """The name that stays."""
        return f"{self.digest}-{self.format}"


@dataclass(frozen=True, slots=True)
class Line:
    """A stretch of a content in one channel; `text`: what is said or written there, None for pictures and sounds."""

    channel: Channel
    start_seconds: float | None
    end_seconds: float | None
    text: str | None


def parts_of(key: str) -> tuple[str, str] | None:
    """The digest and the format in a key; None for what is no key."""
    found = _KEY.fullmatch(key)
    return None if found is None else (found.group(1), found.group(2))


def item_of(store: Store, key: str) -> Item | None:
    """The content of a key with the files that hold it; None when the library has none such on disk."""
    parts = parts_of(key)
    if parts is None:
        return None
    query = _rows().where(Content.digest == parts[0], Content.format == parts[1])
    with store.reading() as connection:
        rows = connection.execute(query.order_by(Root.path, File.directory, File.name)).all()
    return _item(rows) if rows else None


def items_at(store: Store, paths: Iterable[str]) -> dict[str, Item]:
    """The contents of files by their absolute paths, each with this one file; what is not in the library is left out.

    A path that lies in no root, or that was forgotten meanwhile, is left out.
    """
    roots = store.roots()
    wanted: dict[tuple[int, str, str], str] = {}
    for path in paths:
        for root_id, root in roots.items():
            inside = relative_to(path, root)
            if inside:
                directory, _, name = inside.rpartition("/")
                wanted[root_id, directory, name] = path
    found: dict[str, Item] = {}
    places = list(wanted)
    with store.reading() as connection:
        for at in range(0, len(places), _MANY):
            query = _rows().where(tuple_(File.root_id, File.directory, File.name).in_(places[at : at + _MANY]))
            for row in connection.execute(query):
                at_path = wanted.get((row.root_id, row.directory, row.name))
                if at_path is not None:
                    found[at_path] = _item([row])
    return found


def items_of_ids(store: Store, content_ids: Iterable[int]) -> dict[int, Item]:
    """Contents by their rows, with the files that hold them; one that no file on disk holds is left out."""
    rows: dict[int, list[Row[Any]]] = {}
    ids = sorted(set(content_ids))
    with store.reading() as connection:
        for at in range(0, len(ids), _MANY):
            query = _rows().where(Content.id.in_(ids[at : at + _MANY])).order_by(Root.path, File.directory, File.name)
            for row in connection.execute(query):
                rows.setdefault(row.id, []).append(row)
    return {id: _item(some) for id, some in rows.items()}


def lines_of(
    store: Store, generation_id: int, content_id: int, channels: Sequence[Channel] = (), limit: int = 10_000
) -> list[Line]:
    """The segments of a content in order of time, then as they were read; of some channels, or of all when empty."""
    query = (
        select(Segment.channel, Segment.start_seconds, Segment.end_seconds, Segment.text)
        .join(Encoding, Encoding.id == Segment.encoding_id)
        .where(Encoding.content_id == content_id, Encoding.generation_id == generation_id)
        .order_by(func.coalesce(Segment.start_seconds, -1.0), Segment.id)
        .limit(limit)
    )
    if channels:
        query = query.where(Segment.channel.in_([*channels, *(UNREAD[own] for own in channels if own in UNREAD)]))
    with store.reading() as connection:
        return [Line(channel_of(row[0]), row[1], row[2], row[3]) for row in connection.execute(query)]


def _rows() -> Any:
    return (
        select(
            *(Content.id, Content.digest, Content.format, Content.kind, Content.width, Content.height),
            *(Content.duration_seconds, Content.captured_at, Content.latitude, Content.longitude, Content.title),
            *(File.root_id, Root.path, File.directory, File.name, File.size, File.mtime_ns),
        )
        .join(File, File.content_id == Content.id)
        .join(Root, Root.id == File.root_id)
        .where(File.state == PRESENT)
    )


def _item(rows: Sequence[Row[Any]]) -> Item:
    first = rows[0]
    item = Item(
        content_id=first.id,
        digest=first.digest,
        format=first.format,
        kind=cast(Kind, first.kind),
        width=first.width,
        height=first.height,
        duration_seconds=first.duration_seconds,
        captured_at=first.captured_at,
        latitude=first.latitude,
        longitude=first.longitude,
        title=first.title,
        files=(),
    )
    files = (ItemFile(row.path, row.directory, row.name, row.size, row.mtime_ns) for row in rows)
    return replace(item, files=tuple(files))
