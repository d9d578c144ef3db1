"""What was asked, as values: terms with weights and signs, and which files may answer.

    Query.of_text("a dog") + 2 * Query.of_image("pool.jpg") - Query.of_text("fruit")

`mmsearch.grammar` writes such a value as a line of text and reads it back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from indexer.errors import UsageError
from indexer.near import Near
from indexer.times import seconds_of
from indexer.types import AudioSample, ImageSample, Kind
from mmsearch import checks
from mmsearch.names import FUSIONS, METRICS, TERM_KINDS, Fusion, Metric, TermKind
from mmsearch.terms import Term, is_number

__all__ = ["FUSIONS", "METRICS", "TERM_KINDS", "Fusion", "Less", "Metric", "Near", "Query", "Term", "TermKind"]


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for, and which files may answer. Checked when made, hashable, never changed.

    Attributes:
        terms: what to look for; at least one with a positive weight.
        k: how many files to return at most.
        kinds: kinds of file that may answer; any when empty.
        within: folders or files that answers lie in; anywhere when empty.
        after, before: when a file was taken, from `after` on and up to but not at `before`; a time without a zone is
            this computer's local time. A file that does not say when it was taken counts with its modification time.
        min_seconds, max_seconds: how long a file lasts, both ends included; what has no length never answers.
        near: where a file was taken; what does not say where never answers.
        name: a pattern for the file name, or, with a "/" in it, for the path below the library's folder.
        fusion: how several terms become one ranking.
        metric: what is nearest: the angle between vectors, or the distance.
        confident: only what stands out from chance.
        moments: list moments as results of their own.
        not_below: leave out what is at least this similar to a negative term: the hard form of less.
        words: whether a text is also looked for as words, in names and in what was said or written.
        exact: compare every vector, also in a large library, where otherwise about 1 % of the nearest may be missed.

    Raises:
        UsageError: any of it makes no sense.
    """

    terms: tuple[Term, ...]
    k: int = 10
    kinds: tuple[Kind, ...] = ()
    within: tuple[str, ...] = ()
    after: datetime | None = None
    before: datetime | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    near: Near | None = None
    name: str | None = None
    fusion: Fusion = "auto"
    metric: Metric = "cosine"
    confident: bool = False
    moments: bool = False
    not_below: float | None = None
    words: bool = True
    exact: bool = False

    def __post_init__(self) -> None:
        for name, clean in _CHECKS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, clean(value))
        if self.after is not None and self.before is not None and seconds_of(self.after) >= seconds_of(self.before):
            raise UsageError(f"nothing lies after {self.after} and before {self.before}: the first is not the earlier")
        if self.min_seconds is not None and self.max_seconds is not None and self.min_seconds > self.max_seconds:
            raise UsageError(f"nothing lasts at least {self.min_seconds} s and at most {self.max_seconds} s")

    # --- making one ---

    @classmethod
    def of_text(cls, text: str, *, weight: float = 1.0, **how: Any) -> Query:
        """Ask in words; `how` are the other fields of `Query`.

        Raises:
            UsageError: there are no words.
        """
        return cls((Term("text", text, weight),), **how)

    @classmethod
    def of_image(cls, image: str | os.PathLike[str] | ImageSample, *, weight: float = 1.0, **how: Any) -> Query:
        """Ask with a picture: a file, or pixels in memory."""
        return cls((_term_of(image, "image", weight),), **how)

    @classmethod
    def of_audio(cls, audio: str | os.PathLike[str] | AudioSample, *, weight: float = 1.0, **how: Any) -> Query:
        """Ask with a sound: a recording, the sound of a video file, or a waveform in memory."""
        return cls((_term_of(audio, "audio", weight),), **how)

    @classmethod
    def of_video(cls, video: str | os.PathLike[str], *, weight: float = 1.0, **how: Any) -> Query:
        """Ask with a video file."""
        return cls((Term.of_file(video, "video", weight=weight),), **how)

    @classmethod
    def of_document(cls, document: str | os.PathLike[str], *, weight: float = 1.0, **how: Any) -> Query:
        """Ask with the text of a file."""
        return cls((Term.of_file(document, "document", weight=weight),), **how)

    @classmethod
    def parse(cls, text: str, *, base: Path | None = None) -> Query:
        """Read the grammar of docs/query.md; `str` of a query writes it.

        Args:
            text: for example `2:"golden retriever" + ./pool.jpg - fruit --kind image`.
            base: the folder that relative paths of terms start from; the current one when None.

        Raises:
            UsageError: it cannot be read, or names a file that is not there.
        """
        from mmsearch.grammar import parse

        return parse(text, base=base)

    @classmethod
    def parse_arguments(cls, arguments: Sequence[str], *, base: Path | None = None, **how: Any) -> Query:
        """Read terms as command-line arguments, such as `["2:golden retriever", "+", "./pool.jpg"]`."""
        from mmsearch.grammar import parse_arguments

        return cls(parse_arguments(arguments, base=base), **how)

    @classmethod
    def from_json(cls, value: Any, *, base: Path | None = None) -> Query:
        """Read what `to_json` gave: an object, a list of terms, or a line of the grammar."""
        from mmsearch.query_json import from_json

        return from_json(value, base=base)

    def to_json(self) -> dict[str, Any]:
        """The query as a JSON value: its terms, and what differs from the defaults. See docs/query.md."""
        from mmsearch.query_json import to_json

        return to_json(self)

    def __str__(self) -> str:
        from mmsearch.grammar import format_query

        return format_query(self)

    @property
    def asked(self) -> str:
        """The terms alone as a line of the grammar."""
        from mmsearch.grammar import format_terms

        return format_terms(self.terms)

    # --- putting several together ---

    def __add__(self, other: Query | Term | Less) -> Query:
        if isinstance(other, Less):
            return self - other.query
        terms, how = _parts(other)
        return replace(self, terms=(*self.terms, *terms), **_merged(self.how, how))

    def __radd__(self, other: Term) -> Query:
        return replace(self, terms=(*_terms_of(other), *self.terms))

    def __sub__(self, other: Query | Term) -> Query:
        terms, how = _parts(other)
        return replace(self, terms=(*self.terms, *(-term for term in terms)), **_merged(self.how, how))

    def __rsub__(self, other: Term) -> Query:
        return replace(self, terms=(*_terms_of(other), *(-term for term in self.terms)))

    def __mul__(self, factor: float) -> Query:
        if not is_number(factor):
            return NotImplemented
        return replace(self, terms=tuple(term * factor for term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> Less:
        return Less(self)

    @property
    def is_filtered(self) -> bool:
        """Whether only some files may answer."""
        return not self.how.keys().isdisjoint(_FILTERS)

    @property
    def how(self) -> dict[str, Any]:
        """Every field but the terms that differs from its default."""
        return {
            given.name: getattr(self, given.name)
            for given in fields(self)
            if given.name != "terms" and getattr(self, given.name) != given.default
        }


@dataclass(frozen=True, slots=True)
class Less:
    """`-query`: no question by itself, but `other + -query` is `other - query`."""

    query: Query

    def __neg__(self) -> Query:
        return self.query

    def __add__(self, other: Query | Term) -> Query:
        terms, how = _parts(other)
        negative = tuple(-term for term in self.query.terms)
        return replace(self.query, terms=(*negative, *terms), **_merged(self.query.how, how))

    def __radd__(self, other: Term) -> Query:
        return other - self.query

    def __sub__(self, other: Query | Term) -> Less:
        return Less(self.query + other)

    def __mul__(self, factor: float) -> Less:
        return Less(self.query * factor)

    __rmul__ = __mul__


def _term_of(source: Any, kind: TermKind, weight: float) -> Term:
    if isinstance(source, ImageSample | AudioSample):
        term = Term.of_sample(source, weight=weight)
        if term.kind != kind:
            raise UsageError(f"this asks with {kind}, got {type(source).__name__}")
        return term
    return Term.of_file(source, kind, weight=weight)


def _parts(other: Query | Term) -> tuple[tuple[Term, ...], dict[str, Any]]:
    return (other.terms, other.how) if isinstance(other, Query) else (_terms_of(other), {})


def _terms_of(other: Any) -> tuple[Term, ...]:
    if not isinstance(other, Term):
        raise TypeError(f"queries are put together with queries and terms, got {type(other).__name__}")
    return (other,)


def _merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """What both sides ask for; a field that only one of them sets is the whole's."""
    for name in ours.keys() & theirs.keys():
        if ours[name] != theirs[name]:
            raise UsageError(f"the two queries disagree about {name}: {ours[name]!r} and {theirs[name]!r}")
    return ours | theirs


_FILTERS = ("kinds", "within", "after", "before", "min_seconds", "max_seconds", "near", "name")

_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "terms": checks.is_terms,
    "k": checks.is_count,
    "kinds": checks.is_kinds,
    "within": checks.is_places,
    "after": checks.is_moment,
    "before": checks.is_moment,
    "min_seconds": checks.is_duration,
    "max_seconds": checks.is_duration,
    "near": checks.is_near,
    "name": checks.is_pattern,
    "fusion": checks.is_one_of("fusion", FUSIONS),
    "metric": checks.is_one_of("metric", METRICS),
    "confident": checks.is_flag,
    "moments": checks.is_flag,
    "not_below": checks.is_similarity,
    "words": checks.is_flag,
    "exact": checks.is_flag,
}
