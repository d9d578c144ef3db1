"""What was found: for each query, ranked items with their scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.ids import Id, as_float32, normalise, normalise_all, sort_keys, table_of, tie_places
from mmsearch.evaluation.judgements import check_table, offsets_of, refuse_duplicates


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The ranked lists of many queries, as arrays.

    Within a query, items are ordered by score, highest first, and among equal scores by id, highest first, as
    trec_eval orders them: so neither the order in which they were given nor an index decides a tie.
    Scores are float32, in which trec_eval compares them too.

    Attributes:
        name: Whose run it is, such as a model's name.
        queries: Ids of the queries. A query without results may be among them.
        items: Ids of the items; not all of them need to be found.
        offsets: (len(queries) + 1,) int64. The list of query number i is at offsets[i]:offsets[i + 1].
        codes: (results,) int32, each a place in `items`.
        scores: (results,) float32, finite, falling within a query.
    """

    name: str
    queries: tuple[str, ...]
    items: tuple[str, ...]
    offsets: NDArray[np.int64]
    codes: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_table(self.queries, self.items, self.offsets, self.codes)
        if self.scores.shape != self.codes.shape or self.scores.dtype != np.float32:
            raise UsageError(f"scores must be float32 of shape {self.codes.shape}, not {self.scores.dtype}")

    @classmethod
    def from_mapping(cls, results: Mapping[Id, Mapping[Id, float]], name: str = "run") -> Run:
        """A run from a map of query to item to score, in any order.

        Raises:
            UsageError: An id is no id, or a score is no finite number.
        """
        queries = normalise_all(results, "the query")
        rows = np.repeat(np.arange(len(queries)), [len(found) for found in results.values()])
        ids = list(chain.from_iterable(results.values()))
        scores = list(chain.from_iterable(found.values() for found in results.values()))
        return cls._from_names(name, queries, rows, ids, _numbers(scores))

    @classmethod
    def from_lists(cls, results: Mapping[Id, Sequence[Id]], name: str = "run") -> Run:
        """A run from ranked lists without scores, best first. The scores become n, n - 1, ..., 1.

        Raises:
            UsageError: An id is no id, or an item comes twice in a list.
        """
        queries = normalise_all(results, "the query")
        lengths = [len(found) for found in results.values()]
        rows = np.repeat(np.arange(len(queries)), lengths)
        ids = list(chain.from_iterable(results.values()))
        falling = [np.arange(length, 0, -1, dtype=np.float32) for length in lengths]
        return cls._from_names(name, queries, rows, ids, np.concatenate([np.zeros(0, np.float32), *falling]))

    @classmethod
    def from_rows(cls, queries: Sequence[Id], items: Sequence[Id], scores: ArrayLike, name: str = "run") -> Run:
        """A run from columns of one length, in any order.

        Raises:
            UsageError: As in `from_mapping`, the columns differ in length, or an item comes twice for a query.
        """
        values = _numbers(scores)
        if not len(queries) == len(items) == len(values):
            raise UsageError("queries, items and scores must be columns of one length")
        names, places = table_of(queries)
        rows = np.fromiter(map(places.__getitem__, queries), np.int64, len(queries))
        return cls._from_names(name, names, rows, list(items), values)

    @classmethod
    def from_topk(
        cls, queries: Sequence[Id], items: Sequence[Id], indices: ArrayLike, scores: ArrayLike, name: str = "run"
    ) -> Run:
        """A run from what vector indexes return.

        Args:
            queries: Q ids.
            items: N ids.
            indices: (Q, k) whole numbers, each a place in `items`, or less than 0 for none.
            scores: (Q, k) floats. Those where `indices` is less than 0 are not read.
            name: Whose run it is.

        Raises:
            UsageError: Shapes do not fit, an index is out of range, or an item comes twice for a query.
        """
        names, table = normalise_all(queries, "the query"), normalise_all(items, "the item")
        places, values = np.asarray(indices), np.asarray(scores)
        if places.ndim != 2 or places.shape != values.shape or len(places) != len(names):
            raise UsageError(
                f"indices {places.shape} and scores {values.shape} must both be ({len(names)}, k), a row for each query"
            )
        if places.size and (places.dtype.kind not in "iu" or places.max() >= len(table)):
            raise UsageError(f"indices must be whole numbers less than {len(table)}, the number of items")
        rows, columns = np.nonzero(places >= 0)
        codes = places[rows, columns].astype(np.int32)
        return cls._sorted(name, names, table, rows, codes, as_float32(values[rows, columns]))

    @classmethod
    def _from_names(
        cls, name: str, queries: tuple[str, ...], rows: NDArray[np.int64], ids: list[Id], scores: NDArray[np.floating]
    ) -> Run:
        items, places = table_of(ids)
        codes = np.fromiter(map(places.__getitem__, ids), np.int32, len(ids))
        return cls._sorted(name, queries, items, rows, codes, as_float32(scores))

    @classmethod
    def _sorted(
        cls,
        name: str,
        queries: tuple[str, ...],
        items: tuple[str, ...],
        rows: NDArray[np.int64],
        codes: NDArray[np.int32],
        scores: NDArray[np.float32],
    ) -> Run:
        refuse_duplicates("found", queries, items, rows, codes)
        keys = sort_keys(scores, tie_places(items)[codes])
        offsets = offsets_of(rows, len(queries))
        step = np.diff(rows)
        if ((step > 0) | ((step == 0) & (keys[1:] <= keys[:-1]))).all():  # in order already, as runs mostly are
            return cls(name, queries, items, offsets, codes, scores)
        order = np.lexsort((~keys, rows))  # ~ turns the order round, without the overflow that - has
        return cls(name, queries, items, offsets, codes[order], scores[order])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many results each query has: (len(queries),) int64."""
        return np.diff(self.offsets)

    def of(self, query: Id, limit: int | None = None) -> list[tuple[str, float]]:
        """One query's results, best first, with their scores; none for a query that is not there."""
        name = normalise(query)
        if name not in self.queries:
            return []
        place = self.queries.index(name)
        begin, end = int(self.offsets[place]), int(self.offsets[place + 1])
        span = slice(begin, end if limit is None else min(end, begin + limit))
        return [(self.items[c], float(s)) for c, s in zip(self.codes[span], self.scores[span], strict=True)]

    def only_items(self, items: Collection[Id]) -> Run:
        """The same lists with these items alone, such as those of one kind."""
        wanted = {normalise(item) for item in items}
        kept = np.fromiter((item in wanted for item in self.items), bool, len(self.items))
        return self._masked(kept[self.codes] if len(self.codes) else np.zeros(0, bool))

    def cut(self, depth: int) -> Run:
        """The first `depth` results of each query."""
        places = np.arange(len(self.codes)) - np.repeat(self.offsets[:-1], self.lengths)
        return self._masked(places < depth)

    def _masked(self, inside: NDArray[np.bool_]) -> Run:
        rows = np.repeat(np.arange(len(self.queries)), self.lengths)[inside]
        offsets = offsets_of(rows, len(self.queries))
        return Run(self.name, self.queries, self.items, offsets, self.codes[inside], self.scores[inside])


def _numbers(scores: ArrayLike) -> NDArray[np.floating]:
    values = np.asarray(scores)
    if values.size == 0:
        return np.zeros(0, np.float32)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise UsageError(f"scores must be a column of numbers, not of {values.dtype} with shape {values.shape}")
    return values if values.dtype.kind == "f" else values.astype(np.float64)
