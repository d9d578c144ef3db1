"""Pairs that a library has for nothing: what is said while something is shown, what pictures are called, and thumbs.

- A line of speech, and the frames that are shown meanwhile.
- A picture (or a video, or a sound) and the captions in the text or JSON file beside it, or else its title.
- A sound and what is seen meanwhile, in a model whose pictures and sounds share a space.
- What people called a good result, and what they had asked for (`mmsearch.training.judged`).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict

import numpy as np
from sqlalchemy import select

from indexer.bridges import contents_of_both
from indexer.found import StoredSegments, segments_of
from indexer.library import Library
from indexer.lookup import full_path
from indexer.names import Channel
from indexer.schema import PRESENT, Content, File, Root
from mmsearch.training.judged import judged_pairs
from mmsearch.training.pairs import Found, Pair, Side, captions_beside

_AT_ONCE = 20  # contents whose segments are in memory
_FEWEST_WORDS = 3  # of a line of speech: "yes" says nothing of what is seen
_PER_FILE = 200  # pairs, so that one long film is not all there is to learn from


def library_pairs(library: Library) -> Found:
    """All pairs that the library has, but for those that a thumb down calls wrong."""
    found = Found()
    generation = library.store.generation()
    if generation is None:
        return found
    generation_id, spec = generation
    paths = _paths(library)
    found.pairs += _captioned(library, paths)
    channels: list[tuple[Channel, Channel]] = [("visual", "speech")]
    if spec.query_tower("audio", "visual") is not None and spec.tower_of("sound") is not None:
        channels.append(("visual", "sound"))
    for seen, heard in channels:
        if spec.tower_of(seen) is not None and spec.tower_of(heard) is not None:
            found.pairs += _of_one_moment(library, generation_id, (seen, heard), paths)
    judged = judged_pairs(library, paths)
    found.pairs = [pair for pair in found.pairs if not judged.refuses(pair)]
    known = {frozenset((pair.one.key, pair.other.key)) for pair in found.pairs}
    found.pairs += [pair for pair in judged.pairs if frozenset((pair.one.key, pair.other.key)) not in known]
    found.skipped += judged.skipped
    return found


def _paths(library: Library) -> dict[int, str]:
    """A file on disk for each content."""
    query = (
        select(File.content_id, Root.path, File.directory, File.name)
        .join(Root, Root.id == File.root_id)
        .where(File.state == PRESENT, File.content_id.is_not(None))
        .order_by(File.id.desc())
    )
    with library.store.reading() as connection:
        return {row.content_id: full_path(row.path, row.directory, row.name) for row in connection.execute(query)}


def _captioned(library: Library, paths: dict[int, str]) -> list[Pair]:
    query = select(Content.id, Content.kind, Content.title).where(Content.kind.in_(("image", "video", "audio")))
    with library.store.reading() as connection:
        rows = connection.execute(query.order_by(Content.id)).all()
    pairs = []
    for row in rows:
        path = paths.get(row.id)
        if path is None:
            continue
        side = Side(row.kind, path)
        captions, source = captions_beside(path), "captions beside files"
        if not captions and row.title and _says_something(row.title, path):
            captions, source = [row.title], "titles"
        pairs += [Pair(side, Side("text", caption), source) for caption in captions]
    return pairs


def _says_something(title: str, path: str) -> bool:
    """Whether a title is more than the file's name, in letters or in numbers."""
    stem = os.path.splitext(os.path.basename(path))[0]
    words = re.findall(r"[^\W\d_]{3,}", title)
    return bool(words) and title.strip().casefold() not in (stem.casefold(), os.path.basename(path).casefold())


def _of_one_moment(
    library: Library, generation_id: int, channels: tuple[Channel, Channel], paths: dict[int, str]
) -> list[Pair]:
    contents = contents_of_both(library.store, generation_id, channels).tolist()
    pairs: list[Pair] = []
    for at in range(0, len(contents), _AT_ONCE):
        some = {part.channel: part for part in segments_of(library.store, generation_id, contents[at : at + _AT_ONCE])}
        seen, heard = some.get(channels[0]), some.get(channels[1])
        if seen is None or heard is None:
            continue
        for content in contents[at : at + _AT_ONCE]:
            if content in paths:
                pairs += _in_file(paths[content], content, seen, heard)
    return pairs


def _in_file(path: str, content: int, seen: StoredSegments, heard: StoredSegments) -> list[Pair]:
    """What is seen and heard at once in one file: each frame is taken with what is heard then, once."""
    frames = _timed(seen, content)
    moments = _timed(heard, content)
    found = []
    taken: dict[int, list[int]] = defaultdict(list)
    for moment in moments.tolist():
        start, end = heard.spans[moment]
        shared = np.minimum(seen.spans[frames, 1], end) - np.maximum(seen.spans[frames, 0], start)
        taken[moment] = [int(frame) for frame, length in zip(frames, shared, strict=True) if length > 0]
    for moment, rows in taken.items():
        text = heard.texts[moment]
        if not rows or (text is not None and len(re.findall(r"\w+", text)) < _FEWEST_WORDS):
            continue
        start, end = (float(second) for second in heard.spans[moment])
        item = Side("video", path, start, end, "visual", tuple(int(seen.ids[row]) for row in rows))
        if text is not None:
            found.append(Pair(item, Side("text", text), "speech and frames of one moment"))
        else:
            sound = Side("audio", path, start, end, "sound", (int(heard.ids[moment]),))
            found.append(Pair(item, sound, "sound and frames of one moment"))
    if len(found) > _PER_FILE:
        found = [found[at] for at in np.linspace(0, len(found) - 1, _PER_FILE).round().astype(int).tolist()]
    return found


def _timed(segments: StoredSegments, content: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    rows = np.flatnonzero((segments.contents == content) & ~np.isnan(segments.spans).any(axis=1))
    return rows[np.argsort(segments.spans[rows, 0], kind="stable")]
