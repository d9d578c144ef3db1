"""Vectors that are scanned: each is compared with the query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer.ann.rows import Ids, Mask, RowsOfIds
from indexer.ann.threads import one_thread, threads_for
from indexer.halves import STORED_DTYPE, Halves, scales_of
from indexer.types import Vectors

MARGIN = 32
"""Vectors that are compared in full beyond those that are wanted. FAISS compares vectors as they are stored, whose
lengths are 1 but for rounding, and we want them as of length 1: orders differ where scores agree to four digits."""

_GATHERED = 16_384  # chosen vectors that are taken out of the others and compared on their own
_BLOCK = 32_768  # rows that are copied at once


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Vectors with their ids: (n,) int64 and (n, dim) float16; `alive` are those that count, None for all."""

    ids: Ids
    halves: Halves
    alive: Mask | None
    owner: Any  # of the memory that `halves` is a view of

    def __len__(self) -> int:
        return len(self.ids) if self.alive is None else int(self.alive.sum())

    def blocks(self, size: int = 16_384) -> Iterator[tuple[Ids, Halves]]:
        """All that count, in blocks."""
        for start in range(0, len(self.ids), size):
            ids, halves = self.ids[start : start + size], self.halves[start : start + size]
            keep = None if self.alive is None else self.alive[start : start + size]
            yield (ids, halves) if keep is None or keep.all() else (ids[keep], halves[keep])


class Exact:
    """Vectors in memory, scanned by FAISS in half precision. Rows are numbered as they came.

    A `frozen` one is not added to: someone reads its rows, or adding would copy all of them.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.ids: Ids = np.empty(0, np.int64)
        self.scales: Vectors = np.empty(0, np.float32)
        """What brings each row to length 1."""
        self.frozen = False
        self._scanned = scanner(dim)
        self._rows_of: RowsOfIds | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> Halves:
        """All vectors: (n, dim) float16, read-only, good until more are added."""
        return _view(self._scanned, self.dim)

    def snapshot(self) -> Rows:
        """What is here now, which stays good while this part is frozen, also when vectors are removed from it."""
        return Rows(self.ids, self.rows, None, self._scanned)

    def rows_of(self, ids: Ids) -> Ids:
        """The row of each id, -1 for one that is not here."""
        if self._rows_of is None:
            self._rows_of = RowsOfIds(self.ids)
        return self._rows_of(ids)

    def add(self, ids: Ids, rows: Halves) -> None:
        """Add vectors, (n, dim) float16."""
        fill(self._scanned, rows)
        self.ids = np.concatenate([self.ids, ids])
        self.scales = np.concatenate([self.scales, scales_of(rows)])
        self._rows_of = None

    def remove(self, rows: Ids) -> None:
        """Remove these rows; later ones move up."""
        keep = np.ones(len(self), bool)
        keep[rows] = False
        kept = scanner(self.dim)
        fill(kept, self.rows[keep])
        self._scanned, self.ids, self.scales, self._rows_of = kept, self.ids[keep], self.scales[keep], None

    def search(self, queries: Vectors, k: int, chosen: Mask | None) -> tuple[Vectors, Ids]:
        """The k best rows of each query among those chosen, of which there must be k: scores and rows, (q, k)."""
        return best_of_found(*compared(self._scanned, self.scales, queries, k + MARGIN, chosen), k)


def scanner(dim: int) -> Any:
    """An empty index of FAISS that scans vectors in half precision."""
    import faiss

    index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True  # there is nothing to learn for this one
    return index


def fill(scanned: Any, rows: Halves) -> None:
    """Add rows to a scanner as they are: its codes are numbers in half precision."""
    if len(rows):
        codes = np.ascontiguousarray(rows, STORED_DTYPE).view(np.uint8)
        scanned.add_sa_codes(codes, np.arange(len(rows)))


def _view(scanned: Any, dim: int) -> Halves:
    import faiss

    if not scanned.ntotal:
        return np.empty((0, dim), STORED_DTYPE)
    codes = faiss.rev_swig_ptr(scanned.codes.data(), scanned.ntotal * dim * STORED_DTYPE.itemsize)
    view: Halves = codes.view(STORED_DTYPE).reshape(-1, dim)
    view.flags.writeable = False
    return view


def selector(chosen: Mask | None) -> Any:
    """What keeps FAISS to the chosen rows; None for all."""
    import faiss

    return None if chosen is None else faiss.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))


def compared(scanned: Any, scales: Vectors, queries: Vectors, k: int, chosen: Mask | None) -> tuple[Vectors, Ids]:
    """The k rows of a scanner nearest to each query, with their true scores, in FAISS's order: (q, k).

    Where there are fewer, or what is stored is no number, the row is -1 and the score -inf.
    """
    import faiss

    params = None if chosen is None else faiss.SearchParameters(sel=selector(chosen))
    with threads_for(len(queries)):
        scores, rows = scanned.search(queries, max(1, min(k, scanned.ntotal)), params=params)
    scale = scales[rows]
    sound = (rows >= 0) & (scale > 0)
    return np.where(sound, scores * np.where(sound, scale, 0), -np.inf), np.where(sound, rows, -1)


def best_of_found(scores: Vectors, rows: Ids, k: int) -> tuple[Vectors, Ids]:
    """The k best of what was found, (q, n): equal scores by row, rising."""
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def rescored(rows: Halves, scales: Vectors, queries: Vectors, candidates: Ids, k: int) -> tuple[Vectors, Ids]:
    """The k best of each query's candidates by their true scores: scores and rows, (q, k).

    Args:
        rows: (n, dim) float16.
        scales: what brings them to length 1, (n,) float32.
        queries: (q, dim) float32.
        candidates: (q, c) int64, -1 for none.
        k: how many of them; where a query has fewer, its rows end with -1 and its scores with -inf.
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    found = np.full((len(queries), k), -1, np.int64)

    # In one thread: each query is a few short calls, and threads would wait for Python in turns (twice as long).
    with one_thread():
        gathered = scanner(rows.shape[1])  # FAISS reads half precision four times as fast as NumPy
        for at, query in enumerate(queries):
            some = candidates[at]
            some = np.sort(some[some >= 0])  # in the order of memory
            if not len(some):
                continue
            _gather(gathered, rows, some)
            own, order = compared(gathered, scales[some], query[None], k + MARGIN, None)
            own, order = best_of_found(own, np.where(order < 0, -1, some[order]), k)
            scores[at, : own.shape[1]], found[at, : own.shape[1]] = own[0], order[0]
    return scores, found


