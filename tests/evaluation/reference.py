"""The measures once more, written plainly, one query and one rank at a time: what the tests hold ours against."""

from __future__ import annotations

import math

import numpy as np

from mmsearch.evaluation.ids import token


def ranked(results: dict[str, float]) -> list[str]:
    """Items by score as float32, then by id, both falling: trec_eval's order."""
    return sorted(results, key=lambda item: (np.float32(results[item]), token(item).encode()), reverse=True)


def measure(name: str, k: float | None, results: dict[str, float], judged: dict[str, int], rel: int = 1) -> float:
    order = ranked(results)
    good = {item for item, grade in judged.items() if grade >= rel}
    first = order if k is None or name == "IPrec" else order[: int(k)]
    hits = sum(item in good for item in first)
    precisions = [sum(i in good for i in order[:n]) / n for n in range(1, len(order) + 1)]
    if name == "P":
        return hits / k
    if name == "R":
        return hits / len(good)
    if name == "F1":
        p, r = hits / k, hits / len(good)
        return 2 * p * r / (p + r) if p + r else 0.0
    if name == "Rprec":
        return sum(item in good for item in order[: len(good)]) / len(good)
    if name == "Success":
        return float(hits > 0)
    if name == "RR":
        return next((1 / rank for rank, item in enumerate(first, 1) if item in good), 0.0)
    if name == "AP":
        return sum(precisions[rank] for rank, item in enumerate(first) if item in good) / len(good)
    if name in ("nDCG", "nDCG-exp"):
        gain = (lambda g: max(g, 0)) if name == "nDCG" else (lambda g: 2.0 ** max(g, 0) - 1)
        cutoff = None if k is None else int(k)
        best = sorted(map(gain, judged.values()), reverse=True)[:cutoff]
        got = [gain(judged.get(item, 0)) for item in first]
        return _dcg(got) / _dcg(best)
    if name == "IPrec":
        needed = int(k * len(good) + 0.9)  # trec_eval's rounding
        reached = [p for n, p in enumerate(precisions, 1) if len(good.intersection(order[:n])) >= needed]
        return max(reached, default=0.0)
    if name == "MedR":
        return next((float(rank) for rank, item in enumerate(order, 1) if item in good), math.inf)
    raise AssertionError(name)


def _dcg(gains: list[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
