"""Pairs that people made with their thumbs: what was looked for, and the file or the moment that they called right.

A query makes a pair when one term alone has a positive weight: words, or a file. What it looked away from is left out.
Thumbs are read in the order in which they were given, and the last word counts:

- A thumb down takes back what was said before of the same query and file. Said of a moment, it takes back what was said
  of the times that it touches; said of the file, all. Where the query also looked away from something, only thumbs of
  that very query are taken back, for it may be the other thing that was wrong.
- A thumb down of a query of one term also strikes out the same pair where the library says it by itself, as in a
  caption. Nothing then keeps the two from being a negative (`mmsearch.training.loss.no_negatives`).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexer.errors import UsageError
from indexer.feedback import Judgement, all_feedback
from indexer.items import items_of_ids
from indexer.library import Library
from mmsearch.evaluation.datasets.reading import squeezed
from mmsearch.held import content_at
from mmsearch.query import Query, Term
from mmsearch.terms import is_number
from mmsearch.training.pairs import FILES, Pair, Side, SideKind

SOURCE = "feedback"
"""What a report calls these pairs."""

_UNREADABLE = "thumbs up for queries that cannot be read"
_SEVERAL = "thumbs up for queries that looked for several things at once, or for none"
_QUERY_GONE = "thumbs up for queries by a file that is gone, or that was never on disk"
_ITEM_GONE = "thumbs up for files that the library no longer holds"
_ITSELF = "thumbs up for the file that was searched by"

_Span = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Thumb:
    """One thumb, as a pair of sides. `away`: what the query looked away from, as JSON; "[]" for nothing."""

    query: Side
    item: Side
    away: str = "[]"

    @property
    def key(self) -> tuple[str, str]:
        """What was looked for, and the file."""
        return self.query.key, self.item.value

    def covers(self, item: Side) -> bool:
        """Whether it is about this part of its file or more: the file for its moment, or a time that meets it."""
        ours, theirs = _span(self.item), _span(item)
        if ours is None or theirs is None:
            return ours is None
        return ours == theirs or (ours[0] < theirs[1] and theirs[0] < ours[1])


@dataclass(frozen=True, slots=True)
class Judged:
    """What thumbs say. `refused`: thumbs down that hold, by `Thumb.key`. `skipped`: lines for people."""

    pairs: tuple[Pair, ...]
    refused: Mapping[tuple[str, str], Sequence[Thumb]]
    skipped: tuple[str, ...]

    def refuses(self, pair: Pair) -> bool:
        """Whether a thumb down says that the two sides of a pair do not belong together."""
        sides = (pair.one, pair.other), (pair.other, pair.one)
        return any(
            thumb.covers(item) for query, item in sides for thumb in self.refused.get((query.key, item.value), ())
        )


def judged_pairs(library: Library, paths: Mapping[int, str]) -> Judged:
    """The pairs that thumbs up make, each once, and the thumbs down that hold.

    Args:
        library: whose feedback is read.
        paths: one file on disk for each content; a content without one is gone.
    """
    liked: dict[tuple[str, str], list[Thumb]] = defaultdict(list)
    refused: dict[tuple[str, str], list[Thumb]] = defaultdict(list)
    thumbs, skipped = _thumbs(library, paths)
    for thumb, good in thumbs:
        key, bare = thumb.key, thumb.away == "[]"
        if good:
            refused[key] = [old for old in refused[key] if not thumb.covers(old.item)]
            liked[key].append(thumb)
        else:
            liked[key] = [
                old for old in liked[key] if not (thumb.covers(old.item) and (bare or old.away == thumb.away))
            ]
            refused[key] += [thumb] if bare else []
    each = [thumb for some in liked.values() for thumb in some]
    pairs = {(thumb.query.key, thumb.item.key): Pair(thumb.query, thumb.item, SOURCE) for thumb in each}
    return Judged(tuple(pairs.values()), refused, tuple(f"{why}: {count:,}" for why, count in skipped.items() if count))


def _thumbs(library: Library, paths: Mapping[int, str]) -> tuple[list[tuple[Thumb, bool]], Counter[str]]:
    """Thumbs that say something of a pair, in order, and whether each is up; and how many up do not, by reason."""
    judgements = all_feedback(library.store)
    items = items_of_ids(library.store, {each.content_id for each in judgements if each.content_id is not None})
    queries: dict[str, tuple[Side, str] | str] = {}
    thumbs: list[tuple[Thumb, bool]] = []
    skipped: Counter[str] = Counter()
    for each in judgements:
        content = each.content_id
        if content is None or content not in paths or content not in items:
            skipped[_ITEM_GONE] += each.good
            continue
        asked = json.dumps(each.query, sort_keys=True)
        if asked not in queries:
            queries[asked] = _looked_for(library, each.query, paths)
        found = queries[asked]
        if isinstance(found, str):
            skipped[found] += each.good
            continue
        thumb = Thumb(found[0], _item(each, items[content].kind, paths[content]), found[1])
        if thumb.query.group == thumb.item.group:
            skipped[_ITSELF] += each.good
        else:
            thumbs.append((thumb, each.good))
    return thumbs, skipped


def _looked_for(library: Library, query: Mapping[str, Any], paths: Mapping[int, str]) -> tuple[Side, str] | str:
    """The one thing that a query looked for, and as JSON what it looked away from; or why it makes no pair."""
    terms = query.get("terms")
    if not isinstance(terms, list) or not all(isinstance(term, str | dict) for term in terms):
        return _UNREADABLE
    weights = [1.0 if isinstance(term, str) else term.get("weight", 1.0) for term in terms]
    if not all(is_number(weight) for weight in weights):
        return _UNREADABLE
    wanted = [term for term, weight in zip(terms, weights, strict=True) if weight > 0]
    if len(wanted) != 1:
        return _SEVERAL
    try:
        (term,) = Query.from_json(wanted).terms
    except UsageError:
        by_file = isinstance(wanted[0], dict) and not wanted[0].keys().isdisjoint((*FILES, "file"))
        return _QUERY_GONE if by_file else _UNREADABLE
    away = [term for term, weight in zip(terms, weights, strict=True) if weight < 0]
    return _asked(library, term, paths), json.dumps(away, sort_keys=True)


def _asked(library: Library, term: Term, paths: Mapping[int, str]) -> Side:
    if term.kind == "text":
        return Side("text", squeezed(term.value))
    content = content_at(library, term.value)  # by the path that the rest of training knows it by, if it has several
    return Side(term.kind, term.value if content is None else paths.get(content, term.value))


def _item(judgement: Judgement, kind: str, path: str) -> Side:
    kinds: dict[str, SideKind] = {"image": "image", "audio": "audio", "video": "video", "text": "document"}
    timed = kind in ("audio", "video")
    return Side(kinds[kind], path, *((judgement.start_seconds, judgement.end_seconds) if timed else (None, None)))


def _span(side: Side) -> _Span:
    return None if side.start_seconds is None or side.end_seconds is None else (side.start_seconds, side.end_seconds)
