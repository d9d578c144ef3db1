"""At which ranks the relevant items came: all that ranking measures need to know of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.run import Run


@dataclass(frozen=True, slots=True, eq=False)
class Placements:
    """The ranks of the relevant items, query by query.

    Relevant is an item of grade 1 or more. Only queries with a relevant item are here; each has one or more.

    Attributes:
        queries: Ids of the Q queries that count.
        offsets: (Q + 1,) int64. The relevant items of query number i are at offsets[i]:offsets[i + 1].
        ranks: (P,) float64, from 1, ascending within a query; infinity for an item that was not found.
        grades: (P,) int32, each 1 or more: of the item at that rank.
        returned: (Q,) int64, how many items were found for each query, relevant or not.
        tied: (Q,) bool, whether a relevant item has the score of another item, so that ids decided its rank.
        left_out: Ids of judged queries without a relevant item. No measure is defined for them.
        unjudged: Ids of queries of the run that nobody judged.
        items: How many items there were to rank, where that is known.
    """

    queries: tuple[str, ...]
    offsets: NDArray[np.int64]
    ranks: NDArray[np.float64]
    grades: NDArray[np.int32]
    returned: NDArray[np.int64]
    tied: NDArray[np.bool_]
    left_out: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    items: int | None = None

    def __post_init__(self) -> None:
        count = len(self.queries)
        if self.offsets.shape != (count + 1,) or self.offsets[0] != 0 or self.offsets[-1] != len(self.ranks):
            raise UsageError(f"offsets must be {count + 1} places from 0 to {len(self.ranks)}")
        if (np.diff(self.offsets) < 1).any():
            raise UsageError("each query must have a relevant item")
        if self.grades.shape != self.ranks.shape or self.returned.shape != (count,) or self.tied.shape != (count,):
            raise UsageError("ranks and grades must be of one length, returned and tied as long as queries")

    @property
    def relevant(self) -> NDArray[np.int64]:
        """How many relevant items each query has: (Q,) int64, each 1 or more."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> NDArray[np.int64]:
        """To which query each rank belongs: (P,) int64 places in `queries`."""
        return np.repeat(np.arange(len(self.queries)), self.relevant)

    @property
    def without_results(self) -> tuple[str, ...]:
        """The queries for which nothing was found. They count as zero."""
        return tuple(self.queries[place] for place in np.flatnonzero(self.returned == 0))

    def sum(self, values: NDArray[np.floating] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Sums of values that belong to ranks, query by query: (P,) or (P, n) to (Q,) or (Q, n)."""
        if not len(self.queries):
            return np.zeros((0, *values.shape[1:]))
        return np.add.reduceat(values.astype(np.float64, copy=False), self.offsets[:-1], axis=0)

    def at_least(self, grade: int) -> tuple[Placements, NDArray[np.bool_]]:
        """Only items of that grade or a higher one; and which queries still have one: (Q,) bool."""
        kept = self.grades >= grade
        counts = self.sum(kept).astype(np.int64)
        some = counts > 0
        names = tuple(self.queries[place] for place in np.flatnonzero(some))
        offsets = np.concatenate([[0], np.cumsum(counts[some])])
        part = Placements(
            names, offsets, self.ranks[kept], self.grades[kept], self.returned[some], self.tied[some], items=self.items
        )
        return part, some

    def select(self, wanted: NDArray[np.bool_]) -> Placements:
        """Some of the queries: `wanted` is (Q,) bool. What was left out stays with the whole."""
        kept = np.repeat(wanted, self.relevant)
        names = tuple(self.queries[place] for place in np.flatnonzero(wanted))
        offsets = np.concatenate([[0], np.cumsum(self.relevant[wanted])])
        return Placements(
            *(names, offsets, self.ranks[kept], self.grades[kept], self.returned[wanted], self.tied[wanted]),
            items=self.items,
        )


def place(run: Run, qrels: Qrels) -> Placements:
    """Find the relevant items in a run.

    A judged query that the run does not have is one without results: it counts as zero. No loop over results:
    of all of them, only those whose item is relevant to some query are looked up.
    """
    wanted = qrels.grades >= 1
    counts = qrels.relevant_counts
    rows = np.repeat(np.arange(len(qrels.queries)), np.diff(qrels.offsets))[wanted]
    # Pairs (query, item) of the judgements, in the run's own numbers; -1 for what the run does not have.
    query_place = _places(run.queries, qrels.queries)
    item_place = _places(run.items, qrels.items)
    codes = item_place[qrels.codes[wanted]]
    width = max(1, len(run.items))
    pairs = np.where((query_place[rows] >= 0) & (codes >= 0), query_place[rows] * width + codes, -1)
    ranks, tied = _look_up(run, pairs, width)
    order = np.lexsort((ranks, rows))
    present = query_place >= 0
    returned = np.zeros(len(qrels.queries), np.int64)
    returned[present] = run.lengths[query_place[present]]
    some = counts > 0
    query_tied = np.zeros(len(qrels.queries), bool)
    query_tied[rows[tied]] = True
    judged = set(qrels.queries)
    return Placements(
        queries=tuple(qrels.queries[place] for place in np.flatnonzero(some)),
        offsets=np.concatenate([[0], np.cumsum(counts[some])]),
        ranks=ranks[order],
        grades=qrels.grades[wanted][order],
        returned=returned[some],
        tied=query_tied[some],
        left_out=tuple(qrels.queries[place] for place in np.flatnonzero(~some)),
        unjudged=tuple(query for query in run.queries if query not in judged),
        items=None,
    )


def _look_up(run: Run, pairs: NDArray[np.int64], width: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rank of each pair `query * width + item` of the run, infinity without one; and whether its score is tied."""
    ranks, tied = np.full(len(pairs), np.inf), np.zeros(len(pairs), bool)
    known = np.flatnonzero(pairs >= 0)
    if not len(known) or not len(run.codes):
        return ranks, tied
    by_pair = known[np.argsort(pairs[known])]
    table = pairs[by_pair]
    judged_items = np.zeros(width, bool)
    judged_items[table % width] = True
    candidates = np.flatnonzero(judged_items[run.codes])
    rows = np.searchsorted(run.offsets, candidates, side="right") - 1
    found = rows * width + run.codes[candidates]
    at = np.minimum(np.searchsorted(table, found), len(table) - 1)
    hit = table[at] == found
    places, rows, targets = candidates[hit], rows[hit], by_pair[at[hit]]
    ranks[targets] = places - run.offsets[rows] + 1
    scores, last = run.scores, len(run.scores) - 1
    before = (places > run.offsets[rows]) & (scores[np.maximum(places - 1, 0)] == scores[places])
    after = (places + 1 < run.offsets[rows + 1]) & (scores[np.minimum(places + 1, last)] == scores[places])
    tied[targets] = before | after
    return ranks, tied


def _places(table: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.int64]:
    """Where each wanted name is in the table: int64, -1 for none."""
    places = {name: place for place, name in enumerate(table)}
    return np.fromiter((places.get(name, -1) for name in wanted), np.int64, len(wanted))
