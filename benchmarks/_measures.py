"""Measures and tables that several benchmarks of the query layer share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
RESULTS = Path(__file__).parent / "results"


def interval(values: Floats, samples: int = 10_000) -> tuple[float, float, float]:
    """A mean with its 95 % bootstrap interval (percentile method, Efron and Tibshirani 1993); nan is left out."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(0, len(values), (samples, len(values)), dtype=np.int32)
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def ranks_of(scores: Floats, own: Floats) -> Floats:
    """The rank of column `own[i]` in row i, from 1; among scores within 1e-9, the middle of their ranks: (n,)."""
    mine = scores[np.arange(len(scores)), own][:, None]
    above = (scores > mine + 1e-9).sum(axis=1)
    equal = (np.abs(scores - mine) <= 1e-9).sum(axis=1)
    return np.asarray(above + (equal + 1) / 2)


def platt(excess: Floats, right: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and constant of the logistic curve that fits best (Platt 1999), by Newton's method."""
    x = np.stack([excess, np.ones_like(excess)], axis=1)
    found = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ found, -40, 40)))
        gradient = x.T @ (weights * (right - p))
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        found = found + step
        if np.abs(step).max() < 1e-9:
            break
    return float(found[0]), float(found[1])


def reliability(confidence: Floats, right: Floats, weights: Floats, bins: int = 10) -> list[dict[str, float]]:
    """For each tenth of the confidence: its mean, the share that is right, and how much of all lies there."""
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for number in range(bins):
        here = at == number
        weight = weights[here].sum()
        if weight > 0:
            rows.append(
                {
                    "from": number / bins,
                    "confidence": float(np.average(confidence[here], weights=weights[here])),
                    "right": float(np.average(right[here], weights=weights[here])),
                    "share": float(weight / weights.sum()),
                    "count": int(here.sum()),
                }
            )
    return rows


def calibration_error(rows: Sequence[Mapping[str, float]]) -> float:
    """The expected calibration error (Naeini et al., AAAI 2015)."""
    return float(sum(row["share"] * abs(row["confidence"] - row["right"]) for row in rows))


def percent(values: Any, digits: int = 1) -> str:
    """A rate, or a mean with its interval, in per cent."""
    if isinstance(values, tuple):
        return f"{100 * values[0]:.{digits}f} ({100 * values[1]:.{digits}f} to {100 * values[2]:.{digits}f})"
    return f"{100 * values:.{digits}f}"


def plain(values: Any) -> str:
    """A figure, or a mean with its interval."""
    if isinstance(values, tuple):
        return f"{values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f})"
    return f"{values:.3f}"


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.3g}' if isinstance(cell, float) else str(cell) for cell in row.values())} |")


def save(name: str, result: Any) -> None:
    """Put a result into benchmarks/results."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
