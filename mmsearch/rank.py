"""From scored segments to ranked files: one entry for each content, its best moment first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from indexer.lookup import FoundSegment
from indexer.types import Channel, Kind

MOMENTS_PER_FILE = 5


@dataclass(frozen=True, slots=True)
class Moment:
    """One segment of a file that answers a query.

    `score` is its cosine similarity, in [-1, 1]; `confidence`, in [0, 1], is None where nothing is calibrated.
    """

    score: float
    channel: Channel
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A file that answers a query: its best moment, and the further ones in `moments`, best first.

    `score` is the best moment's cosine similarity, in [-1, 1]. `start_seconds` and `end_seconds` are
    None for a file without times. `copies` are other files with the same bytes, `duplicates` nearly identical
    ones that were folded under this one. `confidence`, in [0, 1], is None where nothing is calibrated.
    `matched`: the words and phrases that were found literally, and "name" where the file's name was.
    """

    score: float
    path: str
    kind: Kind
    channel: Channel
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    title: str | None
    moments: tuple[Moment, ...]
    copies: tuple[str, ...]
    confidence: float | None = None
    duplicates: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()


def rank(scored: Iterable[tuple[float, FoundSegment]]) -> list[Hit]:
    """Group segments by content and rank the contents by their best segment's cosine similarity.

    Ties are broken by path, and within a file by time, so that the order never depends on the index.
    """
    by_content: dict[int, list[tuple[float, FoundSegment]]] = {}
    for score, segment in scored:
        by_content.setdefault(segment.content_id, []).append((score, segment))
    hits = []
    for segments in by_content.values():
        segments.sort(key=lambda pair: (-pair[0], pair[1].start_seconds or 0.0, pair[1].channel))
        score, best = segments[0]
        further = segments[1 : 1 + MOMENTS_PER_FILE]
        hits.append(
            Hit(
                score=score,
                path=best.paths[0],
                kind=best.kind,
                channel=best.channel,
                start_seconds=best.start_seconds,
                end_seconds=best.end_seconds,
                text=best.text,
                title=best.title,
                moments=tuple(Moment(s, m.channel, m.start_seconds, m.end_seconds, m.text) for s, m in further),
                copies=best.paths[1:],
            )
        )
    return sorted(hits, key=lambda hit: (-hit.score, hit.path))
