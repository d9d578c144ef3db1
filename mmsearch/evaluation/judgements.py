"""What should be found: for each query, the items that are relevant to it, and how much."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.ids import Id, normalise, normalise_all, table_of


@dataclass(frozen=True, slots=True, eq=False)
class Qrels:
    """Relevance judgements of many queries, as arrays.

    Attributes:
        queries: Ids of the judged queries, in the order in which they were given. A query without a relevant
            item may be among them: it is reported and left out of all measures.
        items: Ids of the judged items.
        offsets: (len(queries) + 1,) int64. The judgements of query number i are at offsets[i]:offsets[i + 1].
        codes: (judgements,) int32, each a place in `items`.
        grades: (judgements,) int32. 1 and more is relevant, 0 and less is not.
    """

    queries: tuple[str, ...]
    items: tuple[str, ...]
    offsets: NDArray[np.int64]
    codes: NDArray[np.int32]
    grades: NDArray[np.int32]

    def __post_init__(self) -> None:
        check_table(self.queries, self.items, self.offsets, self.codes)
        if self.grades.shape != self.codes.shape or self.grades.dtype != np.int32:
            raise UsageError(f"grades must be int32 of shape {self.codes.shape}, not {self.grades.shape}")

    @classmethod
    def from_mapping(cls, judgements: Mapping[Id, Mapping[Id, int] | Iterable[Id]]) -> Qrels:
        """Judgements from a map of query to items: with their grades, or all of grade 1.

        Raises:
            UsageError: An id is no id, an item is judged twice for a query, or a grade is no whole number.
        """
        queries = normalise_all(judgements, "the query")
        columns = [
            (list(found), list(found.values())) if isinstance(found, Mapping) else _ones(query, found)
            for query, found in zip(queries, judgements.values(), strict=True)
        ]
        lengths = [len(items) for items, _ in columns]
        rows = np.repeat(np.arange(len(queries)), lengths)
        ids = list(chain.from_iterable(items for items, _ in columns))
        return cls._build(queries, rows, ids, list(chain.from_iterable(grades for _, grades in columns)))

    @classmethod
    def from_rows(cls, queries: Sequence[Id], items: Sequence[Id], grades: Sequence[int] | None = None) -> Qrels:
        """Judgements from columns of one length; without `grades` each is of grade 1.

        Raises:
            UsageError: As in `from_mapping`, or the columns differ in length.
        """
        if len(queries) != len(items) or (grades is not None and len(grades) != len(items)):
            raise UsageError("queries, items and grades must be columns of one length")
        names, places = table_of(queries)
        rows = np.fromiter(map(places.__getitem__, queries), np.int64, len(queries))
        return cls._build(names, rows, list(items), [1] * len(items) if grades is None else list(grades))

    @classmethod
    def _build(cls, queries: tuple[str, ...], rows: NDArray[np.int64], ids: list[Id], grades: list[int]) -> Qrels:
        items, places = table_of(ids)
        codes = np.fromiter(map(places.__getitem__, ids), np.int32, len(ids))
        order = np.argsort(rows, kind="stable")
        rows, codes = rows[order], codes[order]
        found = cls(queries, items, offsets_of(rows, len(queries)), codes, _whole(grades)[order])
        refuse_duplicates("judged", queries, found.items, rows, codes)
        return found

    @property
    def relevant_counts(self) -> NDArray[np.int64]:
        """How many relevant items each query has: (len(queries),) int64."""
        found = _sums((self.grades >= 1).astype(np.int64))
        return found[self.offsets[1:]] - found[self.offsets[:-1]]

    def to_mapping(self) -> dict[str, dict[str, int]]:
        """The judgements as a map of query to item to grade."""
        return {
            query: {self.items[c]: int(g) for c, g in zip(self.codes[a:b], self.grades[a:b], strict=True)}
            for query, a, b in zip(self.queries, self.offsets[:-1], self.offsets[1:], strict=True)
        }

    def of(self, query: Id) -> dict[str, int]:
        """One query's judgements, item to grade; empty for a query that was not judged."""
        name = normalise(query)
        if name not in self.queries:
            return {}
        place = self.queries.index(name)
        span = slice(self.offsets[place], self.offsets[place + 1])
        return {self.items[c]: int(g) for c, g in zip(self.codes[span], self.grades[span], strict=True)}

    def only_queries(self, queries: Collection[Id]) -> Qrels:
        """The judgements of these queries, such as those of one direction."""
        wanted = {normalise(query) for query in queries}
        kept = np.fromiter((query in wanted for query in self.queries), bool, len(self.queries))
        inside = np.repeat(kept, np.diff(self.offsets))
        lengths = np.diff(self.offsets)[kept]
        names = tuple(query for query in self.queries if query in wanted)
        return Qrels(names, self.items, _sums(lengths), self.codes[inside], self.grades[inside])

    def only_items(self, items: Collection[Id]) -> Qrels:
        """The judgements of these items, such as those of one kind; every query is kept."""
        wanted = {normalise(item) for item in items}
        kept = np.fromiter((item in wanted for item in self.items), bool, len(self.items))
        inside = kept[self.codes] if len(self.codes) else np.zeros(0, bool)
        rows = np.repeat(np.arange(len(self.queries)), np.diff(self.offsets))[inside]
        offsets = offsets_of(rows, len(self.queries))
        return Qrels(self.queries, self.items, offsets, self.codes[inside], self.grades[inside])


