"""What papers on captions report: recall@{1,5,10}, median and mean rank, with several captions for each picture.

In these papers recall@k is the share of queries for which *at least one* right item is among the first k: of the
five captions of a picture, one will do (Karpathy and Fei-Fei, Deep Visual-Semantic Alignments, CVPR 2015; CLIP, Radford
et al. 2021; CLIP_benchmark, zeroshot_retrieval.py). That is Success@k of the information retrieval literature, not its
recall: R@1 of a picture with five captions is at most 0.2. With one right item for each query the two are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmsearch.evaluation.metrics import ranking
from mmsearch.evaluation.placements import Placements

CUTOFFS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """One direction of a table in such a paper.

    Attributes:
        recall: Cutoff to the share of queries with a right item among the first so many, in [0, 1].
        median_rank: Median over queries of the rank of the first right item, from 1.
        mean_rank: Mean of the same; infinity if it was not found for some query.
        queries: How many queries there were.
    """

    recall: dict[int, float]
    median_rank: float
    mean_rank: float
    queries: int

    @property
    def rsum(self) -> float:
        """The sum of the recalls in percent, which papers add over both directions."""
        return 100 * sum(self.recall.values())


def caption_scores(placements: Placements, cutoffs: tuple[int, ...] = CUTOFFS) -> CaptionScores:
    """Recall@k in the papers' sense, median and mean rank. NaN without queries."""
    first = ranking.first_rank(placements)
    if not len(first):
        return CaptionScores(dict.fromkeys(cutoffs, float("nan")), float("nan"), float("nan"), 0)
    recall = {k: float((first <= k).mean()) for k in cutoffs}
    return CaptionScores(recall, float(np.median(first)), float(first.mean()), len(first))
