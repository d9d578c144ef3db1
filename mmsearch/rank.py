"""From scored segments to ranked files: one entry for each content, its best moment first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from indexer.found import FoundFile, Passage
from indexer.likeness import near, stacked
from indexer.types import Channel, Kind
from mmsearch.moments import Stretch, moments_of
from mmsearch.plan import Plan, Scored

MOMENTS_PER_FILE = 5

CONFIDENT = 0.5
"""The confidence from which a match stands out: what one background query in a hundred reaches by chance."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One stretch of a file that answers a query.

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

    `score` is the best moment's cosine similarity, in [-1, 1], and `channel` where that is; both are None for a file
    that has nothing to compare, such as music for a model that only hears speech, and was found by its name or title.
    Of one that was found by words which the model cannot read, only the score is None where they are in its text.
    `start_seconds` and `end_seconds` are None for a file without times. `copies` are other files with the same bytes,
    `duplicates` nearly identical ones that were folded under this one. `confidence`, in [0, 1], is None where nothing
    is calibrated. `matched`: the words and phrases that were found literally, and "name" where the file's name was.
    `gone`: which of all these paths were not on disk when the answer was made; `path` is one that was, if any was.
    """

    score: float | None
    path: str
    kind: Kind
    channel: Channel | None
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    title: str | None
    moments: tuple[Moment, ...]
    copies: tuple[str, ...]
    confidence: float | None = None
    duplicates: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    gone: frozenset[str] = frozenset()

    @property
    def is_gone(self) -> bool:
        """Whether no file with these bytes was on disk when the answer was made."""
        return self.path in self.gone

    @property
    def copies_there(self) -> tuple[str, ...]:
        """The copies that were on disk then."""
        return tuple(path for path in self.copies if path not in self.gone)

    @property
    def duplicates_there(self) -> tuple[str, ...]:
        """The nearly identical files that were on disk then."""
        return tuple(path for path in self.duplicates if path not in self.gone)

    @property
    def matches_well(self) -> bool:
        """Whether it stands out from chance."""
        return self.confidence is not None and self.confidence >= CONFIDENT


@dataclass(frozen=True, slots=True)
class Words:
    """What looking for the words themselves found of one content.

    `evidence`: what it adds to the log-odds of a match, 0 or more. `literal`: a quoted phrase or a file name is there
    as it was typed. `segment_id`: where the words are, or None for a name or title. `matched`: what was found.
    """

    evidence: float
    literal: bool = False
    segment_id: int | None = None
    matched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A content that may answer. `key` ranks it. `rows`: its segments, as rows of what was scored, if it has any.

    `passage`: of a content without such rows, the text that holds the words.
    """

    key: float
    confidence: float | None
    words: Words | None
    rows: list[tuple[Scored, int]] = field(default_factory=list)
    passage: Passage | None = None


def hits_of(
    candidates: Mapping[int, Candidate], files: Mapping[int, FoundFile], plan: Plan, *, fold: bool = True
) -> list[Hit]:
    """Rank contents, best first, as many as the query asks for.

    What holds a quoted phrase, or is named as was typed, comes first. Ties are broken by path, and within a file by
    time, so that the order never depends on the index.

    Args:
        candidates: contents with their scored segments.
        files: which of them are on disk, and where.
        plan: the query, and how its scores are to be read.
        fold: whether what shows the same as a better one is put under that one; moments never are.
    """
    tie = plan.tie
    order: list[tuple[bool, int, str, Candidate, FoundFile]] = []
    for content, candidate in candidates.items():
        file = files.get(content)
        if file is None:
            continue
        literal = candidate.words is not None and candidate.words.literal
        order.append((not literal, -round(candidate.key / tie), file.paths[0], candidate, file))
    order.sort(key=lambda entry: entry[:3])
    return _all_moments(order, plan) if plan.query.moments else _folded(order, plan, fold=fold)


def _look(candidate: Candidate) -> bytes | None:
    """What a content shows where it is nearest to the query; None where it shows nothing, or nothing to tell it by."""
    best = max(
        ((part.key[row], part.segments.looks[row]) for part, row in candidate.rows if part.segments.looks[row]),
        key=lambda pair: pair[0],
        default=(0.0, None),
    )
    return best[1]