def check_table(
    queries: tuple[str, ...], items: tuple[str, ...], offsets: NDArray[np.int64], codes: NDArray[np.int32]
) -> None:
    """Check that arrays fit together as those of `Qrels` and of `mmsearch.evaluation.run.Run` do.

    Raises:
        UsageError: They do not.
    """
    if offsets.shape != (len(queries) + 1,) or offsets.dtype != np.int64:
        raise UsageError(f"offsets must be int64 of shape ({len(queries) + 1},), not {offsets.dtype} {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != len(codes) or (np.diff(offsets) < 0).any():
        raise UsageError(f"offsets must rise from 0 to {len(codes)}, the number of codes")
    if codes.ndim != 1 or codes.dtype != np.int32:
        raise UsageError(f"codes must be int32 of one dimension, not {codes.dtype} {codes.shape}")
    if len(codes) and (codes.min() < 0 or codes.max() >= len(items)):
        raise UsageError(f"codes must be places among the {len(items)} items")


def refuse_duplicates(
    verb: str, queries: tuple[str, ...], items: tuple[str, ...], rows: NDArray[np.int64], codes: NDArray[np.int32]
) -> None:
    """Raise if an item comes twice for one query. `rows` are places in `queries`, `codes` places in `items`.

    Raises:
        UsageError: The first such pair.
    """
    if not len(codes):
        return
    pairs = rows * len(items) + codes
    pairs.sort()
    twice = np.flatnonzero(pairs[1:] == pairs[:-1])
    if len(twice):
        row, code = divmod(int(pairs[twice[0]]), len(items))
        raise UsageError(f"item {items[code]!r} is {verb} twice for query {queries[row]!r}; once is enough")


def offsets_of(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Where each of `count` queries begins and ends in the ascending `rows`: (count + 1,) int64."""
    return _sums(np.bincount(rows, minlength=count))


def _sums(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _ones(query: str, found: Iterable[Id]) -> tuple[list[Id], list[int]]:
    if isinstance(found, (str, bytes)):
        raise UsageError(f"the relevant items of query {query!r} are the text {found!r}; give a list of ids or a map")
    items = list(found)
    return items, [1] * len(items)


def _whole(grades: list[int]) -> NDArray[np.int32]:
    values = np.asarray(grades) if len(grades) else np.zeros(0, np.int32)
    if values.dtype.kind not in "iufb" or (values.dtype.kind == "f" and not (values == np.trunc(values)).all()):
        wrong = next((grade for grade in grades if not _is_whole(grade)), grades[0])
        raise UsageError(f"the grade {wrong!r} is not a whole number; 1 and more is relevant, 0 is not")
    if len(values) and abs(values).max() > 1000:
        raise UsageError(f"the grade {values[abs(values).argmax()]} is out of range; grades go up to 1000")
    return values.astype(np.int32)


def _is_whole(grade: Any) -> bool:
    try:
        return bool(np.isfinite(grade) and grade == int(grade))
    except (TypeError, ValueError):
        return False
