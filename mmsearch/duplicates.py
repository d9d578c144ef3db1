"""Files of a library that show the same: copies, re-encoded and resized pictures, photographs and frames of videos."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from indexer import likeness
from indexer.admitted import admitted
from indexer.filters import Filter
from indexer.found import FoundFile, copied, files_of
from indexer.looks import looks_of
from indexer.store import Store
from indexer.types import Kind
from mmsearch.presence import Disk

Span = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True, slots=True)
class DuplicateFile:
    """One file of a group. `spans`: when a video shows what the others do; empty for a file that does so as a whole.

    `width` and `height` are pixels, where there are any. `copies` are other files with the same bytes.
    """

    path: str
    kind: Kind
    width: int | None
    height: int | None
    spans: tuple[Span, ...]
    copies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files that show the same: pictures before videos, the largest first. One file is a group when it has copies."""

    files: tuple[DuplicateFile, ...]


def find_duplicates(
    store: Store, generation_id: int, wanted: Filter, is_there: Callable[[str], bool] | None = None
) -> list[DuplicateGroup]:
    """Every group of near-identical files among those that a filter lets through, by the path of its first file.

    A video may be in several groups, with different moments. Sounds and texts are in groups only with their exact
    copies. `is_there`: whether a file is on disk now; others are in no group.
    """
    is_there = is_there or Disk(store).has
    matched = _matched(store, generation_id, wanted)
    together = {content_id for contents in matched for content_id in contents}
    copies = [id for id in copied(store, wanted) if id not in together]
    known = _there(files_of(store, [*together, *copies], wanted), is_there)
    found = []
    for contents in [*matched, *([id] for id in copies)]:
        spans = contents if isinstance(contents, dict) else {}
        members = [known[id] for id in contents if id in known]  # one may be gone since it was matched
        members = [m for m in members if not wanted.kinds or m.kind in wanted.kinds]
        members.sort(key=lambda m: (m.kind != "image", -(m.width or 0) * (m.height or 0), m.paths[0]))
        if sum(len(member.paths) for member in members) > 1:
            found.append(DuplicateGroup(tuple(_file(member, spans.get(member.id, ())) for member in members)))
    return sorted(found, key=lambda group: (group.files[0].path, group.files[0].spans))


def _there(known: Mapping[int, FoundFile], is_there: Callable[[str], bool]) -> dict[int, FoundFile]:
    """Contents with those of their files that are on disk now: what is named as a copy may be the one that is kept."""
    paths = {id: tuple(filter(is_there, file.paths)) for id, file in known.items()}
    return {id: replace(file, paths=paths[id]) for id, file in known.items() if paths[id]}


def _matched(store: Store, generation_id: int, wanted: Filter) -> list[dict[int, list[Span]]]:
    """Sets of contents that show the same, each content with its moments."""
    found = looks_of(store, generation_id)
    rows = np.arange(len(found.ids))
    admits = admitted(store, generation_id, "visual", wanted)
    if admits is not None:
        rows = rows[np.isin(found.ids, admits, assume_unique=True)]
    # Pictures lead: what is grouped with one shows that picture, and a video's frames follow.
    rows = rows[np.argsort(~np.isnan(found.start_seconds[rows]), kind="stable")]
    joined: dict[frozenset[int], dict[int, list[Span]]] = {}
    for group in likeness.groups(found.looks[rows]):
        members = rows[group]
        contents = frozenset(found.content_ids[members].tolist())
        if len(contents) < 2:  # frames of one video
            continue
        # Two videos that run alike match at many moments, and are one group all the same.
        spans = joined.setdefault(contents, {content_id: [] for content_id in sorted(contents)})
        for row in members.tolist():
            start, end = float(found.start_seconds[row]), float(found.end_seconds[row])
            if not math.isnan(start):
                spans[int(found.content_ids[row])].append((start, end))
    return list(joined.values())


def _file(content: FoundFile, spans: Iterable[Span]) -> DuplicateFile:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    path, *copies = content.paths
    return DuplicateFile(path, content.kind, content.width, content.height, tuple(merged), tuple(copies))
