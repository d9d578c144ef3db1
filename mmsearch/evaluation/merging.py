"""Several sets as one: the directions of a data set, each with its own queries and its own gallery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from mmsearch.evaluation.ids import table_of
from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.placements import Placements
from mmsearch.evaluation.run import Run

T = TypeVar("T")


def prefixes(directions: Sequence[str]) -> list[str]:
    """What tells the queries of several sets apart: "text->image:", and nothing for a single set."""
    if len(directions) < 2:
        return [""] * len(directions)
    names = [direction or "set" for direction in directions]
    return [f"{name}:" if names.count(name) == 1 else f"{name}/{number}:" for number, name in enumerate(names, start=1)]


def merged_runs(runs: Sequence[tuple[str, Run]], name: str) -> Run:
    """Runs over different queries as one, each with a prefix for its queries."""
    items, places = table_of(item for _, run in runs for item in run.items)
    codes = [np.array([places[item] for item in run.items], np.int32)[run.codes] for _, run in runs]
    lengths = np.concatenate([np.zeros(1, np.int64), *(run.lengths for _, run in runs)])
    return Run(
        name,
        tuple(prefix + query for prefix, run in runs for query in run.queries),
        items,
        np.cumsum(lengths),
        np.concatenate(codes),
        np.concatenate([run.scores for _, run in runs]),
    )


def merged_placements(parts: Sequence[tuple[str, Placements]]) -> Placements:
    """Placements of different queries as one, each with a prefix for its queries."""
    counts = [part.relevant for _, part in parts]
    sizes = {part.items for _, part in parts}
    return Placements(
        queries=_named((prefix, part.queries) for prefix, part in parts),
        offsets=np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts])),
        ranks=np.concatenate([part.ranks for _, part in parts]),
        grades=np.concatenate([part.grades for _, part in parts]),
        returned=np.concatenate([part.returned for _, part in parts]),
        tied=np.concatenate([part.tied for _, part in parts]),
        left_out=_named((prefix, part.left_out) for prefix, part in parts),
        unjudged=_named((prefix, part.unjudged) for prefix, part in parts),
        items=sizes.pop() if len(sizes) == 1 else None,
    )


def merged_qrels(parts: Sequence[tuple[str, Mapping[str, Mapping[str, int]]]]) -> Qrels:
    """Judgements of different queries as one, each with a prefix for its queries."""
    return Qrels.from_mapping(
        {prefix + query: grades for prefix, judgements in parts for query, grades in judgements.items()}
    )


def merged_results(parts: Sequence[tuple[str, Mapping[tuple[str, str], T]]]) -> dict[tuple[str, str], T]:
    """Values of results, by query and item."""
    return {(prefix + query, item): value for prefix, part in parts for (query, item), value in part.items()}


def _named(parts: Iterable[tuple[str, Iterable[str]]]) -> tuple[str, ...]:
    return tuple(prefix + name for prefix, names in parts for name in names)
