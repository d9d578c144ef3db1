"""Hold files, rows, vectors and indexes against each other, and mend what can be mended without the media."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import insert, select, text, update

from indexer.advice import BRING_UP_TO_DATE, NOT_THERE, if_lost
from indexer.errors import LibraryDamagedError
from indexer.halves import STORED_DTYPE
from indexer.legible import READ_AS
from indexer.library import Library
from indexer.likeness import LOOK_BYTES
from indexer.lookup import full_path
from indexer.schema import FAILED, PRESENT, Encoding, File, Root, Segment, Tally
from indexer.strays import check_strays
from indexer.types import CHANNELS, Channel, ModelSpec
from indexer.vectors import usable
from indexer.words import mend_words
from indexer.writes import drop_contents

_LENGTH_TOLERANCE = 1e-2  # half precision keeps a vector of length 1 to about 1e-3


@dataclass(slots=True)
class VerifyReport:
    """What was looked at, what was found wrong, and what was mended.

    `problems` need the person's hand (or another `mmsearch index`); `repaired` do not any more.
    """

    files: int = 0
    vectors: int = 0
    problems: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)


def verify(library: Library) -> VerifyReport:
    """Check a library and repair it. The writer's lock must be held."""
    report = VerifyReport()
    _check_words(library, report)  # before SQLite's own check, which newer versions of SQLite extend to these tables
    _check_database(library, report)
    _check_strays(library, report)
    generation = library.store.generation()
    if generation is not None:
        _check_vectors(library, *generation, report)
        _check_tallies(library, generation[0], report)
        for channel in CHANNELS:
            if generation[1].tower_of(channel) is not None:
                _check_index(library, generation[0], channel, report)
        library.save_indexes()
    _check_files(library, report)
    return report


def _check_words(library: Library, report: VerifyReport) -> None:
    """The full-text tables hold the words of the texts, titles and names that there are; else they are built again."""
    try:
        for name in mend_words(library.store):
            report.repaired.append(f"the full-text table {name} differed from the library's texts; built it again")
    except LibraryDamagedError as error:
        report.problems.append(f"words cannot be searched: {error}")


def _check_database(library: Library, report: VerifyReport) -> None:
    """SQLite's own check, and rows that nothing leads to."""
    with library.store.reading() as connection:
        for (said,) in connection.execute(text("PRAGMA integrity_check")):
            if said != "ok":
                report.problems.append(
                    f"the database is damaged: {said}; restore the library from a backup, or remove it and index again"
                )
        loose = connection.execute(text("PRAGMA foreign_key_check")).all()
        if loose:
            report.problems.append(f"{len(loose)} rows refer to rows that are gone; remove the library and index again")
    gone = library.store.drop_orphans()
    if gone:
        report.repaired.append(f"removed {gone} vectors of contents that no file holds")


def _check_strays(library: Library, report: VerifyReport) -> None:
    """No index file that can be read is of a model or a library that the database does not know."""
    problems, repaired = check_strays(library.store, library.path / "index")
    report.problems += problems
    report.repaired += repaired


def _check_vectors(library: Library, generation_id: int, spec: ModelSpec, report: VerifyReport) -> None:
    """Each stored vector has its channel's size, holds numbers, and has length 1; else its content goes.

    The same for what is kept beside it: the length that it had, and the look.
    """
    sizes = {channel: tower.dim * STORED_DTYPE.itemsize for channel, tower in spec.channels}
    bad: set[int] = set()
    last = 0
    while True:
        query = (
            select(Segment.id, Segment.encoding_id, Segment.channel, Segment.vector, Segment.norm, Segment.look)
            .join(Encoding, Encoding.id == Segment.encoding_id)
            .where(Encoding.generation_id == generation_id, Segment.id > last)
            .order_by(Segment.id)
            .limit(10_000)
        )
        with library.store.reading() as connection:
            rows = connection.execute(query).all()
        if not rows:
            break
        last = rows[-1].id
        for row in rows:
            if row.channel in READ_AS and not row.vector:
                continue
            report.vectors += 1
            beside = usable(row.norm) and (row.look is None or len(row.look) == LOOK_BYTES)
            if len(row.vector) != sizes.get(row.channel) or not beside:
                bad.add(row.encoding_id)
                continue
            vector = np.frombuffer(row.vector, STORED_DTYPE).astype(np.float32)
            if not abs(float(np.linalg.norm(vector)) - 1) < _LENGTH_TOLERANCE:  # also catches a NaN
                bad.add(row.encoding_id)
    if not bad:
        return
    damaged = sorted(bad)
    contents: list[int] = []
    with library.store.writing() as connection:
        for at in range(0, len(damaged), 500):
            some = connection.execute(select(Encoding.content_id).where(Encoding.id.in_(damaged[at : at + 500])))
            ids = some.scalars().all()
            reason = "its stored vectors were damaged; index it again"
            values = {"state": FAILED, "content_id": None, "mtime_ns": 0, "reason": reason}
            connection.execute(update(File).where(File.content_id.in_(ids)).values(**values))
            drop_contents(connection, ids)
            contents += ids
    report.problems.append(
        f"contents with damaged vectors, now dropped: {len(contents)}; encode them again with: mmsearch index"
    )


