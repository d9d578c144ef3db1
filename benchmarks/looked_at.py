"""How many vectors a search has to look at until no other can be among the ten best: by cosine, and less hubness.

Vectors are what `mini` gave to real things (_sets.py): drawings of openclipart asked with their titles and with other
drawings, and descriptions of Debian's packages asked with their summaries. A search that fetches by cosine is done when
the last cosine, less the least hubness of all, is below the tenth best score. One that asks with (query - lean) is done
when the last product, less the least rest, is: see mmsearch/nearest.py.

    python benchmarks/looked_at.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _measures import save, show
from _sets import Items, bank, packages, pictures

from indexer.types import Vectors
from mmsearch.calibration import Hubs, hubness, stretch
from mmsearch.nearest import line_above

_BEST = 10
_FIRST = 160  # what a search of stretched scores fetches by cosine before
_QUANTILES = (50, 90, 99)


def looked_at(items: Vectors, queries: Vectors, asked_before: Vectors, *, stretched: bool) -> tuple[Any, Any]:
    """How many of the items each query has to look at, by cosine and less hubness: (q,) each."""
    hubs = Hubs(asked_before, stretched=stretched)
    of = hubness(items, asked_before, stretched=stretched)
    linear = items @ hubs.lean
    rest = float((of - linear).min())
    cosines = (queries @ items.T).astype(np.float64)
    scores = stretch(cosines) if stretched else cosines
    enough = np.sort(scores - of, axis=1)[:, -_BEST]
    by_cosine = (scores - of.min() >= enough[:, None]).sum(axis=1)
    if not stretched:
        return by_cosine, (cosines - linear - rest >= enough[:, None]).sum(axis=1)
    less = []
    for own, last in zip(cosines, enough.tolist(), strict=True):
        high, low = min(float(np.sort(own)[-min(_FIRST, len(own))]), 0.9999), float(np.tanh(last + of.min()))
        if low >= high:
            less.append(_FIRST)
            continue
        slope, above = line_above(low, high)
        less.append(_FIRST + int((slope * own + above - linear - rest >= last).sum()))
    return by_cosine, np.array(less)


def main() -> None:
    """Ask, count, print a table and write a JSON file."""
    drawings, texts = pictures(), packages()
    rng = np.random.default_rng(0)

    def some(items: Items, vectors: Vectors) -> Vectors:
        return vectors[rng.choice(len(items), min(400, len(items)), replace=False)]

    own = some(drawings, drawings.items)[:256]
    beside = some(drawings, drawings.items)
    beside = beside + rng.normal(0, 0.3 / np.sqrt(beside.shape[1]), beside.shape)
    beside = np.asarray(beside / np.linalg.norm(beside, axis=1, keepdims=True), np.float32)
    ways = {
        "drawings, asked with titles": (drawings.items, some(drawings, drawings.queries), bank(), False),
        "drawings, asked with titles of others' texts": (drawings.items, some(texts, texts.queries), bank(), False),
        "drawings, asked with pictures near to one": (drawings.items, beside, own, True),
        "descriptions, asked with summaries": (texts.items, some(texts, texts.queries), bank(), False),
    }
    rows = []
    for name, (items, queries, asked_before, stretched) in ways.items():
        row: dict[str, Any] = {"": name, "of": len(items)}
        for way, counts in zip(
            ("by cosine", "less hubness"), looked_at(items, queries, asked_before, stretched=stretched), strict=True
        ):
            row[way] = ", ".join(f"{value:.0f}" for value in np.percentile(counts, _QUANTILES))
        rows.append(row)
    show(f"Looked at for the {_BEST} best: the median, the 90th and the 99th percentile", rows)
    save("looked_at", {"rows": rows})


if __name__ == "__main__":
    main()
