"""Measures of ranked lists. Each takes placements and gives one number for each query.

Notation: R is the number of relevant items of the query, r_1 < r_2 < ... are the ranks at which they came,
hits(k) is how many of them are at most k. Items that were not found have rank infinity, so that a query
without results has 0 in every measure here (and infinity as a rank) without being a special case.

Formulas are those of trec_eval (https://github.com/usnistgov/trec_eval) and of ir_measures (MacAvaney, Macdonald
and Ounis 2022, https://ir-measur.es), unless said otherwise.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mmsearch.evaluation.placements import Placements

Values = NDArray[np.float64]


def hits(placements: Placements, k: float) -> Values:
    """How many relevant items are among the first k."""
    return placements.sum(placements.ranks <= k)


def precision(placements: Placements, k: int) -> Values:
    """P@k = hits(k) / k (van Rijsbergen, Information Retrieval, 1979, ch. 7). Fewer than k results: still over k."""
    return hits(placements, k) / k


def recall(placements: Placements, k: int) -> Values:
    """R@k = hits(k) / R (van Rijsbergen 1979, ch. 7)."""
    return hits(placements, k) / placements.relevant


def f1(placements: Placements, k: int) -> Values:
    """F1@k = 2 P R / (P + R) = 2 hits(k) / (k + R), of P@k and R@k; 0 where both are 0 (van Rijsbergen 1979, ch. 7)."""
    return 2 * hits(placements, k) / (k + placements.relevant)


def f1_weights(placements: Placements, k: int) -> Values:
    """k + R: the mean of F1@k under these weights is F1 of all queries' counts pooled, 2 Σ hits(k) / Σ (k + R)."""
    return (k + placements.relevant).astype(np.float64)


def recall_weights(placements: Placements, k: int) -> Values:
    """R: the mean of R@k under these weights is the recall of all queries' counts pooled, Σ hits(k) / Σ R."""
    return placements.relevant.astype(np.float64)


def r_precision(placements: Placements) -> Values:
    """Rprec = hits(R) / R (Buckley and Voorhees, Retrieval System Evaluation, in TREC, 2005)."""
    cutoffs = np.repeat(placements.relevant, placements.relevant)
    return placements.sum(placements.ranks <= cutoffs) / placements.relevant


def success(placements: Placements, k: int) -> Values:
    """Success@k = 1 if hits(k) > 0 else 0. Papers on captions call its mean recall@k: see `captions`."""
    return (first_rank(placements) <= k).astype(np.float64)


def first_rank(placements: Placements) -> Values:
    """r_1, the rank of the first relevant item, from 1; infinity if none was found."""
    return placements.ranks[placements.offsets[:-1]]


def reciprocal_rank(placements: Placements, k: int | None = None) -> Values:
    """RR = 1 / r_1; RR@k is 0 beyond rank k (Kantor and Voorhees, The TREC-5 Confusion Track, 2000)."""
    rank = first_rank(placements)
    return np.where(rank <= (math.inf if k is None else k), 1 / rank, 0.0)


def average_precision(placements: Placements, k: int | None = None) -> Values:
    """AP = (1 / R) Σ_i i / r_i (Harman, Evaluation Issues in Information Retrieval, 1992).

    AP@k leaves out the terms with r_i > k and still divides by R, as trec_eval's map_cut_k and ranx do; some
    other code divides by min(k, R).
    """
    nth = _nth(placements)
    found = placements.ranks <= (np.finfo(np.float64).max if k is None else k)
    return placements.sum(np.where(found, nth / placements.ranks, 0.0)) / placements.relevant


def ndcg(placements: Placements, k: int | None = None, gain: str = "log2") -> Values:
    """nDCG@k = DCG@k / the DCG@k of the best possible order, DCG@k = Σ_{r_i <= k} gain_i / log2(1 + r_i).

    The best possible order is of all judged items, found or not.

    Args:
        placements: The ranks.
        k: The cutoff; None is the whole list.
        gain: "log2" takes the grade itself as the gain (Järvelin and Kekäläinen, Cumulated gain-based evaluation of
            IR techniques, TOIS 2002, with the discount of trec_eval), "exp-log2" takes 2^grade - 1 (Burges et al.,
            Learning to rank using gradient descent, ICML 2005).
    """
    gains = placements.grades.astype(np.float64) if gain == "log2" else np.exp2(placements.grades) - 1
    cutoff = math.inf if k is None else k
    discounted = np.where(placements.ranks <= cutoff, gains / np.log2(1 + placements.ranks), 0.0)
    ideal = gains[np.lexsort((-gains, placements.rows))]
    nth = _nth(placements)
    best = np.where(nth <= cutoff, ideal / np.log2(1 + nth), 0.0)
    return placements.sum(discounted) / placements.sum(best)


def interpolated_precision(placements: Placements, recall_level: float) -> Values:
    """IPrec@x: the highest precision at any rank whose recall is x or more (TREC; Manning et al. 2008, ch. 8.4).

    The level x is reached by relevant item number floor(x R + 0.9), in floats, as trec_eval and ranx have it. At
    multiples of 0.1 that is ceil(x R), but for the rounding of floats: 0.7 * 3 + 0.9 falls just short of 3.
    """
    needed = (recall_level * placements.relevant + 0.9).astype(np.int64)
    return _best_precision_from(placements, needed[:, None])[:, 0]


def interpolated_precisions(placements: Placements, recall_levels: Values) -> Values:
    """Interpolated precision at many recall levels: (Q, len(recall_levels)).

    The level x is reached by relevant item number ceil(x R), as the definition has it, so that levels may be as close
    together as one likes; level 0 by any rank.
    """
    needed = np.ceil(recall_levels[None, :] * placements.relevant[:, None] - 1e-9).astype(np.int64)
    return _best_precision_from(placements, needed)


def _best_precision_from(placements: Placements, needed: NDArray[np.int64]) -> Values:
    """The highest precision at any rank from that of relevant item number `needed` on: (Q, n) to (Q, n)."""
    nth = _nth(placements)
    precision_there = nth / placements.ranks  # 0 for what was not found
    # The highest from each item to the query's last: a running maximum backwards, of the values' places in their
    # order (whole numbers, so nothing is rounded), lifted so that no query reaches into the one before it.
    order = np.argsort(precision_there)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    lift = (len(placements.queries) - placements.rows) * len(order)
    highest = precision_there[order[np.maximum.accumulate((place + lift)[::-1])[::-1] - lift]]
    return highest[placements.offsets[:-1, None] + np.maximum(needed, 1) - 1]


def _nth(placements: Placements) -> Values:
    """1, 2, ..., R within each query: (P,)."""
    starts = np.repeat(placements.offsets[:-1], placements.relevant)
    return (np.arange(len(placements.ranks)) - starts + 1).astype(np.float64)
