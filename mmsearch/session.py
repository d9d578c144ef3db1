"""A conversation of queries: each turn narrows or shifts the answer of the last one.

Words that are added are terms of the query, as in "dog + at night" (see docs/query.md). Hits that are liked or not move
the query itself, in every channel that they have vectors in (Rocchio, "Relevance Feedback in Information Retrieval",
1971):

    q' = q + 0.75 * mean of the liked - 0.25 * mean of the others,

each of length 1, with the weights of Salton and Buckley ("Improving retrieval performance by relevance feedback",
JASIS 1990). The moved query is held against chance as the words that it comes from are, for a shift adds no terms whose
scores would have to be weighed: on openclipart's keywords that found more than terms of their own
(benchmarks/refine.py). What it scores by chance is not known, though, so a moved answer has no confidences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.errors import UsageError
from indexer.found import StoredSegments, segments_of
from indexer.names import KINDS, Channel
from indexer.types import Vectors
from mmsearch.grammar import format_options, parse_options
from mmsearch.output.text import clock
from mmsearch.query import Query
from mmsearch.rank import MOMENTS_PER_FILE, Answer, Hit
from mmsearch.readings import Approach, Reading
from mmsearch.refining import LAST, Change, read_changes

if TYPE_CHECKING:
    from mmsearch.insights import Insights

BETA, GAMMA = 0.75, 0.25

_MOST_STEPS = 100  # that are remembered


@dataclass(frozen=True, slots=True)
class Liked:
    """A hit that was said something of: its file, and the moment that was shown. `good`: whether more is wanted."""

    path: str
    channel: Channel
    start_seconds: float | None
    good: bool

    @classmethod
    def of(cls, hit: Hit, *, good: bool) -> Liked:
        """A hit's best moment.

        Raises:
            UsageError: it has nothing to compare, so that nothing can be more or less like it.
        """
        if hit.channel is None or hit.score is None:
            raise UsageError(f"{hit.path} was found by words alone, and has nothing there that others could be like")
        return cls(hit.path, hit.channel, hit.start_seconds, good)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What was not wanted: a file, or only one moment of it where moments were listed (then it has a channel)."""

    path: str
    channel: Channel | None = None
    start_seconds: float | None = None

    def hides(self, hit: Hit) -> bool:
        """Whether a hit is of the file; of a moment: whether it shows that moment, and perhaps its neighbours."""
        if self.channel is None or hit.path != self.path:
            return hit.path == self.path
        if self.start_seconds is None or hit.start_seconds is None:
            return hit.channel == self.channel
        end = hit.start_seconds if hit.end_seconds is None else hit.end_seconds
        begins = hit.start_seconds <= self.start_seconds + 1e-3
        return hit.channel == self.channel and begins and self.start_seconds < max(end, hit.start_seconds + 1e-3)


@dataclass(frozen=True, slots=True)
class Step:
    """One turn: what was said, the query that it led to, the hits that move it, what is left out, and the answer."""

    said: str
    query: Query
    liked: tuple[Liked, ...]
    hidden: tuple[Hidden, ...]
    answer: Answer


