"""What one system found for one set of queries, however it ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmsearch.evaluation.ann import AnnRecall
from mmsearch.evaluation.cases import Skipped
from mmsearch.evaluation.metrics.moments import MomentScores
from mmsearch.evaluation.placements import Placements
from mmsearch.evaluation.run import Run

Result = tuple[str, str]
"""A query's id and an item's."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The answers to all queries of one set.

    Attributes:
        run: The first results of each query.
        placements: Where relevant items came among *all* items; None where only the run is known.
        surest: Query to how sure its best result is: the confidence of the engine, or a cosine; without an entry for a
            query that has none. `is_confidence` says which of the two.
        confidences: (query, item) to the confidence of that result, where the engine gives one.
        cosines: (query, item) to its cosine, where scores in the run are only places in an order.
        starts: (query, item) to where in the file the best moment starts, in seconds.
        kinds: Item to kind of file.
        moments: What is compared to how well spans in time fit.
        ann: Channel to the recall of its index.
        unusable: Items that cannot be found and queries that cannot be asked, each with the reason.
        notes: Sentences that a reader must know.
    """

    run: Run
    placements: Placements | None = None
    surest: Mapping[str, float] = field(default_factory=dict)
    is_confidence: bool = False
    confidences: Mapping[Result, float] = field(default_factory=dict)
    cosines: Mapping[Result, float] = field(default_factory=dict)
    starts: Mapping[Result, float] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    moments: Mapping[str, MomentScores] = field(default_factory=dict)
    ann: Mapping[str, AnnRecall] = field(default_factory=dict)
    unusable: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
