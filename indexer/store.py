"""The Store: one SQLite database, the only truth about a library. Everything else can be made again from it."""

from __future__ import annotations

import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

from indexer.ann import Ids
from indexer.errors import LibraryDamagedError, LibraryLockedError
from indexer.migrations import migrate
from indexer.paths import relative_to, under
from indexer.schema import MISSING, PRESENT, Content, Encoding, File, Generation, Meta, Root, Segment, Tally
from indexer.types import Channel, MediaInfo, ModelSpec, Vectors

STORED_DTYPE = np.dtype("<f2")
"""Vectors are kept in half precision: see benchmarks/vector_precision.py for what that costs."""

_PATIENCE_SECONDS = 30
_MANY = 500  # values in one IN (...): SQLite's oldest limit is 999 for a statement


# Statements that are run for every file are built once: building one costs more than SQLite takes to run it.
_ENCODED_CONTENT = (
    select(Content.id)
    .join(Encoding, Encoding.content_id == Content.id)
    .where(
        Content.digest == bindparam("digest"),
        Content.format == bindparam("format"),
        Encoding.generation_id == bindparam("generation_id"),
    )
)
_CONTENT_OF = select(Content.id).where(Content.digest == bindparam("digest"), Content.format == bindparam("format"))
_FILE_AT = select(File.id, File.content_id).where(
    File.root_id == bindparam("root_id"), File.directory == bindparam("directory"), File.name == bindparam("name")
)
_CHANGE_FILE = update(File).where(File.id == bindparam("file_id"))


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the store knows of a name on disk."""

    id: int
    size: int
    mtime_ns: int
    state: str


@dataclass(frozen=True, slots=True, eq=False)
class NewSegment:
    """A segment to be written. `vector`: (dim,) float32 of length 1."""

    channel: Channel
    vector: Vectors
    start_seconds: float | None = None
    end_seconds: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a file is, and what it looked like when it was found."""

    root_id: int
    directory: str
    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class NewContent:
    """A content that was encoded for the first time by this generation."""

    digest: str
    info: MediaInfo
    segments: Sequence[NewSegment]
    problem: str | None = None
    speech_lines: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: a new content, a content that the store has already, or a reason why not."""

    place: FilePlace
    content: NewContent | int | None
    state: str = PRESENT
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """How much a removal took out of the library (nothing on disk is touched)."""

    files: int
    segments: int


class Store:
    """All that a library knows, in one SQLite file in WAL mode. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _PATIENCE_SECONDS})
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        try:
            with self._clear_errors():
                migrate(self._engine)
        except BaseException:
            self.close()
            raise
        self.library_id: str = self._meta("library_id") or self._name_library()

    def _name_library(self) -> str:
        with self.writing() as connection:  # IGNORE: another process may have named it meanwhile
            connection.execute(insert(Meta).prefix_with("OR IGNORE").values(key="library_id", value=uuid.uuid4().hex))
        return self._meta("library_id") or ""

    def _meta(self, key: str) -> str | None:
        with self.reading() as connection:
            return connection.execute(select(Meta.value).where(Meta.key == key)).scalar()

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the store, which no writer changes."""
        with self._clear_errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of it is kept, or none."""
        connect = self._engine.connect
        with self._clear_errors(), connect().execution_options(immediate=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Say what SQLite's errors mean for the person who meets them."""
        try:
            yield
        except DatabaseError as error:
            said = str(error.orig)
            if isinstance(error, (IntegrityError, ProgrammingError)):
                raise
            if "locked" in said:
                raise LibraryLockedError(
                    f"another process has been writing to {self.path} for over {_PATIENCE_SECONDS} s; "
                    "try again when it is done"
                ) from error
            raise LibraryDamagedError(
                f"{self.path} cannot be used as a library ({said}). If the disk is full or read-only, mend that; "
                "otherwise restore the library's folder from a backup, or remove it and index again"
            ) from error

    # --- generations ---

    def generation(self) -> tuple[int, ModelSpec] | None:
        """The generation that answers queries, and its model; None in a library that has none yet."""
        with self.reading() as connection:
            row = connection.execute(select(Generation.id, Generation.spec).where(Generation.active)).one_or_none()
        return None if row is None else (row.id, ModelSpec.from_json(row.spec))

    def start_generation(self, spec: ModelSpec) -> int:
        """Make the first generation of an empty library."""
        with self.writing() as connection:
            row = {"spec": spec.to_json(), "fingerprint": spec.fingerprint, "active": True, "created_at": _now()}
            return _inserted(connection.execute(insert(Generation).values(**row)))

    def is_empty(self, generation_id: int) -> bool:
        """Whether a generation has no vectors."""
        query = select(func.sum(Tally.vectors)).where(Tally.generation_id == generation_id)
        with self.reading() as connection:
            return not connection.execute(query).scalar()

    # --- roots ---

    def roots(self) -> dict[int, str]:
        """Absolute paths of all roots, by id."""
        with self.reading() as connection:
            return {row.id: row.path for row in connection.execute(select(Root.id, Root.path).order_by(Root.id))}

    def add_root(self, path: str) -> tuple[int, str]:
        """The root that holds `path`, and where in it `path` lies; a new root when none does.

        Roots never lie inside one another: a new root takes over the files of those that it holds.

        Args:
            path: absolute real path of a folder.
        """
        with self.writing() as connection:
            roots = connection.execute(select(Root.id, Root.path)).all()
            for row in roots:
                inside = relative_to(path, row.path)
                if inside is not None:
                    return row.id, inside
            root_id = _inserted(connection.execute(insert(Root).values(path=path)))
            for row in roots:
                inside = relative_to(row.path, path)
                if inside is not None:
                    _move_files(connection, row.id, root_id, inside)
                    connection.execute(delete(Root).where(Root.id == row.id))
            return root_id, ""

    def move_root(self, old: str, new: str) -> int | None:
        """Re-point the root at `old` to `new`; the number of its files, or None when there is no such root."""
        with self.writing() as connection:
            root_id = connection.execute(select(Root.id).where(Root.path == old)).scalar()
            if root_id is None:
                return None
            connection.execute(update(Root).where(Root.id == root_id).values(path=new))
            return connection.execute(select(func.count()).where(File.root_id == root_id)).scalar_one()

    # --- files ---

    def known_in(self, root_id: int, directory: str) -> dict[str, KnownFile]:
        """What is known of the names in one folder (not below it)."""
        query = select(File.id, File.name, File.size, File.mtime_ns, File.state).where(
            File.root_id == root_id, File.directory == directory
        )
        with self.reading() as connection:
            return {row.name: KnownFile(row.id, row.size, row.mtime_ns, row.state) for row in connection.execute(query)}

    def directories(self, root_id: int, scope: str) -> list[str]:
        """Every folder under `scope` that holds a known file."""
        query = select(File.directory).distinct().where(File.root_id == root_id, under(File.directory, scope))
        with self.reading() as connection:
            return list(connection.execute(query).scalars())

    def encoded_content(self, generation_id: int, digest: str, format: str) -> int | None:
        """The content with these bytes, if this generation has encoded it."""
        values = {"digest": digest, "format": format, "generation_id": generation_id}
        with self.reading() as connection:
            return connection.execute(_ENCODED_CONTENT, values).scalar()

    def write(self, generation_id: int, outcomes: Sequence[Outcome]) -> None:
        """Record what became of some files, in one transaction; a changed file's old segments go with it."""
        with self.writing() as connection:
            replaced = {_write_file(connection, generation_id, outcome) for outcome in outcomes}
            _count_added(connection, generation_id, outcomes)
            for some in _slices(sorted(id for id in replaced if id is not None)):
                _drop_orphans(connection, Content.id.in_(some))

    def set_state(self, file_ids: Sequence[int], state: str) -> None:
        """Mark files as present or missing. A missing file that holds nothing of worth is forgotten at once."""
        with self.writing() as connection:
            for some in _slices(file_ids):
                connection.execute(update(File).where(File.id.in_(some)).values(state=state))
                if state == MISSING:
                    connection.execute(delete(File).where(File.id.in_(some), File.content_id.is_(None)))

    def forget_moved(self, root_id: int) -> int:
        """Forget missing files of this root whose content is present under another name; how many there were."""
        other = File.__table__.alias("other")
        found = exists().where(other.c.content_id == File.content_id, other.c.state == PRESENT)
        with self.writing() as connection:
            return connection.execute(
                delete(File).where(File.state == MISSING, File.root_id == root_id, found)
            ).rowcount

    def prune(self, root_id: int | None = None, scope: str = "") -> Removed:
        """Forget missing files, in all roots or under `scope` of one, with all that only they held."""
        chosen: ColumnElement[bool] = File.state == MISSING
        if root_id is not None:
            chosen = and_(chosen, File.root_id == root_id, _under_or_at(scope))
        return self._remove(chosen)

    def remove(self, root_id: int, scope: str) -> Removed:
        """Forget the file or folder `scope` of a root; all of it, root included, when `scope` is ""."""
        removed = self._remove(and_(File.root_id == root_id, _under_or_at(scope)))
        if not scope:
            with self.writing() as connection:
                connection.execute(delete(Root).where(Root.id == root_id))
        return removed

    def _remove(self, chosen: ColumnElement[bool]) -> Removed:
        with self.writing() as connection:
            files = connection.execute(delete(File).where(chosen)).rowcount
            return Removed(files, _drop_orphans(connection, true()))

    # --- vectors ---

    def position(self, generation_id: int, channel: Channel) -> tuple[int, int, int]:
        """How far the vectors of a channel have come: no id is above the first number; how many; removals so far."""
        query = select(Tally.last_id, Tally.vectors, Tally.removals).where(
            Tally.generation_id == generation_id, Tally.channel == channel
        )
        with self.reading() as connection:
            row = connection.execute(query).one_or_none()
        return (0, 0, 0) if row is None else (row.last_id, row.vectors, row.removals)

    def segment_ids(self, generation_id: int, channel: Channel) -> Ids:
        """All ids of a channel, rising: (n,) int64."""
        query = _of_channel(select(Segment.id), generation_id, channel).order_by(Segment.id)
        with self.reading() as connection:
            return np.fromiter(connection.execute(query).scalars(), np.int64)

    def vectors(
        self, generation_id: int, channel: Channel, *, after: int = 0, through: int | None = None, rows: int = 10_000
    ) -> Iterator[tuple[Ids, Vectors]]:
        """The vectors of a channel with an id above `after` and up to `through`, in blocks of at most `rows`.

        Yields:
            ids (n,) int64, rising, and vectors (n, dim) float32.
        """
        while True:
            query = _of_channel(select(Segment.id, Segment.vector), generation_id, channel)
            query = query.where(Segment.id > after).order_by(Segment.id).limit(rows)
            if through is not None:
                query = query.where(Segment.id <= through)
            with self.reading() as connection:
                block = connection.execute(query).all()
            if not block:
                return
            ids = np.array([row.id for row in block], np.int64)
            yield ids, unpack(b"".join(row.vector for row in block), len(block))
            after = int(ids[-1])


def unpack(stored: bytes, rows: int) -> Vectors:
    """Stored vectors as (rows, dim) float32."""
    return np.frombuffer(stored, STORED_DTYPE).reshape(rows, -1).astype(np.float32)


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    """Transactions are ours to begin (SQLAlchemy's recipe for pysqlite), and each connection has our settings."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)


def _inserted(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _slices(values: Sequence[int]) -> Iterator[Sequence[int]]:
    return (values[at : at + _MANY] for at in range(0, len(values), _MANY))


def _of_channel(query: Any, generation_id: int, channel: Channel) -> Any:
    return query.join(Encoding, Encoding.id == Segment.encoding_id).where(
        Encoding.generation_id == generation_id, Segment.channel == channel
    )


def _under_or_at(scope: str) -> ColumnElement[bool]:
    """Whether a file is `scope` itself or lies below it."""
    directory, _, name = scope.rpartition("/")
    at = and_(File.directory == directory, File.name == name)
    return or_(under(File.directory, scope), at)


def _write_file(connection: Connection, generation_id: int, outcome: Outcome) -> int | None:
    """Write one file's row, and its content when that is new; the content that the file held before, if any."""
    place, content = outcome.place, outcome.content
    if isinstance(content, NewContent):
        content_id: int | None = _write_content(connection, generation_id, content)
    else:
        content_id = content
    row = {
        "size": place.size,
        "mtime_ns": place.mtime_ns,
        "state": outcome.state,
        "reason": outcome.reason,
        "content_id": content_id,
    }
    key = {"root_id": place.root_id, "directory": place.directory, "name": place.name}
    before = connection.execute(_FILE_AT, key).one_or_none()
    if before is not None:
        connection.execute(_CHANGE_FILE, {"file_id": before.id, **row})
        return None if before.content_id == content_id else before.content_id
    connection.execute(insert(File), {**key, **row})
    return None


def _write_content(connection: Connection, generation_id: int, new: NewContent) -> int:
    info = new.info
    content_id = connection.execute(_CONTENT_OF, {"digest": new.digest, "format": info.format}).scalar()
    if content_id is None:
        content_id = _inserted(
            connection.execute(
                insert(Content),
                {
                    "digest": new.digest,
                    "kind": info.kind,
                    "format": info.format,
                    "width": info.width,
                    "height": info.height,
                    "duration_seconds": info.duration_seconds,
                    "captured_at": info.captured_at.isoformat() if info.captured_at else None,
                    "latitude": info.latitude,
                    "longitude": info.longitude,
                    "title": info.title,
                },
            )
        )
    encoding_id = _inserted(
        connection.execute(
            insert(Encoding),
            {
                "content_id": content_id,
                "generation_id": generation_id,
                "problem": new.problem,
                "speech_lines": new.speech_lines,
                "encoded_at": _now(),
            },
        )
    )
    if new.segments:
        connection.execute(
            insert(Segment),
            [
                {
                    "encoding_id": encoding_id,
                    "channel": segment.channel,
                    "start_seconds": segment.start_seconds,
                    "end_seconds": segment.end_seconds,
                    "text": segment.text,
                    "vector": segment.vector.astype(STORED_DTYPE).tobytes(),
                }
                for segment in new.segments
            ],
        )
    return content_id


def _drop_orphans(connection: Connection, among: ColumnElement[bool]) -> int:
    """Delete those of some contents that no file has any more, with their segments; how many segments went."""
    orphan = select(Content.id).where(among, ~exists().where(File.content_id == Content.id))
    return drop_contents(connection, orphan)


def drop_contents(connection: Connection, content_ids: Any) -> int:
    """Delete contents that no file refers to, with their segments, and count that; how many segments went.

    `content_ids` is what `in_` takes: a sequence, or a query.
    """
    count = (
        select(Encoding.generation_id, Segment.channel, func.count())
        .join(Segment, Segment.encoding_id == Encoding.id)
        .where(Encoding.content_id.in_(content_ids))
        .group_by(Encoding.generation_id, Segment.channel)
    )
    gone = 0
    for generation_id, channel, segments in connection.execute(count).all():
        gone += segments
        connection.execute(
            update(Tally)
            .where(Tally.generation_id == generation_id, Tally.channel == channel)
            .values(vectors=Tally.vectors - segments, removals=Tally.removals + segments)
        )
    connection.execute(delete(Content).where(Content.id.in_(content_ids)))
    return gone


def _count_added(connection: Connection, generation_id: int, outcomes: Sequence[Outcome]) -> None:
    """Bring the tallies up to date with the segments that were just written."""
    contents = [outcome.content for outcome in outcomes if isinstance(outcome.content, NewContent)]
    added = Counter(segment.channel for content in contents for segment in content.segments)
    if not added:
        return
    last_id = connection.execute(select(func.max(Segment.id))).scalar_one()
    for channel, segments in added.items():
        row = {"generation_id": generation_id, "channel": channel}
        changed = connection.execute(
            update(Tally).filter_by(**row).values(last_id=last_id, vectors=Tally.vectors + segments)
        )
        if not changed.rowcount:
            connection.execute(insert(Tally).values(last_id=last_id, vectors=segments, removals=0, **row))


def _move_files(connection: Connection, old_root: int, new_root: int, prefix: str) -> None:
    """Hand all files of one root to another that holds it, `prefix` being where the old one lies in the new."""
    rows: Iterable[Any] = connection.execute(select(File.id, File.directory).where(File.root_id == old_root)).all()
    for row in rows:
        directory = f"{prefix}/{row.directory}" if row.directory else prefix
        connection.execute(update(File).where(File.id == row.id).values(root_id=new_root, directory=directory))