def _check_tallies(library: Library, generation_id: int, report: VerifyReport) -> None:
    """Each channel's tally says how many vectors there are."""
    for channel in CHANNELS:
        now = library.store.position(generation_id, channel)
        ids = library.store.segment_ids(generation_id, channel)
        if len(ids) == now.vectors and (not len(ids) or ids[-1] <= now.last_id):
            continue
        with library.store.writing() as connection:
            values = {"last_id": int(ids[-1]) if len(ids) else now.last_id, "vectors": len(ids)}
            same = {"generation_id": generation_id, "channel": channel}
            if not connection.execute(update(Tally).filter_by(**same).values(**values)).rowcount:
                connection.execute(insert(Tally).values(removals=0, **same, **values))
        report.repaired.append(f"the count of {channel} vectors was {now.vectors} and is {len(ids)}")
        if len(ids) < now.vectors:  # rows and their count change in the same transactions
            report.problems.append(
                f"{channel} vectors that were taken out of the database by something else than mmsearch:"
                f" {now.vectors - len(ids)}; restore the library from a backup, or remove it and index again"
            )


def _check_index(library: Library, generation_id: int, channel: Channel, report: VerifyReport) -> None:
    """The index holds just the store's ids, with the store's vectors; else it is built again."""
    wrong = library.index_problem(channel)
    if wrong is None:
        index = library.index(channel)
        ids = np.sort(index.ids)
        at = 0
        for stored_ids, stored in library.store.halves(generation_id, channel):
            here = slice(at, at + len(stored_ids))
            same = np.array_equal(ids[here], stored_ids)
            if not same or not np.array_equal(index.halves_of(stored_ids).view(np.uint16), stored.view(np.uint16)):
                wrong = f"the {channel} index differs from the stored vectors"
                break
            at += len(stored_ids)
        else:
            if at != len(ids):
                wrong = f"the {channel} index holds {len(ids) - at} vectors that the store does not"
    if wrong is not None:
        library.forget_index(channel)
        library.index(channel)
        report.repaired.append(f"{wrong}; built it again from the store")


def _check_files(library: Library, report: VerifyReport) -> None:
    """Whether indexed files are on disk, as they were."""
    gone = changed = 0
    query = (
        select(Root.path, File.directory, File.name, File.size, File.mtime_ns)
        .join(Root, Root.id == File.root_id)
        .where(File.state == PRESENT)
    )
    with library.store.reading() as connection:
        for row in connection.execute(query):
            report.files += 1
            try:
                status = os.stat(full_path(row.path, row.directory, row.name))
            except OSError:
                gone += 1
            else:
                changed += (status.st_size, status.st_mtime_ns) != (row.size, row.mtime_ns)
    for count, what in ((gone, NOT_THERE), (changed, "changed on disk")):
        if count:
            report.problems.append(f"indexed files {what}: {count}; {BRING_UP_TO_DATE}")
    for root in library.store.roots().values():
        if not os.path.isdir(root):
            report.problems.append(f"the folder {root} is {NOT_THERE}; {if_lost(root)}")
