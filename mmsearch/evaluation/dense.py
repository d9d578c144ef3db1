"""Evaluation straight from a matrix of scores or from embeddings, block by block.

Nothing larger than a block of rows is ever held: a thousand queries against a hundred thousand items are a
hundred million scores, of which only the ranks of the relevant ones, and the first few of each row, are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.ids import Id, normalise_all, sort_keys, tie_places
from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.placements import Placements
from mmsearch.evaluation.run import Run

BLOCK_BYTES = 64 * 1024 * 1024  # of float32 scores; the sort keys of one row at a time come on top


def score_blocks(
    queries: NDArray[np.floating],
    items: NDArray[np.floating],
    *,
    normalise: bool = True,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[NDArray[np.float32]]:
    """Cosine similarities of all queries with all items, in blocks of whole rows.

    Args:
        queries: (Q, D) floats.
        items: (N, D) floats; may be half precision and may be a memory map, since it is read in slices.
        normalise: Divide vectors by their length first. False takes dot products as they are.
        block_bytes: How large a block may be; it has at least one row.

    Yields:
        (rows, N) float32 arrays, together Q rows in order. A vector of length 0 has similarity 0 with everything.

    Raises:
        UsageError: The shapes do not fit, or a vector holds NaN or infinity.
    """
    if queries.ndim != 2 or items.ndim != 2 or queries.shape[1] != items.shape[1]:
        raise UsageError(f"queries {queries.shape} and items {items.shape} must be two-dimensional, of one width")
    count, width = items.shape
    rows = max(1, min(len(queries), block_bytes // (4 * max(1, count))))
    columns = max(1, block_bytes // (4 * max(1, width)))
    for begin in range(0, len(queries), rows):
        left = _vectors(queries[begin : begin + rows], normalise)
        block = np.empty((len(left), count), np.float32)
        for at in range(0, count, columns):
            np.matmul(left, _vectors(items[at : at + columns], normalise).T, out=block[:, at : at + columns])
        yield block


def _vectors(vectors: NDArray[np.floating], normalise: bool) -> NDArray[np.float32]:
    kept: NDArray[np.float32] = np.asarray(vectors, np.float32)
    if not np.isfinite(kept).all():
        raise UsageError("a vector holds NaN or infinity")
    if not normalise:
        return kept
    length: NDArray[np.float32] = np.sqrt(np.einsum("nd,nd->n", kept, kept))[:, None]
    length[length == 0] = 1
    return kept / length


def rank_scores(
    scores: NDArray[np.floating] | Iterable[NDArray[np.floating]],
    queries: Sequence[Id],
    items: Sequence[Id],
    qrels: Qrels,
    *,
    depth: int = 100,
    exclude: Mapping[Id, Collection[Id]] | None = None,
    name: str = "run",
) -> tuple[Placements, Run]:
    """Rank all items for all queries: where the relevant ones came, and the first of each list.

    The ranks are exact and over all items, however small `depth` is. Ties are broken as in `Run`.

    Args:
        scores: (Q, N) floats, or an iterable of arrays (rows, N) that are Q rows together, as `score_blocks`
            makes them. Higher is better; minus infinity means not found. They are compared as float32.
        queries: Q ids.
        items: N ids.
        qrels: What is relevant. A judged query that is not among `queries` counts as one without results.
        depth: How many of the first items of each query go into the run.
        exclude: Items that are taken out of a query's list, such as the query's own picture. One that is judged
            relevant all the same counts as not found.
        name: The run's name.

    Raises:
        UsageError: The blocks do not fit the ids, a score is NaN, or an id comes twice.
    """
    names, table = normalise_all(queries, "the query"), normalise_all(items, "the item")
    places = tie_places(table)
    by_place = np.argsort(places).astype(np.int32)
    codes_of = {item: code for code, item in enumerate(table)}
    relevant = _codes_by_query(qrels, codes_of)
    excluded = _codes_of_excluded(exclude or {}, codes_of)
    depth = min(max(0, depth), len(table))
    ranks: dict[str, NDArray[np.float64]] = {}
    returned, tied = np.zeros(len(names), np.int64), np.zeros(len(names), bool)
    tops: list[NDArray[np.int64]] = []
    number = 0
    for block in _blocks(scores, len(table)):
        if number + len(block) > len(names):
            raise UsageError(f"there are more rows of scores than the {len(names)} queries")
        for row in block:
            query = names[number]
            if query in excluded:
                row[excluded[query]] = -np.inf
            keys = sort_keys(row, places)
            returned[number] = np.count_nonzero(row != -np.inf)
            wanted = relevant.get(query)
            if wanted is not None:
                ranks[query], tied[number] = _ranks(row, keys, wanted)
            tops.append(_top(keys, min(depth, int(returned[number]))))
            number += 1
    if number < len(names):
        raise UsageError(f"there are {number} rows of scores and {len(names)} queries; give a row for each query")
    placements = _assemble(qrels, names, ranks, returned, tied, len(table))
    return placements, _run(name, names, table, tops, by_place)


def _blocks(scores: NDArray[np.floating] | Iterable[NDArray[np.floating]], width: int) -> Iterator[NDArray[np.float32]]:
    """Blocks of rows that may be written to, checked."""
    if isinstance(scores, np.ndarray) and scores.ndim != 2:
        raise UsageError(f"scores must have two dimensions, queries and items, not the shape {scores.shape}")
    for block in _slices(scores, width) if isinstance(scores, np.ndarray) else scores:
        if block.ndim != 2 or block.shape[1] != width:
            raise UsageError(f"a block of scores has shape {block.shape}; expected (rows, {width}), a column an item")
        with np.errstate(over="ignore"):
            kept = np.array(block, np.float32)
        if np.isnan(kept).any() or (kept == np.inf).any():
            raise UsageError("a score is NaN or infinity; use minus infinity for what was not found")
        yield kept


def _slices(scores: NDArray[np.floating], width: int) -> Iterator[NDArray[np.floating]]:
    step = max(1, BLOCK_BYTES // (4 * max(1, width)))
    return (scores[at : at + step] for at in range(0, len(scores), step))


def _ranks(
    row: NDArray[np.float32], keys: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.float64], bool]:
    """Ranks of the items `wanted` (codes, -1 for those that are not there), and whether one of them is tied."""
    ranks = np.full(len(wanted), np.inf)
    there = np.flatnonzero(wanted >= 0)
    there = there[row[wanted[there]] != -np.inf]
    own = row[wanted[there]]
    ordered = np.sort(row)
    end = np.searchsorted(ordered, own, side="right")
    tied = bool((end - np.searchsorted(ordered, own) > 1).any())
    if tied:  # the ids decide, and the keys know them
        end = np.searchsorted(np.sort(keys), keys[wanted[there]], side="right")
    ranks[there] = len(row) - end + 1
    return ranks, tied


def _top(keys: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """The `depth` greatest keys, greatest first."""
    if depth == 0:
        return keys[:0]
    best = keys if depth == len(keys) else np.partition(keys, len(keys) - depth)[len(keys) - depth :]
    return np.sort(best)[::-1]


def _codes_by_query(qrels: Qrels, codes_of: Mapping[str, int]) -> dict[str, NDArray[np.int64]]:
    """The codes of each query's relevant items, in the order of the judgements; -1 for an item that is not there."""
    mapped = np.fromiter((codes_of.get(item, -1) for item in qrels.items), np.int64, len(qrels.items))
    wanted = {}
    for place, query in enumerate(qrels.queries):
        span = slice(qrels.offsets[place], qrels.offsets[place + 1])
        codes = qrels.codes[span][qrels.grades[span] >= 1]
        if len(codes):
            wanted[query] = mapped[codes]
    return wanted


