"""Which row an id has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]

_SPREAD = 8  # ids per row up to which a table of all ids between the lowest and the highest is worth its memory


class RowsOfIds:
    """From ids to the rows in which they lie. The ids may come in any order, each once."""

    def __init__(self, ids: Ids) -> None:
        self._first = int(ids.min()) if len(ids) else 0
        span = int(ids.max()) - self._first + 1 if len(ids) else 0
        self._table: NDArray[np.int32] | None = None
        if span <= _SPREAD * len(ids) and len(ids) < 2**31:
            self._table = np.full(span, -1, np.int32)
            self._table[ids - self._first] = np.arange(len(ids), dtype=np.int32)
        else:
            self._order = np.argsort(ids, kind="stable")
            self._sorted = ids[self._order]

    def __call__(self, ids: Ids) -> Ids:
        """The row of each id, (n,) int64; -1 for an id that has none."""
        if self._table is not None:
            at = ids - self._first
            there = (at >= 0) & (at < len(self._table))
            return np.where(there, self._table[np.where(there, at, 0)] if len(self._table) else -1, -1).astype(np.int64)
        at = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
        return np.where(self._sorted[at] == ids, self._order[at], -1).astype(np.int64)
