"""Runs and judgements for tests: drawn at random with whatever tends to go wrong."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

Judgements = dict[str, dict[str, int]]
Results = dict[str, dict[str, float]]

# Ids that sort otherwise as numbers than as text, that hold white space, percent signs, and other scripts.
NAMES = ["1", "10", "9", "a", "B", "é", "日", "a b", "a%20b", "%", "z\udcff", "\t", "10 ", "😀", "~", "-1"]
# Few values, so that most scores are tied; two that differ as float64 and not as float32; both zeros.
SCORES = [0.0, -0.0, 1.0, 1.0 + 1e-9, -1.0, 0.5, 3e7, 3e7 + 1, -2.5, 1e-3]


def queries():
    return st.sampled_from([f"q{n}" for n in range(8)])


def judgements(names: list[str] = NAMES) -> st.SearchStrategy[Judgements]:
    grades = st.dictionaries(st.sampled_from(names), st.integers(-1, 3), max_size=len(names))
    return st.dictionaries(queries(), grades, max_size=6)


def results(names: list[str] = NAMES) -> st.SearchStrategy[Results]:
    scores = st.dictionaries(st.sampled_from(names), st.sampled_from(SCORES), max_size=len(names))
    return st.dictionaries(queries(), scores, max_size=6)


def random_case(
    seed: int, *, queries: int = 60, items: int = 300, ties: bool = True, depth: int = 120
) -> tuple[Judgements, Results]:
    """Lists of all lengths from nothing, grades 0 to 3, some queries on one side only, and many ties."""
    rng = np.random.default_rng(seed)
    names = [f"item-{n}" for n in rng.permutation(items)]
    judged: Judgements = {}
    found: Results = {}
    for number in range(queries):
        if number % 11 != 3:
            chosen = rng.choice(names, int(rng.integers(0, 25)), replace=False)
            judged[f"q{number}"] = {str(item): int(rng.integers(0, 4)) for item in chosen}
        if number % 13 != 5:
            chosen = rng.choice(names, int(rng.integers(0, depth)), replace=False)
            drawn = rng.integers(0, 12, len(chosen)) / 7 if ties else rng.permutation(len(chosen)) / 64
            found[f"q{number}"] = {str(item): float(score) for item, score in zip(chosen, drawn, strict=True)}
    return judged, found


def scored(judged: Judgements) -> Judgements:
    """The queries that count: those with a relevant item."""
    return {query: items for query, items in judged.items() if any(grade >= 1 for grade in items.values())}
