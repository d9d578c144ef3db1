"""What a library holds at a path: folders that a filter names, and files whose vectors are there already."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Protocol

import numpy as np

from indexer.advice import BRING_UP_TO_DATE, NOT_THERE, if_moved
from indexer.errors import UsageError
from indexer.filters import Filter, Place
from indexer.found import segments_of
from indexer.items import lines_of
from indexer.legible import LEAST_SHARE, stored_as
from indexer.library import Library
from indexer.paths import relative_to
from indexer.records import KnownFile
from indexer.schema import FAILED, PRESENT
from indexer.types import Channel, Encoder, ModelSpec, TowerSpec, Vectors
from mmsearch.bridge import Bridge
from mmsearch.places import spellings
from mmsearch.query import Query, Term, TermKind
from mmsearch.readings import Meanings, Reading, mean_of, reached

_SHOWN = 3  # folders in a message

_CHANNELS_OF: dict[TermKind, tuple[str, ...]] = {
    "image": ("visual",),
    "audio": ("sound", "speech"),
    "video": ("visual", "sound", "speech", "text"),
    "document": ("text",),
    "text": (),
}
"""Which of a file's segments stand for it when it is asked with as this kind."""


class HasEncoder(Protocol):
    """What knows the library's model, and loads it when it is asked."""

    @property
    def encoder(self) -> Encoder:
        """The model."""


_Part = tuple[Channel, Vectors, Vectors]
"""Segments of one channel of a file: their vectors and norms."""


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
        inside: list[Place] = []
        holds: list[Place] = []
        is_known = os.path.exists(os.path.expanduser(folder))
        for place in spellings(folder):
            here = [(id, scope) for id, root in roots.items() if (scope := relative_to(place, root)) is not None]
            inside += here
            is_known = is_known or any(not scope or _knows(library, id, scope) for id, scope in here)
            holds += [(id, "") for id, root in roots.items() if relative_to(root, place) is not None]
        if not inside and not holds:
            known = ", ".join(roots.values()) or "none"
            if not is_known:
                raise _misplaced(folder, f"there is nothing at {folder}; the library's folders are: {known}")
            raise _misplaced(folder, f"{folder} lies in none of the library's folders: {known}")
        if inside and not is_known:
            said = f"there is nothing at {folder}, and the library knows of nothing there"
            root = roots[inside[0][0]]
            if not os.path.isdir(root):
                raise _misplaced(folder, f"{said}; {root} is {NOT_THERE}", f"; {if_moved(root)}")
            raise _misplaced(folder, f"{said}; {_nearest(library, *inside[0])}")
        places += inside or holds
    return tuple(places)


def _misplaced(folder: str, message: str, advice: str = "") -> UsageError:
    """The error for a folder that nothing is found in; one that is no whole path may be looked for elsewhere."""
    if os.path.isabs(folder):
        return UsageError(message, advice)
    whole = os.path.abspath(os.path.expanduser(folder))
    return UsageError(message, f"{advice} (looked for at {whole})", hint="name a folder by its whole path")


def _nearest(library: Library, root_id: int, scope: str) -> str:
    """What the library knows of the nearest folder round a place where it knows of nothing: the folders in that."""
    from mmsearch.output.text import first_few

    root = library.store.roots()[root_id]
    parts = scope.split("/")
    for depth in reversed(range(len(parts))):
        near = "/".join(parts[:depth])
        below = library.store.directories(root_id, near)
        if below:
            inside = sorted({os.fsdecode(one)[len(near) :].strip("/").split("/")[0] for one in below} - {""})
            inside = list(dict.fromkeys([*get_close_matches(parts[depth], inside), *inside]))  # as it may be misspelled
            within = os.path.join(root, *near.split("/")) if near else root
            if not inside:
                return f"in {within} it knows of no folder"
            return f"in {within} it knows of the folder{'s' if len(inside) > 1 else ''} {first_few(inside, 8)}"
    return f"the library's folders are: {', '.join(library.store.roots().values())}"


def content_at(library: Library, path: str) -> int | None:
    """The content that the library holds for a file, if the file is as it was when it was indexed."""
    try:
        status = os.stat(os.path.expanduser(path))
    except OSError:
        return None
    for place in spellings(path):
        known = _known_at(library, place)
        if known is None or known.state != PRESENT:
            continue
        if known.content_id is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return known.content_id
    return None


def _known_at(library: Library, place: str) -> KnownFile | None:
    """What the library knows of a file, by its absolute path."""
    for id, root in library.store.roots().items():
        scope = relative_to(place, root)
        if scope:
            directory, _, name = scope.rpartition("/")
            return library.store.known_in(id, directory).get(name)
    return None  # roots never nest