class Session:
    """Queries to one engine, each of which begins where the last one ended.

    Args:
        engine: an open engine; the session does not close it.
        k: how many files an answer has, until a query or a turn says otherwise; when None, as in the turn before.
        steps: earlier turns, such as `mmsearch.history` keeps.
        moments: whether moments are listed as results of their own, in the same way.
    """

    def __init__(
        self, engine: Insights, k: int | None = None, steps: Sequence[Step] = (), moments: bool | None = None
    ) -> None:
        self._engine = engine
        given = {"k": k, "moments": moments}
        self._how: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._steps: list[Step] = list(steps)

    @property
    def history(self) -> tuple[Step, ...]:
        """All turns that were not undone, the first one first."""
        return tuple(self._steps)

    @property
    def answer(self) -> Answer | None:
        """The last answer; None before the first query."""
        return self._steps[-1].answer if self._steps else None

    @property
    def asked(self) -> str:
        """What is asked now, as a person would say it; "" before the first query."""
        return self.described()

    def described(self, shown: Callable[[str], str] = str) -> str:
        """All that shapes the next answer, on one line: terms, what moves them, what is left out, filters and the like.

        Args:
            shown: how a path is written.
        """
        if not self._steps:
            return ""
        step = self._steps[-1]

        def named(file: str, seconds: float | None) -> str:
            at = "" if seconds is None or not step.query.moments else f" at {clock(seconds)}"
            return f"{shown(file)}{at}"

        gone = {(one.path, one.start_seconds) for one in step.hidden} | {(one.path, None) for one in step.hidden}
        moved = [
            f"{'like' if one.good else 'unlike'} {named(one.path, one.start_seconds)}"
            for one in step.liked
            if one.good or (one.path, one.start_seconds) not in gone
        ]
        without = [f"without {named(one.path, one.start_seconds)}" for one in step.hidden]
        options = format_options(step.query)
        return ", ".join([step.query.asked, *moved, *without]) + (f"; {options}" if options else "")

    def next(self, said: str | Query) -> Answer:
        """Ask for the first time, or change what was asked: see `mmsearch.refining` for what can be said.

        Raises:
            UsageError: it says nothing, names a hit that there is not, or there is nothing to undo.
            EmptyLibraryError: nothing has been indexed yet.
        """
        if isinstance(said, Query):
            return self._ask(str(said), said, (), ())
        if not self._steps:
            if any(change.does not in ("add", "new", "how") for change in read_changes(said)):
                raise UsageError(f"there is no query yet that {said!r} could change; say what to look for first")
            fresh = said.partition(":")[2] if said.lower().startswith(("new:", "search:", "find:")) else said
            return self._ask(said, self._parsed(fresh), (), ())
        changes = read_changes(said)
        if any(change.does == "undo" for change in changes):
            if len(changes) > 1:
                raise UsageError("undo stands by itself")
            return self.undo()
        step = self._steps[-1]
        query, liked, hidden = replace(step.query, **self._how), step.liked, step.hidden
        for change in changes:
            query, liked, hidden = self._changed(change, query, liked, hidden)
        return self._ask(said, query, liked, hidden)

    def undo(self) -> Answer:
        """The answer before the last turn, which is forgotten.

        Raises:
            UsageError: there is no turn before.
        """
        if len(self._steps) < 2:
            raise UsageError("there is nothing to undo: this is the first query")
        before = self._steps[-2]
        query = replace(before.query, **self._how)
        answer = ask(self._engine, query, before.liked, before.hidden)  # what was kept of it may be short
        self._steps = [*self._steps[:-2], replace(before, query=query, answer=answer)]
        return answer

    def _changed(
        self, change: Change, query: Query, liked: tuple[Liked, ...], hidden: tuple[Hidden, ...]
    ) -> tuple[Query, tuple[Liked, ...], tuple[Hidden, ...]]:
        if change.does == "new":
            return self._parsed(change.value), (), ()
        if change.does == "how":
            return replace(query, **change.how), liked, hidden
        if change.does in ("like", "unlike"):
            hits = [self._hit(place) for place in change.places]
            more = tuple(Liked.of(hit, good=change.does == "like") for hit in hits)
            # Where moments are listed, something else may have been said of another moment of the same file.
            by_moment = self._steps[-1].query.moments
            own = {_named(one, by_moment) for one in more}
            kept = tuple(one for one in liked if _named(one, by_moment) not in own)
            gone = tuple(Hidden(*_named(one, by_moment)) for one in more) if change.hide else ()
            return query, (*kept, *more), tuple(dict.fromkeys((*hidden, *gone)))
        return _FIELDS[change.does](query, change.value), liked, hidden

    def _parsed(self, text: str) -> Query:
        """A query from a line of text, with as many files as before unless it says how many."""
        fresh = Query.parse(text)
        before = {"k": self._steps[-1].query.k} if self._steps else {}
        said = parse_options(text)[1]  # and not what differs from the defaults, which can be said too
        return replace(fresh, **{**before, **self._how, **said})

    def _hit(self, place: int) -> Hit:
        answer = self._steps[-1].answer
        if not answer or place > len(answer):
            raise UsageError(f"there is no result {place}: the last answer has {len(answer)}")
        found: Hit = answer[len(answer) - 1 if place == LAST else place - 1]
        return found

    def _ask(self, said: str, query: Query, liked: tuple[Liked, ...], hidden: tuple[Hidden, ...]) -> Answer:
        answer = ask(self._engine, query, liked, hidden)
        self._how = {name: value for name, value in self._how.items() if getattr(query, name) == value}
        self._steps = [*self._steps, Step(said, query, liked, hidden, answer)][-_MOST_STEPS:]
        return answer