def _codes_of_excluded(
    exclude: Mapping[Id, Collection[Id]], codes_of: Mapping[str, int]
) -> dict[str, NDArray[np.int64]]:
    found = {}
    for query, items in exclude.items():
        codes = [codes_of[str(item)] for item in items if str(item) in codes_of]
        found[str(query)] = np.array(codes, np.int64)
    return found


def _assemble(
    qrels: Qrels,
    names: tuple[str, ...],
    ranks: Mapping[str, NDArray[np.float64]],
    returned: NDArray[np.int64],
    tied: NDArray[np.bool_],
    items: int,
) -> Placements:
    counts = qrels.relevant_counts
    some = np.flatnonzero(counts > 0)
    kept = tuple(qrels.queries[place] for place in some)
    wanted = qrels.grades >= 1
    rows = np.repeat(np.arange(len(qrels.queries)), np.diff(qrels.offsets))[wanted]
    nothing = [np.full(int(counts[place]), np.inf) for place in some]
    flat = np.concatenate([np.zeros(0), *(ranks.get(q, none) for q, none in zip(kept, nothing, strict=True))])
    order = np.lexsort((flat, rows))
    numbers = {name: number for number, name in enumerate(names)}
    at = np.fromiter((numbers.get(query, -1) for query in kept), np.int64, len(kept))
    judged = set(qrels.queries)
    present = at >= 0
    return Placements(
        queries=kept,
        offsets=np.concatenate([[0], np.cumsum(counts[some])]),
        ranks=flat[order],
        grades=qrels.grades[wanted][order],
        returned=np.where(present, returned[at] if len(returned) else 0, 0),
        tied=np.where(present, tied[at] if len(tied) else False, False),
        left_out=tuple(query for query, count in zip(qrels.queries, counts, strict=True) if count == 0),
        unjudged=tuple(name for name in names if name not in judged),
        items=items,
    )


def _run(
    name: str,
    queries: tuple[str, ...],
    items: tuple[str, ...],
    tops: Sequence[NDArray[np.int64]],
    by_place: NDArray[np.int32],
) -> Run:
    keys = np.concatenate([np.zeros(0, np.int64), *tops])
    lengths = np.array([len(top) for top in tops], np.int64)
    bits = (keys >> 32).astype(np.int32)
    scores = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.float32)  # sort_keys, undone
    codes = by_place[keys & 0xFFFFFFFF] if len(keys) else np.zeros(0, np.int32)
    return Run(name, queries, items, np.concatenate([[0], np.cumsum(lengths)]), codes, scores)
