"""The moments of one file: neighbouring segments that answer a query alike are one, and the best come first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from indexer.types import Channel
from mmsearch.calibration import confidence_of

if TYPE_CHECKING:
    from mmsearch.plan import Plan, Scored
    from mmsearch.rank import Candidate

_LEVEL = 1.0
_SHARE = 0.4
"""Neighbouring segments are one moment when they score within _LEVEL of its best, in excess over chance, or at least
this share of it: benchmarks/moments.py. Where nothing is calibrated, within _LEVEL_COSINE."""
_LEVEL_COSINE = 0.06
_GAP_SECONDS = 0.5  # between neighbours


class Stretch(NamedTuple):
    """One moment. `key` ranks it among those of its file. `row`: its best segment in `part`.

    `start_seconds` and `end_seconds` are None where the file has no times.
    """

    part: Scored
    row: int
    key: float
    start_seconds: float | None
    end_seconds: float | None
    confidence: float | None

    @property
    def channel(self) -> Channel:
        """Where it is."""
        return self.part.segments.channel


class _Track:
    """A content's segments in one channel, by time. Lists, since numbers are taken from them one by one."""

    def __init__(self, part: Scored, rows: list[int]) -> None:
        begins = np.nan_to_num(part.segments.spans[rows, 0])
        by_time = np.array(rows)[np.argsort(begins, kind="stable")]
        self.part = part
        self.rows: list[int] = by_time.tolist()
        self.ids: list[int] = part.segments.ids[by_time].tolist()
        self.keys: list[float] = part.key[by_time].tolist()
        self.worth: list[float] = part.worth[by_time].tolist()
        self.starts: list[float] = part.segments.spans[by_time, 0].tolist()  # nan without times
        self.ends: list[float] = part.segments.spans[by_time, 1].tolist()
        self.taken = [False] * len(rows)

    def stretch(self, at: int, lowest: float) -> tuple[int, int]:
        """The first and the last segment of the moment around one of them; none of it is worth less than `lowest`."""
        first = last = at
        while first > 0 and self._joins(first - 1, first - 1, lowest):
            first -= 1
        while last + 1 < len(self.rows) and self._joins(last, last + 1, lowest):
            last += 1
        return first, last

    def _joins(self, earlier: int, new: int, lowest: float) -> bool:
        """Whether a new segment belongs to its neighbour: `earlier` and the one after it are the two."""
        is_near = self.starts[earlier + 1] - self.ends[earlier] <= _GAP_SECONDS
        return is_near and not self.taken[new] and self.worth[new] >= lowest


def moments_of(candidate: Candidate, plan: Plan) -> Iterator[Stretch]:
    """A content's moments, best first. The one that holds a quoted phrase comes before all others.

    Args:
        candidate: the content, with its scored segments.
        plan: how scores are to be read.
    """
    words = candidate.words
    words_in = words.segment_id if words is not None else None
    evidence = words.evidence if words is not None else 0.0
    literal = words is not None and words.literal
    tie = plan.tie
    rows: dict[Channel, tuple[Scored, list[int]]] = {}
    for part, row in candidate.rows:
        rows.setdefault(part.segments.channel, (part, []))[1].append(row)
    tracks = {channel: _Track(part, some) for channel, (part, some) in rows.items()}
    order = sorted(
        (
            not (literal and id == words_in),
            -round((track.keys[at] + (evidence if id == words_in else 0.0)) / tie),
            0.0 if math.isnan(track.starts[at]) else track.starts[at],
            channel,
            at,
        )
        for channel, track in tracks.items()
        for at, id in enumerate(track.ids)
    )
    for *_, channel, at in order:
        track = tracks[channel]
        if track.taken[at]:
            continue
        worth = track.worth[at]
        first, last = track.stretch(
            at, worth - (max(_LEVEL, (1 - _SHARE) * worth) if plan.calibrated else _LEVEL_COSINE)
        )
        track.taken[first : last + 1] = [True] * (last + 1 - first)
        yield Stretch(
            track.part,
            track.rows[at],
            track.keys[at],
            None if math.isnan(track.starts[first]) else track.starts[first],
            None if math.isnan(track.starts[first]) else track.ends[last],
            confidence_of(worth) if plan.calibrated else None,
        )
