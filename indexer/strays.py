"""Index files beside a database that knows nothing of them: it was emptied or replaced, or they were left behind."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from indexer.ann import read_facts, read_stamp, remove_files
from indexer.legible import READ_AS
from indexer.schema import Generation, Segment
from indexer.store import Store


def check_strays(store: Store, folder: Path) -> tuple[list[str], list[str]]:
    """Hold the index files in a folder against what the store knows of its models.

    In a library with vectors, files of other models or libraries are left over, and are removed. Beside a database
    without any they are what is left of a library, so they stay, and a person is told.

    Returns:
        problems, and what was repaired; see `indexer.verify.VerifyReport`.
    """
    strays = _strays(store, folder)
    if not strays:
        return [], []
    if _has_no_vectors(store):
        return [_told(store, strays)], []
    for path in strays:
        remove_files(path)
    names = ", ".join(path.name for path in strays)
    return [], [f"removed index files that were not made from this library's vectors: {names}"]


def emptied(store: Store, folder: Path) -> str | None:
    """That a database was emptied or replaced, as the index files beside it show; None where it was not."""
    strays = _strays(store, folder) if _has_no_vectors(store) else {}
    return _told(store, strays) if strays else None


def _has_no_vectors(store: Store) -> bool:
    with store.reading() as connection:
        any_of_them = select(Segment.id).where(Segment.channel.not_in(READ_AS)).limit(1)
        return connection.execute(any_of_them).scalar() is None


def _strays(store: Store, folder: Path) -> dict[Path, int]:
    """Index files with vectors of models or libraries that the store does not know, and how many."""
    with store.reading() as connection:
        generations = set(connection.execute(select(Generation.id)).scalars())
    strays: dict[Path, int] = {}
    for path in sorted(folder.glob("*.faiss")):
        stamp, facts = read_stamp(path), read_facts(path)
        if stamp is None or facts is None or not facts.vectors:
            continue
        if stamp.library_id != store.library_id or stamp.generation_id not in generations:
            strays[path] = facts.vectors
    return strays


def _told(store: Store, strays: dict[Path, int]) -> str:
    return (
        f"the database {store.path} holds no vectors, and the index files beside it"
        f" ({', '.join(path.name for path in strays)}) hold {sum(strays.values()):,} vectors that it knows nothing"
        " of: it was emptied or replaced. An index holds no names of files, so it cannot"
        f" bring them back: restore {store.path.name} from a backup, or index again with: mmsearch index FOLDER"
    )
