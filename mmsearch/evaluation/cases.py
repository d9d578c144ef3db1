"""What is evaluated, as values: queries, what each of them should find, and where it is looked for.

Loaders in `mmsearch.evaluation.datasets` make these values; they are checked when made, so that what comes after
can rely on them. An item of a gallery is a file, known by its absolute path, or a text that is no file (a caption that
pictures are to find), known by an id of its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from indexer.names import Channel, Kind

TermKind = Literal["text", "image", "audio", "video", "document"]
"""What a query may be made of: words, or a file that stands for what is sought. A document's content is the query."""

TERM_KINDS: tuple[TermKind, ...] = get_args(TermKind)

MAX_GRADE = 2**31 - 1
"""Grades are kept as 32-bit integers by whatever computes metrics."""

Span = tuple[float, float]
"""Where a moment starts and ends, in seconds from the start of the file."""


@dataclass(frozen=True, slots=True)
class EvaluationTerm:
    """One part of a query: words, or the absolute path of a file. A negative weight asks for less of it."""

    kind: TermKind
    value: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in TERM_KINDS:
            raise ValueError(f"there is no kind of term {self.kind!r}; the kinds are {', '.join(TERM_KINDS)}")
        if not self.value.strip():
            raise ValueError(f"a term needs words or a path, and this one of kind {self.kind!r} is empty")
        if self.kind != "text" and not os.path.isabs(self.value):
            raise ValueError(f"a file is named by its absolute path, got {self.value!r}")
        if not math.isfinite(self.weight) or self.weight == 0:
            raise ValueError(f"a weight is a finite number other than 0, got {self.weight!r}")


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """Something that can be found: a file, whose `id` is its absolute path, or a `text` that is no file.

    `kind` says as what it is to be found: a video file whose sound alone is sought is of kind "audio".
    """

    id: str
    kind: Kind
    text: str | None = None

    def __post_init__(self) -> None:
        if self.text is None and not os.path.isabs(self.id):
            raise ValueError(f"a file is known by its absolute path, got {self.id!r}")
        if self.text is not None and (self.kind != "text" or not self.text.strip()):
            raise ValueError(
                f"a text that is no file is of kind 'text' and has words, got {self.kind!r}: {self.text!r}"
            )

    @property
    def path(self) -> str | None:
        """The absolute path; None for a text that is no file."""
        return self.id if self.text is None else None


@dataclass(frozen=True, slots=True)
class EvaluationQuery:
    """A query and what it should find.

    `relevant` maps the id of an item to its grade: 0 is judged and not relevant, more is better. Without any item above
    0 the query cannot be scored. `moments` says where in a relevant item the answer is; several spans are several
    moments, or what several annotators said, and none is left out for being there twice. `direction` is such as
    "text->image", and "text+image->video" for a query of two kinds.
    """

    id: str
    terms: tuple[EvaluationTerm, ...]
    relevant: Mapping[str, int]
    moments: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    direction: str = ""

    def __post_init__(self) -> None:
        if not self.id or self.id != self.id.strip():
            raise ValueError(f"a query's id is not empty and has no blanks around it, got {self.id!r}")
        if not self.terms:
            raise ValueError(f"query {self.id!r} asks for nothing: it has no terms")
        if all(term.weight < 0 for term in self.terms):
            raise ValueError(f"query {self.id!r} only says what is not sought; give it a term with a positive weight")
        for item, grade in self.relevant.items():
            if type(grade) is not int or not 0 <= grade <= MAX_GRADE:
                raise ValueError(f"a grade is a whole number from 0 up, and query {self.id!r} gives {item!r} {grade!r}")
        for item, spans in self.moments.items():
            if item not in self.relevant:
                raise ValueError(f"query {self.id!r} has moments of {item!r}, which is not among its relevant items")
            for start, end in spans:
                if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
                    raise ValueError(
                        f"a moment runs forward from 0 s, and query {self.id!r} has {start!r} to {end!r} s"
                    )

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the query itself is made of."""
        return tuple(term.value for term in self.terms if term.kind != "text")

    @property
    def ignored(self) -> frozenset[str]:
        """Files of the query that nobody judged. A picture finds itself first, which says nothing: leave these out."""
        return frozenset(file for file in self.files if file not in self.relevant)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that a data set names and that is not evaluated, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Queries, and the gallery that they are asked of.

    `gallery`: all that can be found, in the data set's order. When empty, that is whatever the library at hand holds.
    `direction`: that of all queries, such as "text->image"; "" when they differ.
    `channels`: the only channels of the gallery that may answer, any when empty. Where sound and picture come from one
    file, a sound must not find its own file by its sound.
    `skipped` and `notes` belong in every report: they say what the numbers are not about.
    `name` and `split` name the same gallery wherever it lies: they are a key of the cache of embeddings.
    `source` is the data set's page, or the file that was read.
    """

    name: str
    queries: tuple[EvaluationQuery, ...]
    gallery: tuple[GalleryItem, ...] = ()
    direction: str = ""
    split: str = ""
    channels: tuple[Channel, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a set has a name")
        _no_twins((query.id for query in self.queries), f"queries of {self.name}")
        items = _no_twins((item.id for item in self.gallery), f"items of the gallery of {self.name}")
        for query in self.queries:
            if self.direction and query.direction != self.direction:
                raise ValueError(
                    f"query {query.id!r} is {query.direction!r}, in a set for {self.direction!r}; leave the set's empty"
                )
            if items and not query.relevant.keys() <= items:
                stranger = next(item for item in query.relevant if item not in items)
                raise ValueError(f"query {query.id!r} should find {stranger!r}, which is not in the gallery")

    @property
    def title(self) -> str:
        """What to call it in a report: "coco test text->image"."""
        return " ".join(part for part in (self.name, self.split, self.direction) if part)

    @property
    def judgements(self) -> dict[str, dict[str, int]]:
        """Grades by item, by query: what metrics are computed from."""
        return {query.id: dict(query.relevant) for query in self.queries}

    @property
    def moments(self) -> dict[str, list[tuple[str, float, float]]]:
        """Item, start and end in seconds of every moment, for the queries that have some."""
        return {
            query.id: [(item, *span) for item, spans in query.moments.items() for span in spans]
            for query in self.queries
            if query.moments
        }


def _no_twins(ids: Iterable[str], what: str) -> set[str]:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise ValueError(f"two {what} have the id {id!r}")
        seen.add(id)
    return seen
