"""What the files of a library are, in numbers: for an overview of it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select

from indexer.schema import PRESENT, Content, Encoding, File, Root
from indexer.store import Store


@dataclass(frozen=True, slots=True)
class FileCounts:
    """Files on disk that are indexed, counted; each by name, or by its content's id.

    `years`: of when a file was taken, else last changed. `folders`: the folders right below the roots, and the roots
    for files that lie in no folder.
    """

    kinds: dict[str, int]
    years: dict[str, int]
    folders: dict[str, int]
    contents: dict[int, int]


def count_files(store: Store, generation_id: int) -> FileCounts:
    """Count the files of a generation."""
    query = (
        select(Root.path, File.directory, File.mtime_ns, Content.id, Content.kind, Content.captured_at)
        .join(Root, Root.id == File.root_id)
        .join(Content, Content.id == File.content_id)
        .join(Encoding, and_(Encoding.content_id == Content.id, Encoding.generation_id == generation_id))
        .where(File.state == PRESENT)
    )
    kinds: Counter[str] = Counter()
    years: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    contents: Counter[int] = Counter()
    with store.reading() as connection:
        for root, directory, mtime_ns, content, kind, captured_at in connection.execute(query):
            kinds[kind] += 1
            years[_year(captured_at, mtime_ns)] += 1
            folders[os.path.join(root, directory.split("/")[0]) if directory else root] += 1
            contents[content] += 1
    return FileCounts(dict(kinds), dict(years), dict(folders), dict(contents))


def _year(captured_at: str | None, mtime_ns: int) -> str:
    return captured_at[:4] if captured_at else str(datetime.fromtimestamp(mtime_ns / 1e9).year)
