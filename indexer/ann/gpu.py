"""Candidates from a GPU, where this build of FAISS sees one. Not run on any of our machines, which have none.

A card compares a million vectors in half precision in a millisecond or two, so it needs no codes: all of a base's rows
lie on it, and what it finds is rescored as ever. FAISS has the codes that we use for processors only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from indexer.ann.rows import Ids
from indexer.halves import Halves, unit_of
from indexer.types import Vectors

DEEPEST = 2048  # results of a query that FAISS gives on a GPU
_BLOCK = 16_384
_SHARE = 0.5  # of a card's free memory that one base may take


def has_gpu() -> bool:
    """Whether this build of FAISS sees a GPU."""
    import faiss

    return int(getattr(faiss, "get_num_gpus", lambda: 0)()) > 0


def on_gpu(rows: Halves) -> OnGpu | None:
    """All rows on the first GPU in half precision; None where they do not fit, or there is none."""
    if not has_gpu():
        return None
    try:
        index = _flat(rows.shape[1], rows.nbytes)
        if index is None:
            return None
        for start in range(0, len(rows), _BLOCK):
            index.add(unit_of(rows[start : start + _BLOCK]))
    except RuntimeError:  # of CUDA: a card that is full, or of no use to this build; the processor does it
        return None
    return OnGpu(index)


class OnGpu:
    """Rows on a GPU."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def candidates(self, queries: Vectors, depth: int) -> Ids:
        """The rows nearest to each query: (q, depth) int64, -1 where there are no more."""
        found: Ids = self._index.search(np.ascontiguousarray(queries, np.float32), depth)[1]
        return found


def _flat(dim: int, size: int) -> Any:
    """An empty index on the first GPU; None where its memory is too small for `size` bytes."""
    import faiss

    module: Any = faiss
    if hasattr(module, "getFreeMemory") and size > _SHARE * module.getFreeMemory(0):
        return None
    config = module.GpuIndexFlatConfig()
    config.useFloat16 = True
    return module.GpuIndexFlatIP(module.StandardGpuResources(), dim, config)
