"""What the store does inside its transactions: the rows of a file, a content and its segments, and their tallies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeGuard

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update

from indexer.halves import STORED_DTYPE
from indexer.legible import UNREAD
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.schema import Content, Encoding, File, Scope, Segment, Tally

_MANY = 500  # values in one IN (...): SQLite's oldest limit is 999 for a statement
_AT_ONCE = 256  # files whose rows are written together

# Statements that are run for every file are built once: building one costs more than SQLite takes to run it.
_CONTENTS_OF = select(Content.id, Content.digest, Content.format).where(
    Content.digest.in_(bindparam("digests", expanding=True))
)
_FILES_AT = select(File.id, File.name).where(
    File.root_id == bindparam("root_id"),
    File.directory == bindparam("directory"),
    File.name.in_(bindparam("names", expanding=True)),
)
_LAST_IDS = (select(func.max(Content.id)), select(func.max(Encoding.id)))
_CHANGE_FILE = update(File).where(File.id == bindparam("file_id"))
_NEW_FILE, _NEW_CONTENT, _NEW_ENCODING, _NEW_SEGMENTS = insert(File), insert(Content), insert(Encoding), insert(Segment)


def inserted(result: Any) -> int:
    """The primary key that an INSERT of one row made."""
    return int(result.inserted_primary_key[0])


def now() -> datetime:
    """This moment in UTC, without a zone: SQLite keeps none."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def write_files(connection: Connection, generation_id: int, outcomes: Sequence[Outcome]) -> None:
    """Write the rows of some files, and their contents when these are new.

    A statement costs more than the row that it writes: each writes the rows of all these files.
    """
    for start in range(0, len(outcomes), _AT_ONCE):
        some = outcomes[start : start + _AT_ONCE]
        content_ids = _write_contents(connection, generation_id, [o.content for o in some if _is_new(o.content)])
        known = _known_files(connection, [outcome.place for outcome in some])
        new: dict[tuple[int, str, str], dict[str, Any]] = {}
        changed = []
        for outcome in some:
            place, content = outcome.place, outcome.content
            key = (place.root_id, place.directory, place.name)
            row = {
                "size": place.size,
                "mtime_ns": place.mtime_ns,
                "state": outcome.state,
                "reason": outcome.reason,
                "content_id": content_ids[_key(content)] if isinstance(content, NewContent) else content,
            }
            if key in known:
                changed.append({"file_id": known[key], **row})
            else:  # a name that comes twice is what it was last
                new[key] = {"root_id": key[0], "directory": key[1], "name": key[2], **row}
        if changed:
            connection.execute(_CHANGE_FILE, changed)
        if new:
            connection.execute(_NEW_FILE, list(new.values()))


def _is_new(content: NewContent | int | None) -> TypeGuard[NewContent]:
    return isinstance(content, NewContent)


def _key(content: NewContent) -> tuple[str, str]:
    return content.digest, content.info.format


def _known_files(connection: Connection, places: Sequence[FilePlace]) -> dict[tuple[int, str, str], int]:
    """The ids of those files that have rows, by root, folder and name."""
    names = defaultdict(list)
    for place in places:
        names[place.root_id, place.directory].append(place.name)
    found = {}
    for (root_id, directory), some in names.items():
        given = {"root_id": root_id, "directory": directory, "names": some}
        for file_id, name in connection.execute(_FILES_AT, given).all():
            found[root_id, directory, name] = file_id
    return found


def _write_contents(
    connection: Connection, generation_id: int, contents: Sequence[NewContent]
) -> dict[tuple[str, str], int]:
    """Write contents, unless their bytes are known from another generation, and segments; ids by digest and format."""
    if not contents:
        return {}
    given = {"digests": [content.digest for content in contents]}
    ids = {(digest, format): id for id, digest, format in connection.execute(_CONTENTS_OF, given).all()}
    # Only this process writes, and numbers that SQLite would choose are the next ones too.
    content_id, encoding_id = (connection.execute(query).scalar_one() or 0 for query in _LAST_IDS)
    new, encodings, segments = [], [], []
    encoded_at = now()
    for content in {_key(content): content for content in contents}.values():
        if _key(content) not in ids:
            content_id += 1
            ids[_key(content)] = content_id
            new.append({"id": content_id, **_content_row(content)})
        encoding_id += 1
        encodings.append(
            {
                "id": encoding_id,
                "content_id": ids[_key(content)],
                "generation_id": generation_id,
                "problem": content.problem,
                "speech_lines": content.speech_lines,
                "encoded_at": encoded_at,
            }
        )
        segments += [_segment_row(encoding_id, segment) for segment in content.segments]
    for statement, rows in ((_NEW_CONTENT, new), (_NEW_ENCODING, encodings), (_NEW_SEGMENTS, segments)):
        if rows:
            connection.execute(statement, rows)
    return ids


def _content_row(new: NewContent) -> dict[str, Any]:
    info = new.info
    return {
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
    }


def _segment_row(encoding_id: int, segment: NewSegment) -> dict[str, Any]:
    return {
        "encoding_id": encoding_id,
        "channel": UNREAD[segment.channel] if segment.vector is None else segment.channel,
        "start_seconds": segment.start_seconds,
        "end_seconds": segment.end_seconds,
        "text": segment.text,
        "look": segment.look,
        "norm": segment.norm,
        "vector": b"" if segment.vector is None else segment.vector.astype(STORED_DTYPE).tobytes(),
    }


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
    segments_of = (content.segments for content in contents)
    added = Counter(one.channel for segments in segments_of for one in segments if one.vector is not None)
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
