"""What a library's pictures and frames look like: `indexer.likeness` on what the store holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from indexer.admitted import admitted
from indexer.ann import Ids
from indexer.filters import Filter
from indexer.likeness import LOOK_BYTES, Looks, near, stacked
from indexer.schema import Encoding, Segment
from indexer.store import Store

_MANY = 500  # values in one IN (...)


@dataclass(frozen=True, slots=True, eq=False)
class FoundLooks:
    """The looks of some segments, a row each.

    `ids` and `content_ids`: (n,) int64. `start_seconds` and `end_seconds`: (n,) float64, NaN for what has no times.
    `looks`: (n, LOOK_BYTES) uint8, for `indexer.likeness`. A segment without a look has no row.
    """

    ids: Ids
    content_ids: Ids
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    looks: Looks


def looks_of(
    store: Store,
    generation_id: int,
    *,
    content_ids: Sequence[int] | None = None,
    segment_ids: Sequence[int] | None = None,
) -> FoundLooks:
    """The looks of some contents' segments, of some segments, or of all when neither is named, by rising id."""
    query = (
        select(Segment.id, Encoding.content_id, Segment.start_seconds, Segment.end_seconds, Segment.look)
        .join(Encoding, Encoding.id == Segment.encoding_id)
        .where(Encoding.generation_id == generation_id, Segment.channel == "visual")
        .where(func.length(Segment.look) == LOOK_BYTES)
    )
    queries = [query]
    for column, wanted in ((Encoding.content_id, content_ids), (Segment.id, segment_ids)):
        if wanted is not None:
            some = [[int(id) for id in wanted[at : at + _MANY]] for at in range(0, len(wanted), _MANY)]
            queries = [query.where(column.in_(ids)) for query in queries for ids in some]
    with store.reading() as connection:
        rows = [tuple(row) for query in queries for row in connection.execute(query)]
    rows.sort()
    ids, contents, starts, ends, looks = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return FoundLooks(
        np.array(ids, np.int64),
        np.array(contents, np.int64),
        np.array(starts, np.float64),  # None becomes NaN
        np.array(ends, np.float64),
        stacked(looks),
    )


def looking_like(store: Store, generation_id: int, look: bytes, wanted: Filter) -> Ids:
    """The segments of a library that show the same picture as one look, as far as a filter lets them through: (n,)."""
    found = looks_of(store, generation_id)
    ids = found.ids[near(look, found.looks)]
    admits = admitted(store, generation_id, "visual", wanted)
    return ids if admits is None else np.intersect1d(ids, admits, assume_unique=True)