def _all_moments(order: Sequence[tuple[bool, int, str, Candidate, FoundFile]], plan: Plan) -> list[Hit]:
    """The best moments of files in order, each a hit."""
    tie = plan.tie
    ranked: list[tuple[tuple[bool, int, str, float], Hit]] = []
    for later, rank, path, candidate, file in order:
        if len(ranked) >= plan.query.k:
            ranked.sort(key=lambda pair: pair[0])
            if ranked[plan.query.k - 1][0][:2] < (later, rank):
                break  # no moment is better than its file
        for key, hit in _hits(candidate, file, plan):
            if hit.matches_well or not plan.query.confident:
                ranked.append(((later, -round(key / tie), path, hit.start_seconds or 0.0), hit))
    ranked.sort(key=lambda pair: pair[0])
    return [hit for _, hit in ranked[: plan.query.k]]


def _folded(order: Sequence[tuple[bool, int, str, Candidate, FoundFile]], plan: Plan, *, fold: bool) -> list[Hit]:
    """The best files as hits; with `fold`, what shows the same as a better one, under that one: a photo and a frame."""
    shown: list[tuple[Candidate, FoundFile]] = []
    under: dict[int, list[str]] = {}
    looks: list[tuple[int, bytes]] = []
    for _, _, path, candidate, file in order:
        look = _look(candidate) if fold else None
        same = None
        if look is not None and looks:
            alike = np.flatnonzero(near(look, stacked([other for _, other in looks])))
            same = looks[int(alike[0])][0] if len(alike) else None
        if same is not None:
            under.setdefault(same, []).append(path)
            continue
        if look is not None:
            looks.append((len(shown), look))
        shown.append((candidate, file))
    hits: list[Hit] = []
    for at, (candidate, file) in enumerate(shown):
        if len(hits) == plan.query.k:
            break
        for _, hit in _hits(candidate, file, plan):
            if hit.matches_well or not plan.query.confident:
                hits.append(replace(hit, duplicates=tuple(under.get(at, ()))))
    return hits


def _hits(candidate: Candidate, file: FoundFile, plan: Plan) -> Iterator[tuple[float, Hit]]:
    """A content as a hit; or, where moments are asked for, each of its moments as one. With what ranks it."""
    stretches = list(islice(moments_of(candidate, plan), 1 + MOMENTS_PER_FILE))
    moments = [(stretch.key, _moment(stretch)) for stretch in stretches]
    matched = candidate.words.matched if candidate.words is not None else ()
    if not moments:
        yield candidate.key, _named(candidate, file, matched)
        return
    best_key, best = moments[0]
    hit = Hit(
        score=best.score,
        path=file.paths[0],
        kind=file.kind,
        channel=best.channel,
        start_seconds=best.start_seconds,
        end_seconds=best.end_seconds,
        text=best.text,
        title=file.title,
        moments=tuple(moment for _, moment in moments[1:]),
        copies=file.paths[1:],
        confidence=candidate.confidence,
        matched=matched,
    )
    if not plan.query.moments:
        yield candidate.key, hit
        return
    for number, (key, moment) in enumerate(moments):
        alone = replace(
            hit,
            score=moment.score,
            channel=moment.channel,
            start_seconds=moment.start_seconds,
            end_seconds=moment.end_seconds,
            text=moment.text,
            moments=(),
            confidence=moment.confidence if number else candidate.confidence,
            matched=() if number else matched,
        )
        if plan.is_by_rank:
            below = number * plan.tie  # places are of files: its moments follow a file, best first
        elif plan.is_feature_level or plan.fusion == "mean" or plan.query.metric == "euclidean":
            below = best_key - key
        else:
            below = best.score - moment.score
        yield candidate.key - max(below, 0.0), alone


def _named(candidate: Candidate, file: FoundFile, matched: tuple[str, ...]) -> Hit:
    """A content without segments to compare, which was found by its words."""
    at = candidate.passage or Passage(None, None, None, None)
    return Hit(
        score=None,
        path=file.paths[0],
        kind=file.kind,
        channel=at.channel,
        start_seconds=at.start_seconds,
        end_seconds=at.end_seconds,
        text=at.text,
        title=file.title,
        moments=(),
        copies=file.paths[1:],
        confidence=candidate.confidence,
        matched=matched,
    )


def _moment(stretch: Stretch) -> Moment:
    return Moment(
        score=float(stretch.part.cosine[stretch.row]),
        channel=stretch.channel,
        start_seconds=stretch.start_seconds,
        end_seconds=stretch.end_seconds,
        text=stretch.part.segments.texts[stretch.row],
        confidence=stretch.confidence,
    )


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Hit]):
    """The files that answer a query, best first: a sequence of hits.

    `matches_well`: whether any of them stands out from chance; None where nothing is calibrated. `remarks`: lines for
    the person who asked, on words of the query that the model cannot read.
    """

    hits: tuple[Hit, ...]
    matches_well: bool | None = None
    remarks: tuple[str, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)
