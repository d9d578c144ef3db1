"""A linear map from one space to another, learned from captions that both text towers have read.

Both methods have a closed form. Rows are centred by the mean of their own side and brought to length 1, so that what
is learned is free of the place that a text tower's cone takes in its space, and every caption counts the same:

- *ridge regression* (Hoerl and Kennard 1970): W = (X'X + s I)^-1 X'Y, with s in units of the mean eigenvalue of X'X;
- *orthogonal Procrustes* (Schönemann 1966): the W with orthonormal rows or columns that makes the sum of all cosines
  between X W and Y as large as it can be. X'Y = U S V' gives W = U V'.

What is used, how strong a ridge is, and whether the way back is a fit of its own or the transpose, is decided by
captions about topics that the map was not made from.

Captions take the place of what they describe, as in C-MCR (Wang et al., "Connecting Multi-modal Contrastive
Representations", NeurIPS 2023), which joins CLIP and CLAP by texts, and in TextME (Hong et al., "TextME: Bridging
Unseen Modalities Through Text Descriptions", ICML 2026), which learns from centred texts alone. Both train small
networks with contrastive losses; a closed form takes seconds, and needs no more than a few thousand captions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors
from mmsearch.calibration import centred

Method = Literal["ridge", "procrustes"]
METHODS: tuple[Method, ...] = ("ridge", "procrustes")

STRENGTHS = (1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Strengths of a ridge that are tried, in units of the mean eigenvalue of X'X."""

_Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A map there and back.

    `there`: (d, e) float32, `back`: (e, d) float32; rows are mapped as `rows @ there`. `strength` and `back_strength`:
    of the ridge; None for Procrustes, and for a way back that is the transpose. `held_out`: for each method that was
    tried, the mean reciprocal rank of the right caption among all of a fold, both ways.
    """

    method: Method
    there: Vectors
    back: Vectors
    strength: float | None
    back_strength: float | None
    back_is_transpose: bool
    held_out: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """What ridge regression needs of its rows, so that a strength costs one product of matrices."""

    values: _Matrix
    axes: _Matrix
    cross: _Matrix

    @classmethod
    def of(cls, rows: _Matrix, targets: _Matrix) -> _Problem:
        values, axes = np.linalg.eigh(rows.T @ rows)
        return cls(values, axes, axes.T @ (rows.T @ targets))

    def solve(self, strength: float) -> _Matrix:
        scaled: _Matrix = self.cross / (self.values + strength * self.values.mean())[:, None]
        return np.asarray(self.axes @ scaled)


def ridge(rows: Vectors, targets: Vectors, strength: float) -> Vectors:
    """The W that makes |rows W - targets|^2 + s |W|^2 least, s being `strength` mean eigenvalues of rows' rows.

    Args:
        rows: (n, d), centred.
        targets: (n, e), centred.
        strength: above 0.

    Returns:
        (d, e) float32.
    """
    if strength <= 0:
        raise ValueError(f"the strength of a ridge is above 0, got {strength}")
    return _Problem.of(_double(rows), _double(targets)).solve(strength).astype(np.float32)


def procrustes(rows: Vectors, targets: Vectors) -> Vectors:
    """The semi-orthogonal W that makes the sum of inner products of `rows @ W` with `targets` greatest.

    Args:
        rows: (n, d), centred.
        targets: (n, e), centred.

    Returns:
        (d, e) float32; W W' = I where d <= e, and W' W = I where d >= e.
    """
    left, _, right = np.linalg.svd(_double(rows).T @ _double(targets), full_matrices=False)
    return np.asarray(left @ right, np.float32)


def fit(
    rows: Vectors,
    targets: Vectors,
    folds: Sequence[int],
    *,
    methods: Sequence[Method] = METHODS,
    on_step: Callable[[], None] | None = None,
) -> Fit:
    """Learn a map there and back, choosing by captions that it was not made from.

    Args:
        rows: (n, d) float32: the captions in one space, of length 1.
        targets: (n, e) float32: the same captions in the other.
        folds: (n,) which part each caption is of.
        methods: what may be chosen from.
        on_step: called after each part.

    Raises:
        ValueError: there are fewer than two parts, or shapes do not agree.
    """
    parts = np.asarray(folds)
    names = np.unique(parts)
    if len(rows) != len(targets) or len(parts) != len(rows) or len(names) < 2:
        raise ValueError(
            f"as many rows as targets in two parts or more, got {len(rows)}, {len(targets)} and {len(parts)}"
        )
    tried = [_tried(rows, targets, parts == name, methods, on_step) for name in names]
    mean = {key: float(np.mean([scores[key] for scores in tried])) for key in tried[0]}
    choices = {method: _choice(mean, method) for method in methods}
    held_out: dict[str, float] = {method: (mean[there] + mean[back]) / 2 for method, (there, back) in choices.items()}
    method = max(methods, key=lambda each: held_out[each])
    (_, _, strength), (kind, _, back_strength) = choices[method]
    x, y = centred(rows, rows.mean(axis=0)), centred(targets, targets.mean(axis=0))
    if method == "procrustes":
        there = procrustes(x, y)
        return Fit(method, there, np.ascontiguousarray(there.T), None, None, True, held_out)
    there = ridge(x, y, strength)
    own = kind == "own"
    back = ridge(y, x, back_strength) if own else np.ascontiguousarray(there.T)
    return Fit(method, there, back, strength, back_strength if own else None, not own, held_out)


_Key = tuple[str, str, float]
"""What was tried: the way ("there", or how back: "transpose" or "own"), the method, and the strength."""


def _choice(mean: Mapping[_Key, float], method: Method) -> tuple[_Key, _Key]:
    """The best way there, and the best way back that goes with it."""
    there = max((key for key in mean if key[:2] == ("there", method)), key=lambda key: mean[key])
    backs = [key for key in mean if key[1] == method and (key[0] == "own" or key == ("transpose", *there[1:]))]
    return there, max(backs, key=lambda key: mean[key])


def _tried(
    rows: Vectors,
    targets: Vectors,
    held: NDArray[np.bool_],
    methods: Sequence[Method],
    on_step: Callable[[], None] | None,
) -> dict[_Key, float]:
    """How well each candidate, made without the held captions, finds them: mean reciprocal ranks."""
    row_mean, target_mean = rows[~held].mean(axis=0), targets[~held].mean(axis=0)
    x, y = centred(rows[~held], row_mean), centred(targets[~held], target_mean)
    seen, wanted = centred(rows[held], row_mean), centred(targets[held], target_mean)
    scores: dict[_Key, float] = {}
    if "procrustes" in methods:
        turn = procrustes(x, y)
        scores["there", "procrustes", 0.0] = _mrr(seen @ turn, wanted)
        scores["transpose", "procrustes", 0.0] = _mrr(wanted @ turn.T, seen)
    if "ridge" in methods:
        there, back = _Problem.of(_double(x), _double(y)), _Problem.of(_double(y), _double(x))
        for strength in STRENGTHS:
            solved = there.solve(strength).astype(np.float32)
            scores["there", "ridge", strength] = _mrr(seen @ solved, wanted)
            scores["transpose", "ridge", strength] = _mrr(wanted @ solved.T, seen)
            scores["own", "ridge", strength] = _mrr(wanted @ back.solve(strength).astype(np.float32), seen)
    if on_step is not None:
        on_step()
    return scores


def _mrr(mapped: Vectors, wanted: Vectors) -> float:
    """The mean reciprocal rank of each row's own target among all targets, by cosine: its own length is no matter."""
    return float((1 / ranks(mapped @ wanted.T)).mean())


def ranks(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The rank, from 1, of each query's own item among equals the mean one. `scores`: (n, n), queries by items."""
    own = np.diagonal(scores)[:, None]
    above, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1
    return np.asarray(1 + above + equal / 2, np.float64)


def _double(matrix: Vectors) -> _Matrix:
    return np.asarray(matrix, np.float64)
