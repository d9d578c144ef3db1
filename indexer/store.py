"""The Store: one SQLite database, the only truth about a library. Everything else can be made again from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from indexer.ann import Ids
from indexer.database import Database
from indexer.errors import LibraryDamagedError
from indexer.halves import STORED_DTYPE, Halves, unit_of
from indexer.paths import relative_to, under
from indexer.records import KnownFile, Outcome, Position, Removed
from indexer.schema import (
    MISSING,
    PRESENT,
    Content,
    Encoding,
    File,
    Generation,
    Root,
    Scope,
    Segment,
    Tally,
    under_or_at,
)
from indexer.types import Channel, ModelSpec, Vectors
from indexer.writes import count_added, drop_orphans, inserted, move_files, now, write_files

_ENCODED_CONTENT = (  # asked for every file, so built once
    select(Content.id)
    .join(Encoding, Encoding.content_id == Content.id)
    .where(
        Content.digest == bindparam("digest"),
        Content.format == bindparam("format"),
        Encoding.generation_id == bindparam("generation_id"),
    )
)

_MANY = 500  # values in one IN (...): SQLite's oldest limit is 999 for a statement


class Store(Database):
    """All that a library knows, in one SQLite file. Safe to use from several threads."""

    # --- generations ---

    def generation(self) -> tuple[int, ModelSpec] | None:
        """The generation that answers queries, and its model; None in a library that has none yet."""
        return self.fact("generation", self._generation)

    def _generation(self) -> tuple[int, ModelSpec] | None:
        with self.reading() as connection:
            row = connection.execute(select(Generation.id, Generation.spec).where(Generation.active)).one_or_none()
        try:
            return None if row is None else (row.id, ModelSpec.from_json(row.spec))
        except (ValueError, TypeError, LookupError, AttributeError) as error:  # as JSON, or as fields
            raise self._damaged("what it says of its model cannot be read") from error

    def start_generation(self, spec: ModelSpec) -> int:
        """Make the first generation of a library, in place of one that has no vectors."""
        with self.writing() as connection:
            connection.execute(delete(Generation))
            connection.execute(update(File).values(mtime_ns=-1))  # no file has this time: each is opened again
            row = {"spec": spec.to_json(), "fingerprint": spec.fingerprint, "active": True, "created_at": now()}
            return inserted(connection.execute(insert(Generation).values(**row)))

    def is_empty(self, generation_id: int) -> bool:
        """Whether a generation has no vectors."""
        return self.fact(("is empty", generation_id), lambda: self._is_empty(generation_id))

    def _is_empty(self, generation_id: int) -> bool:
        query = select(func.sum(Tally.vectors)).where(Tally.generation_id == generation_id)
        with self.reading() as connection:
            return not connection.execute(query).scalar()

    def has_read_files(self, generation_id: int) -> bool:
        """Whether any file was encoded for a generation, be it to no vectors at all."""
        return self.fact(("has read files", generation_id), lambda: self._has_read_files(generation_id))

    def _has_read_files(self, generation_id: int) -> bool:
        with self.reading() as connection:
            query = select(Encoding.id).where(Encoding.generation_id == generation_id).limit(1)
            return connection.execute(query).scalar() is not None

    # --- roots ---

    def roots(self) -> dict[int, str]:
        """Absolute paths of all roots, by id."""
        with self.reading() as connection:
            return {row.id: row.path for row in connection.execute(select(Root.id, Root.path).order_by(Root.id))}

    def scopes(self) -> list[tuple[int, str]]:
        """Every place that was named to be indexed: a root's id, and the path relative to it."""
        query = select(Scope.root_id, Scope.path).order_by(Scope.root_id, Scope.path)
        with self.reading() as connection:
            return [(row.root_id, row.path) for row in connection.execute(query)]

    def add_scope(self, root_id: int, path: str) -> None:
        """Remember that a place was named to be indexed."""
        with self.writing() as connection:
            connection.execute(insert(Scope).prefix_with("OR IGNORE").values(root_id=root_id, path=path))

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
            root_id = inserted(connection.execute(insert(Root).values(path=path)))
            for row in roots:
                inside = relative_to(row.path, path)
                if inside is not None:
                    move_files(connection, row.id, root_id, inside)
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
        query = select(File.name, File.id, File.size, File.mtime_ns, File.state, File.content_id).where(
            File.root_id == root_id, File.directory == directory
        )
        with self.reading() as connection:
            return {
                name: KnownFile(id, size, mtime_ns, state, content_id)
                for name, id, size, mtime_ns, state, content_id in connection.execute(query)
            }

    def directories(self, root_id: int, scope: str) -> list[str]:
        """Every folder under `scope` that holds a known file, itself included."""
        query = select(File.directory).distinct().where(File.root_id == root_id, under(File.directory, scope))
        with self.reading() as connection:
            return list(connection.execute(query).scalars())

    def encoded_content(self, generation_id: int, digest: str, format: str) -> int | None:
        """The content with these bytes, if this generation has encoded it."""
        values = {"digest": digest, "format": format, "generation_id": generation_id}
        with self.reading() as connection:
            return connection.execute(_ENCODED_CONTENT, values).scalar()

    def write(self, generation_id: int, outcomes: Sequence[Outcome]) -> None:
        """Record what became of some files, in one transaction.

        A changed file lets go of its old content here, and is no longer found by it. The content itself
        stays until `drop_orphans`: another file of the same run may be about to take it (a renamed file).
        """
        with self.writing() as connection:
            write_files(connection, generation_id, outcomes)
            count_added(connection, generation_id, outcomes)

    def drop_orphans(self) -> int:
        """Delete the contents that no file has any more, with their segments; how many segments went."""
        with self.writing() as connection:
            return drop_orphans(connection)

    def set_state(self, file_ids: Sequence[int], state: str) -> int:
        """Mark files as present or missing; how many were. A missing file that holds nothing is forgotten at once."""
        marked = 0
        with self.writing() as connection:
            for some in _slices(file_ids):
                if state == MISSING:
                    connection.execute(delete(File).where(File.id.in_(some), File.content_id.is_(None)))
                marked += connection.execute(update(File).where(File.id.in_(some)).values(state=state)).rowcount
        return marked

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
            chosen = and_(chosen, File.root_id == root_id, under_or_at(scope))
        return self._remove(chosen)

    def remove(self, root_id: int, scope: str) -> Removed:
        """Forget the file or folder `scope` of a root; all of it, root included, when `scope` is ""."""
        removed = self._remove(and_(File.root_id == root_id, under_or_at(scope)))
        with self.writing() as connection:
            connection.execute(delete(Scope).where(Scope.root_id == root_id, under(Scope.path, scope)))
            if not scope:
                connection.execute(delete(Root).where(Root.id == root_id))
        return removed

    def _remove(self, chosen: ColumnElement[bool]) -> Removed:
        with self.writing() as connection:
            files = connection.execute(delete(File).where(chosen)).rowcount
            return Removed(files, drop_orphans(connection))

    # --- vectors ---

    def position(self, generation_id: int, channel: Channel) -> Position:
        """How far the vectors of a channel have come."""
        return self.fact(("position", generation_id, channel), lambda: self._position(generation_id, channel))

    def _position(self, generation_id: int, channel: Channel) -> Position:
        query = select(Tally.last_id, Tally.vectors, Tally.removals, Tally.saved_index).where(
            Tally.generation_id == generation_id, Tally.channel == channel
        )
        with self.reading() as connection:
            row = connection.execute(query).one_or_none()
        return Position(0, 0, 0, None) if row is None else Position(*row)

    def name_saved_index(self, generation_id: int, channel: Channel, name: str) -> None:
        """Remember the index file that is about to be saved as the only one to be believed."""
        with self.writing() as connection:
            connection.execute(
                update(Tally)
                .where(Tally.generation_id == generation_id, Tally.channel == channel)
                .values(saved_index=name)
            )

    def segment_ids(self, generation_id: int, channel: str) -> Ids:
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
        for ids, halves in self.halves(generation_id, channel, after=after, through=through, rows=rows):
            yield ids, unit_of(halves)

    def halves(
        self, generation_id: int, channel: Channel, *, after: int = 0, through: int | None = None, rows: int = 10_000
    ) -> Iterator[tuple[Ids, Halves]]:
        """The same, with vectors as they are stored: (n, dim) float16, to the bit."""
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
            yield ids, _halves(b"".join(row.vector for row in block), len(block))
            after = int(ids[-1])


def unpack(stored: bytes, rows: int) -> Vectors:
    """Stored vectors as (rows, dim) float32, brought back to the length 1 that half precision rounded away."""
    return unit_of(_halves(stored, rows))


def _halves(stored: bytes, rows: int) -> Halves:
    if len(stored) % (rows * STORED_DTYPE.itemsize):
        raise LibraryDamagedError("a stored vector has the wrong length; find and mend it with: mmsearch verify")
    halves: Halves = np.frombuffer(stored, STORED_DTYPE).reshape(rows, -1)
    return halves


def _slices(values: Sequence[int]) -> Iterator[Sequence[int]]:
    return (values[at : at + _MANY] for at in range(0, len(values), _MANY))


def _of_channel(query: Any, generation_id: int, channel: str) -> Any:
    return query.join(Encoding, Encoding.id == Segment.encoding_id).where(
        Encoding.generation_id == generation_id, Segment.channel == channel
    )
