"""A query made ready for a library: its terms as vectors, its filters, and how it reaches each channel."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.filters import Filter
from indexer.types import ModelSpec
from mmsearch.plan import Plan
from mmsearch.query import Query
from mmsearch.readings import Reading


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A query, ready to be put to a library.

    `held`: for each term, the content that the library holds for it, or None. `readings`: each term as vectors; none
    of words that the model cannot read, which `remarks` tell of. The plan is of the other terms.
    """

    query: Query
    generation_id: int
    spec: ModelSpec
    wanted: Filter
    held: tuple[int | None, ...]
    readings: tuple[Reading, ...]
    plan: Plan
    remarks: tuple[str, ...] = ()