def _gather(scanned: Any, rows: Halves, some: Ids) -> None:
    """Put some rows in place of all that a scanner holds. They are copied once, into its own memory."""
    import faiss

    size = rows.shape[1] * STORED_DTYPE.itemsize * len(some)
    scanned.codes.resize(size)
    codes = faiss.rev_swig_ptr(scanned.codes.data(), size).view(STORED_DTYPE)
    np.take(rows, some, axis=0, out=codes.reshape(len(some), -1), mode="clip")  # "raise" would copy them twice
    scanned.ntotal = len(some)


def scan(rows: Halves, scales: Vectors, queries: Vectors, k: int, chosen: Mask | None) -> tuple[Vectors, Ids]:
    """The k best rows of each query among those chosen, from rows that FAISS does not hold: scores and rows, (q, k)."""
    if chosen is not None and np.count_nonzero(chosen) <= _GATHERED:
        return rescored(rows, scales, queries, np.tile(np.flatnonzero(chosen), (len(queries), 1)), k)
    scores = np.empty((len(queries), 0), np.float32)
    found = np.empty((len(queries), 0), np.int64)
    scanned = scanner(rows.shape[1])
    for start in range(0, len(rows), _BLOCK):
        here = slice(start, start + _BLOCK)
        scanned.reset()
        fill(scanned, rows[here])
        own, at = compared(scanned, scales[here], queries, k + MARGIN, None if chosen is None else chosen[here])
        scores = np.concatenate([scores, own], axis=1)
        found = np.concatenate([found, np.where(at < 0, -1, at + start)], axis=1)
        if scores.shape[1] > 8 * k + _BLOCK:
            scores, found = best_of_found(scores, found, k)
    return best_of_found(scores, found, k)
