"""How several terms become one ranking, as functions of arrays.

Two families, as the literature of multimodal retrieval has them (Atrey et al., "Multimodal fusion for multimedia
analysis", Multimedia Systems 2010):

- *feature level*: the terms' vectors become one, in a space that all of them reach (`weighted_sum`), or their cosines
  are weighed as those of one long vector would be (`concatenation`), or by how well each agrees with the candidate
  (`attention`);
- *decision level*: each term ranks alone, and the rankings are put together (`weighted_mean`, `reciprocal_rank`,
  `borda`).

A negative weight lowers what its term is near to and leaves all else as it is. In every matrix below, rows are terms
and columns are candidates, and nan says that a term does not reach a candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors

Scores = NDArray[np.float64]

RRF_K = 60
"""Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet", SIGIR 2009, found 60 on TREC data."""

CERTAIN = 10.0
"""Excess over chance, where the confidence is 99.5 %."""

ATTENTION_TEMPERATURE = 1.0
"""In the unit of the scores given to `attention`: excess over chance, where 1 is one Gumbel scale."""


def levelled(excess: Scores) -> Scores:
    """Scores over chance, those above `CERTAIN` brought nearer to it, in the same order: the same shape, float64.

    What is certain cannot become more so. Terms of different kinds are certain at different heights: an exact copy of a
    picture lies hundreds of units above chance, where words reach ten, and would outweigh whatever they say.
    """
    over = np.maximum(excess - CERTAIN, 0.0)
    return np.asarray(np.minimum(excess, CERTAIN) + np.log1p(over))


def weighted_sum(vectors: Sequence[Vectors], weights: Sequence[float]) -> Vectors:
    """One vector in the direction of a weighted sum: (dim,) float32 of length 1.

    Its cosine with anything is the weighted sum of the vectors' cosines, over the length of their sum. Vectors that
    cancel out give the heaviest of them.

    Args:
        vectors: (dim,) float32 of length 1 each, in one space.
        weights: positive, one each.
    """
    heavy = np.asarray(weights, np.float64)
    total: Any = np.einsum("td,t->d", np.stack(vectors).astype(np.float64), heavy / heavy.max())
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        return vectors[int(np.argmax(weights))]
    return np.asarray(total / length, np.float32)


def concatenation(cosines: Scores, weights: Sequence[float]) -> Scores:
    """The weighted mean of cosines, 0 where a term does not reach: (c,) float64.

    It is the cosine of the terms' vectors, concatenated with the square roots of their weights, with the
    candidate's vectors concatenated likewise.
    """
    chosen, heavy = _positive(cosines, weights)
    return np.asarray(np.einsum("tc,t->c", np.nan_to_num(chosen, nan=0.0), heavy) / heavy.sum())


def attention(scores: Scores, weights: Sequence[float], temperature: float = ATTENTION_TEMPERATURE) -> Scores:
    """The terms' scores, each weighed by how well its term agrees with the candidate: (c,) float64.

    weight_t * softmax over t of (score_t / temperature), brought to the sum 1 (scaled dot-product attention, Vaswani et
    al. 2017, with the candidate as the query and the terms as keys and values). Between the mean and the best.
    """
    chosen, heavy = _positive(scores, weights)
    filled = np.where(np.isnan(chosen), -np.inf, chosen)
    best = filled.max(axis=0, keepdims=True)
    shares = heavy[:, None] * np.exp((filled - np.where(np.isfinite(best), best, 0)) / temperature)
    total = shares.sum(axis=0)
    mixed = (shares * np.nan_to_num(chosen, nan=0.0)).sum(axis=0)
    return np.asarray(np.where(total > 0, mixed / np.where(total > 0, total, 1), -np.inf))


def weighted_mean(scores: Scores, weights: Sequence[float], missing: float = 0.0) -> Scores:
    """The weighted mean of calibrated scores: (c,) float64. `missing` stands where a term does not reach."""
    chosen, heavy = _positive(scores, weights)
    return np.asarray(np.einsum("tc,t->c", np.where(np.isnan(chosen), missing, chosen), heavy) / heavy.sum())


def reciprocal_rank(scores: Scores, weights: Sequence[float], k: int = RRF_K) -> Scores:
    """The sum over terms of weight / (k + rank), rank 1 being the best: (c,) float64; equal scores share a rank."""
    ranks, heavy = _ranks(scores), np.asarray(weights, np.float64)
    return np.asarray(np.einsum("tc,t->c", np.where(np.isnan(ranks), 0.0, 1 / (k + ranks)), heavy))


def borda(scores: Scores, weights: Sequence[float]) -> Scores:
    """The sum over terms of weight * the share of candidates that it ranks below: (c,) float64 (Borda 1781)."""
    ranks, heavy = _ranks(scores), np.asarray(weights, np.float64)
    count = max(scores.shape[1], 1)
    return np.asarray(np.einsum("tc,t->c", np.where(np.isnan(ranks), 0.0, (count - ranks) / count), heavy))


def lowered(scores: Scores, negative: Scores, weights: Sequence[float], positive_weight: float) -> Scores:
    """Scores less what negative terms take off: (c,) float64.

    Only what lies above what any item scores on average is taken off, so that a negative term never lifts anything.

    Args:
        scores: (c,) of the positive terms together.
        negative: (n, c) scores of the negative terms above their mean, in the unit of `scores`; nan does not lower.
        weights: n weights; their sizes count.
        positive_weight: the sum of the positive terms' weights: what a weight is heavy or light against.
    """
    if not len(negative):
        return scores
    sizes = np.abs(np.asarray(weights, np.float64)) / positive_weight
    return np.asarray(scores - np.einsum("tc,t->c", np.maximum(np.nan_to_num(negative, nan=0.0), 0.0), sizes))


def _positive(scores: Scores, weights: Sequence[float]) -> tuple[Scores, Scores]:
    heavy = np.asarray(weights, np.float64)
    if (heavy <= 0).any() or len(heavy) != len(scores):
        raise ValueError(f"{len(scores)} rows need as many positive weights, got {list(weights)}")
    return scores, heavy


def _ranks(scores: Scores) -> Scores:
    """The rank of each candidate for each term, from 1; equal ones share the mean of theirs, nan stays nan."""
    ranks = np.full(scores.shape, np.nan)
    for row, out in zip(scores, ranks, strict=True):
        there = ~np.isnan(row)
        values, inverse, counts = np.unique(-row[there], return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        out[there] = (last - (counts - 1) / 2)[inverse] if len(values) else []
    return ranks
