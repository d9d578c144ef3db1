"""What a library holds at a path: folders that a filter names, and files whose vectors are there already."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from indexer.errors import UsageError
from indexer.filters import Filter, Place
from indexer.found import segments_of
from indexer.library import Library
from indexer.paths import relative_to
from indexer.schema import PRESENT
from indexer.types import ModelSpec, TowerSpec, Vectors
from mmsearch.bridge import Bridge
from mmsearch.places import spellings
from mmsearch.query import Query, Term, TermKind
from mmsearch.readings import Meanings, Reading, mean_of, reached

_CHANNELS_OF: dict[TermKind, tuple[str, ...]] = {
    "image": ("visual",),
    "audio": ("sound", "speech"),
    "video": ("visual", "sound", "speech", "text"),
    "document": ("text",),
    "text": (),
}
"""Which of a file's segments stand for it when it is asked with as this kind."""


def filter_of(library: Library, query: Query) -> Filter:
    """A query's filters as the store takes them.

    Raises:
        UsageError: a folder in `within` is not in the library.
    """
    return Filter(
        query.kinds,
        places_of(library, query.within) if query.within else None,
        after=query.after,
        before=query.before,
        min_seconds=query.min_seconds,
        max_seconds=query.max_seconds,
        near=query.near,
        name=query.name,
    )


def places_of(library: Library, folders: Iterable[str]) -> tuple[Place, ...]:
    """Where folders lie in the library's roots, or which roots lie in them.

    Raises:
        UsageError: one lies in none of them, or there is nothing there and never was.
    """
    roots = library.store.roots()
    places: list[Place] = []
    for folder in folders:
        inside, holds = [], []
        for place in spellings(folder):
            inside += [(id, scope) for id, root in roots.items() if (scope := relative_to(place, root)) is not None]
            holds += [(id, "") for id, root in roots.items() if relative_to(root, place) is not None]
        if not inside and not holds:
            raise UsageError(f"{folder} lies in none of the library's folders: {', '.join(roots.values())}")
        if any(scope and not os.path.exists(place) and not _knows(library, id, scope) for id, scope in inside):
            raise UsageError(f"there is nothing at {folder}, and the library knows of nothing there")
        places += inside or holds
    return tuple(places)


def content_at(library: Library, path: str) -> int | None:
    """The content that the library holds for a file, if the file is as it was when it was indexed."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    roots = library.store.roots()
    for place in spellings(path):
        for id, root in roots.items():
            scope = relative_to(place, root)
            if not scope:
                continue
            directory, _, name = scope.rpartition("/")
            known = library.store.known_in(id, directory).get(name)
            if known is None or known.state != PRESENT:
                continue
            if known.content_id is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
                return known.content_id
    return None


def stored_reading(
    library: Library,
    generation_id: int,
    spec: ModelSpec,
    term: Term,
    content_id: int,
    bridge: Bridge | None = None,
) -> Reading:
    """A file of the library as a term, by the vectors that it has: nothing is encoded. Empty when it has none."""
    vectors: dict[TowerSpec, list[Vectors]] = defaultdict(list)
    norms: dict[TowerSpec, list[Vectors]] = defaultdict(list)
    for segments in segments_of(library.store, generation_id, [content_id]):
        tower = spec.tower_of(segments.channel)
        if tower is not None and segments.channel in _CHANNELS_OF[term.kind]:
            vectors[tower].append(segments.vectors)
            norms[tower].append(segments.norms)
    meanings: Meanings = {}
    for tower, parts in vectors.items():  # what is said and what is written in a video are one meaning, as when read
        meaning = mean_of(np.concatenate(parts), np.concatenate(norms[tower]))
        for channel, target in spec.channels:
            if target.space == tower.space:
                meanings[tower.modality, channel] = meaning
    return reached(spec, meanings, bridge)


def _knows(library: Library, root_id: int, scope: str) -> bool:
    directory, _, name = scope.rpartition("/")
    return bool(library.store.directories(root_id, scope)) or name in library.store.known_in(root_id, directory)