def why_not_held(library: Library, path: str) -> UsageError:
    """Why `content_at` gave nothing for a path, and what to do about it."""
    import shlex

    from indexer.scan import worth_opening

    if os.path.isdir(os.path.expanduser(path)):
        return UsageError(f"{path} is a folder; name one of its files")
    places = spellings(path)
    known = next((found for place in places if (found := _known_at(library, place)) is not None), None)
    lost = [root for root in library.store.roots().values() if not os.path.isdir(root)]
    is_there = os.path.exists(os.path.expanduser(path))
    if not is_there:  # one that is there may have come from any of them
        lost = [root for root in lost if any(relative_to(place, root) is not None for place in places)]
    few = ", ".join(lost[:_SHOWN]) + (f" and {len(lost) - _SHOWN:,} more" if len(lost) > _SHOWN else "")
    are = f"{few} {'is' if len(lost) == 1 else 'are'} {NOT_THERE}"
    if not is_there and known is not None:
        if lost:
            return UsageError(f"{path} is {NOT_THERE}, nor is {few}", f"; {if_moved(*lost)}")
        return UsageError(f"{path} is {NOT_THERE}", f"; {BRING_UP_TO_DATE}")
    moved = f"; {are}: {if_moved(*lost)}" if lost else ""
    if not is_there:
        return UsageError(f"there is no file at {path}, and the library knows of none there", moved)
    if known is not None and known.state == FAILED:
        return UsageError(f"{path} could not be read when it was indexed", "; see why with: mmsearch status --failed")
    index = f"mmsearch index {shlex.quote(path)}"
    if known is not None:
        return UsageError(f"{path} has changed since it was indexed", f"; bring it up to date with: {index}")
    if not os.path.isfile(os.path.expanduser(path)) or not worth_opening(path):
        return UsageError(f"{path} is of no kind that mmsearch reads, and not in the library")
    return UsageError(f"{path} is not in the library", f"{moved}; bring it in with: {index}")


def stored_reading(
    library: Library,
    generation_id: int,
    spec: ModelSpec,
    term: Term,
    content_id: int,
    bridge: Bridge | None = None,
    model: HasEncoder | None = None,
) -> Reading:
    """A file of the library as a term, by the vectors that it has: nothing is encoded. Empty when it has none.

    With a `model` it is empty also for a document that this cannot read: libraries of old have vectors of such.
    """
    if model is not None and term.kind == "document" and not _is_legible(library, generation_id, content_id, model):
        return {}
    return stored_readings(library, generation_id, spec, [(term.kind, content_id)], bridge)[0]


def stored_readings(
    library: Library,
    generation_id: int,
    spec: ModelSpec,
    asked: Sequence[tuple[TermKind, int]],
    bridge: Bridge | None = None,
) -> list[Reading]:
    """The same for many files at once, each as the kind that it is asked with, and its content."""
    parts: dict[int, list[_Part]] = defaultdict(list)
    for segments in segments_of(library.store, generation_id, list(dict.fromkeys(content for _, content in asked))):
        order = np.argsort(segments.contents, kind="stable")
        contents, starts = np.unique(segments.contents[order], return_index=True)
        for content, rows in zip(contents.tolist(), np.split(order, starts[1:]), strict=True):
            parts[content].append((segments.channel, segments.vectors[rows], segments.norms[rows]))
    return [reached(spec, _meanings(spec, kind, parts[content]), bridge) for kind, content in asked]


def _meanings(spec: ModelSpec, kind: TermKind, parts: Sequence[_Part]) -> Meanings:
    vectors: dict[TowerSpec, list[Vectors]] = defaultdict(list)
    norms: dict[TowerSpec, list[Vectors]] = defaultdict(list)
    for own, rows, lengths in parts:
        tower = spec.tower_of(own)
        if tower is not None and own in _CHANNELS_OF[kind]:
            vectors[tower].append(rows)
            norms[tower].append(lengths)
    meanings: Meanings = {}
    for tower, some in vectors.items():  # what is said and what is written in a video are one meaning, as when read
        meaning = mean_of(np.concatenate(some), np.concatenate(norms[tower]))
        for channel, target in spec.channels:
            if target.space == tower.space:
                meanings[tower.modality, channel] = meaning
    return meanings


def _is_legible(library: Library, generation_id: int, content_id: int, model: HasEncoder) -> bool:
    """Whether a model can read a document. One that is mostly in ASCII needs no model to tell."""
    lines = lines_of(library.store, generation_id, content_id, ["text"])
    texts = [line.text for line in lines if line.text]
    if sum(map(str.isascii, texts)) >= LEAST_SHARE * len(texts):
        return True
    tower = model.encoder.spec.tower_of("text")
    return tower is None or any(stored_as("text", model.encoder, text, tower) for text in texts)


def _knows(library: Library, root_id: int, scope: str) -> bool:
    directory, _, name = scope.rpartition("/")
    return bool(library.store.directories(root_id, scope)) or name in library.store.known_in(root_id, directory)
