"""What the store does inside its transactions: the rows of a file, a content and its segments, and their tallies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update

from indexer.halves import STORED_DTYPE
from indexer.records import NewContent, Outcome
from indexer.schema import Content, Encoding, File, Scope, Segment, Tally

_MANY = 500  # values in one IN (...): SQLite's oldest limit is 999 for a statement

# Statements that are run for every file are built once: building one costs more than SQLite takes to run it.
_CONTENT_OF = select(Content.id).where(Content.digest == bindparam("digest"), Content.format == bindparam("format"))
_FILE_AT = select(File.id).where(
    File.root_id == bindparam("root_id"), File.directory == bindparam("directory"), File.name == bindparam("name")
)
_CHANGE_FILE = update(File).where(File.id == bindparam("file_id"))
_NEW_FILE, _NEW_CONTENT, _NEW_ENCODING, _NEW_SEGMENTS = insert(File), insert(Content), insert(Encoding), insert(Segment)


def inserted(result: Any) -> int:
    """The primary key that an INSERT of one row made."""
    return int(result.inserted_primary_key[0])


def now() -> datetime:
    """This moment in UTC, without a zone: SQLite keeps none."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def write_file(connection: Connection, generation_id: int, outcome: Outcome) -> None:
    """Write one file's row, and its content when that is new."""
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
    file_id = connection.execute(_FILE_AT, key).scalar()
    if file_id is not None:
        connection.execute(_CHANGE_FILE, {"file_id": file_id, **row})
    else:
        connection.execute(_NEW_FILE, {**key, **row})


def _write_content(connection: Connection, generation_id: int, new: NewContent) -> int:
    """Write a content, unless its bytes are known from another generation, and its segments; the content's id."""
    info = new.info
    content_id = connection.execute(_CONTENT_OF, {"digest": new.digest, "format": info.format}).scalar()
    if content_id is None:
        content_id = inserted(
            connection.execute(
                _NEW_CONTENT,
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
    encoding_id = inserted(
        connection.execute(
            _NEW_ENCODING,
            {
                "content_id": content_id,
                "generation_id": generation_id,
                "problem": new.problem,
                "speech_lines": new.speech_lines,
                "encoded_at": now(),
            },
        )
    )
    if new.segments:
        connection.execute(
            _NEW_SEGMENTS,
            [
                {
                    "encoding_id": encoding_id,
                    "channel": segment.channel,
                    "start_seconds": segment.start_seconds,
                    "end_seconds": segment.end_seconds,
                    "text": segment.text,
                    "look": segment.look,
                    "norm": segment.norm,
                    "vector": segment.vector.astype(STORED_DTYPE).tobytes(),
                }
                for segment in new.segments
            ],
        )
    return content_id


def drop_orphans(connection: Connection) -> int:
    """Delete the contents that no file has any more, with their segments; how many segments went."""
    orphans = select(Content.id).where(~exists().where(File.content_id == Content.id))
    ids = connection.execute(orphans).scalars().all()
    return sum(drop_contents(connection, ids[at : at + _MANY]) for at in range(0, len(ids), _MANY))


def drop_contents(connection: Connection, content_ids: Sequence[int]) -> int:
    """Delete some contents that no file refers to, with their segments, and count that; how many segments went."""
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


def count_added(connection: Connection, generation_id: int, outcomes: Sequence[Outcome]) -> None:
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


def move_files(connection: Connection, old_root: int, new_root: int, prefix: str) -> None:
    """Hand all files of one root to another that holds it, `prefix` being where the old one lies in the new."""
    scopes: Iterable[Any] = connection.execute(select(Scope.path).where(Scope.root_id == old_root)).scalars().all()
    for path in scopes:
        inside = f"{prefix}/{path}" if path else prefix
        connection.execute(insert(Scope).prefix_with("OR IGNORE").values(root_id=new_root, path=inside))
    rows: Iterable[Any] = connection.execute(select(File.id, File.directory).where(File.root_id == old_root)).all()
    for row in rows:
        directory = f"{prefix}/{row.directory}" if row.directory else prefix
        connection.execute(update(File).where(File.id == row.id).values(root_id=new_root, directory=directory))