def _named(liked: Liked, by_moment: bool) -> tuple[str, Channel | None, float | None]:
    """What was meant: the file, or one moment of it."""
    return (liked.path, liked.channel, liked.start_seconds) if by_moment else (liked.path, None, None)


def ask(engine: Insights, query: Query, liked: Sequence[Liked], hidden: Sequence[Hidden]) -> Answer:
    """A query moved by hits that were liked or not, without some files or moments in its answer."""
    k = query.k
    wider = replace(query, k=k + len(hidden) * (1 + MOMENTS_PER_FILE if query.moments else 1))
    given: dict[int, Reading] = {}
    if liked:
        ready = engine._prepared(wider)
        read = [at for at, term in enumerate(query.terms) if term.weight > 0 and ready.readings[at]]
        if not read:
            raise UsageError(f"{'; '.join(ready.remarks)}; so nothing of it moves towards a result")
        place = read[0]
        given[place] = moved(engine, ready.generation_id, ready.readings[place], liked)
    answer = engine._ask(wider, hidden=False, given=given)
    hits = tuple(hit for hit in answer if not any(one.hides(hit) for one in hidden))[:k]
    if liked:
        return Answer(tuple(map(_unsure, hits)), None, answer.remarks)
    matches_well = any(hit.matches_well for hit in hits) if answer.matches_well is not None else None
    return Answer(hits, matches_well, answer.remarks)


def _unsure(hit: Hit) -> Hit:
    """A hit without its confidences."""
    moments = tuple(replace(moment, confidence=None) for moment in hit.moments)
    return replace(hit, confidence=None, moments=moments)


def moved(engine: Insights, generation_id: int, reading: Reading, liked: Sequence[Liked]) -> Reading:
    """A term moved towards liked hits and away from the others, in each channel where these have vectors."""
    segments: dict[bool, dict[Channel, list[Vectors]]] = {True: {}, False: {}}
    for one in liked:
        content = engine._content_of(one.path)
        for some in segments_of(engine._library.store, generation_id, [content]):
            vector = _shown(some, one)
            if vector is not None:
                segments[one.good].setdefault(some.channel, []).append(vector)
    found: dict[Channel, Approach] = {}
    for channel, approach in reading.items():
        good, bad = segments[True].get(channel), segments[False].get(channel)
        vector = rocchio(
            approach.vector,
            None if good is None else approach.compared(np.stack(good)),
            None if bad is None else approach.compared(np.stack(bad)),
        )
        found[channel] = replace(approach, vector=vector)
    return found


def rocchio(query: Vectors, good: Vectors | None, bad: Vectors | None) -> Vectors:
    """The query moved by vectors, all of length 1: (dim,) float32 of length 1."""
    total = query.astype(np.float64)
    for vectors, weight in ((good, BETA), (bad, -GAMMA)):
        if vectors is not None and len(vectors):
            mean = vectors.mean(axis=0, dtype=np.float64)
            total = total + weight * mean / max(float(np.linalg.norm(mean)), 1e-6)
    length = float(np.linalg.norm(total))
    return np.asarray(total / length, np.float32) if length > 1e-6 else query


def _shown(segments: StoredSegments, liked: Liked) -> Vectors | None:
    """The vector of the moment that was shown, or of the whole file where it has one of its own there."""
    starts = segments.spans[:, 0]
    if liked.start_seconds is None or np.isnan(starts).all():
        if segments.channel != liked.channel:
            return None
        mean = segments.vectors.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), np.float32)
    ends = segments.spans[:, 1]
    during = np.flatnonzero((starts <= liked.start_seconds + 1e-3) & (ends > liked.start_seconds))
    if not len(during):
        return None
    vector: Vectors = segments.vectors[int(during[-1])]
    return vector


def _added(query: Query, words: str) -> Query:
    return replace(query, terms=(*query.terms, *Query.parse(words).terms))


def _lessened(query: Query, words: str) -> Query:
    return replace(query, terms=(*query.terms, *(-term for term in Query.parse(words).terms)))


def _of_kind(query: Query, kind: str) -> Query:
    if kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    return replace(query, kinds=(kind,))


def _of_year(query: Query, year: str) -> Query:
    return replace(query, after=datetime(int(year), 1, 1), before=datetime(int(year) + 1, 1, 1))


_FIELDS = {"add": _added, "less": _lessened, "kind": _of_kind, "year": _of_year}
