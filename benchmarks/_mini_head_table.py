"""The tables of train_mini_head.py: what seeds differ by, and what a part of the recipe is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEPTH = 10
Measured = Mapping[str, Any]
"""What `Table.measure` gives: by set, recall, ranks and the rest."""


def header(rows: Sequence[Measured]) -> str:
    """Of `line`: recall@10 and mean reciprocal rank for each set."""
    names = [f"{name} ({row['n']})" for name, row in rows[0].items()]
    return (
        f"| recall@{DEPTH}, % / MRR | {' | '.join(names)} | same label where sure |\n|---|{'---|' * (len(names) + 1)}"
    )


def line(name: str, rows: Sequence[Measured]) -> str:
    """A recipe's mean over seeds, with the least and the greatest of them."""
    cells = []
    for of in rows[0]:
        recalls = [100 * row[of][f"recall@{DEPTH}"] for row in rows]
        spread = f" ({min(recalls):.1f} to {max(recalls):.1f})" if len(rows) > 1 else ""
        mrr = np.mean([row[of]["mrr"] for row in rows])
        cells.append(f"{np.mean(recalls):.1f}{spread} / {mrr:.3f}")
    same = [row.get("stamp photographs", {}).get("same_label") for row in rows]
    cells.append(f"{100 * np.mean(same):.0f} %" if None not in same else "")
    return f"| {name} | {' | '.join(cells)} |"


def difference(rows: Sequence[Measured], base: Sequence[Measured], of: str) -> tuple[float, float, float]:
    """Recall@10 of one recipe less that of another, in points, with a 95 % interval.

    Each picture counts by the share of seeds that find it; pictures are drawn again (paired bootstrap, percentile
    method, Efron and Tibshirani 1993). What seeds differ by is not in the interval but as far as their mean evens it.
    """
    gains = _found(rows, of) - _found(base, of)
    drawn = np.random.default_rng(0).integers(0, len(gains), (10_000, len(gains)), dtype=np.int32)
    low, high = np.percentile(gains[drawn].mean(axis=1), [2.5, 97.5])
    return 100 * float(gains.mean()), 100 * float(low), 100 * float(high)


def _found(rows: Sequence[Measured], of: str) -> NDArray[np.float64]:
    """The share of seeds that find each picture among the first ten: (n,)."""
    return np.mean([np.asarray(row[of]["ranks"]) <= DEPTH for row in rows], axis=0)


def differences(every: Mapping[str, Sequence[Measured]], base: str) -> str:
    """A table of all recipes but one, by what they gain over that one."""
    sets = list(every[base][0])
    lines = [f"| points of recall@{DEPTH} over: {base} | {' | '.join(sets)} |", f"|---|{'---|' * len(sets)}"]
    for name, rows in every.items():
        if name != base:
            cells = ["{:+.1f} ({:+.1f} to {:+.1f})".format(*difference(rows, every[base], of)) for of in sets]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
