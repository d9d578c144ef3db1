"""What is learned from, what training is stopped by, and what the result is measured on: never the same things.

Pairs that share a side, or parts of one file, stay together, through any number of steps: a film's frames are not to be
learned from and measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError

FEWEST = 40
"""Pairs, and groups of pairs that share nothing, under which nothing is learned."""

_MOST_HELD_OUT = 2_000
_HALVING = 300  # pairs under which a larger part is held out, for an interval that can say anything


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of pairs, each (n,) int64, rising: to learn from, to stop by, to measure on."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def groups_of(keys: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    """A number for each pair, the same for pairs that are linked by sides in common: (n,) int64.

    Args:
        keys: what each pair's two sides are known by.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for one, other in keys:
        parent[root(one)] = root(other)
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(root(one), len(numbers)) for one, _ in keys], np.int64)


def split(groups: NDArray[np.int64], seed: int) -> Split:
    """Divide pairs by whole groups, drawn at random.

    A group that is larger than the part it would fall into is learned from.

    Args:
        groups: (n,) the group of each pair.
        seed: of the draw.

    Raises:
        UsageError: there are too few pairs, or too few that have nothing in common.
    """
    count = len(groups)
    if count < FEWEST:
        raise UsageError(
            f"{count} pairs are too few to learn from and to know whether it helped; at least {FEWEST} are needed, and"
            " some hundreds are better"
        )
    unique, sizes = np.unique(groups, return_counts=True)
    if len(unique) < FEWEST:
        raise UsageError(
            f"{count} pairs were found, but they come from only {len(unique)} groups that share no file and no caption;"
            f" at least {FEWEST} such groups are needed, so that what is measured was not learned"
        )
    share = 1 / 3 if count < _HALVING else 1 / 5
    # What hangs together too much to be held out is learned from, and the rest is divided.
    movable = int(sizes[sizes <= share * count].sum())
    parts_of_all = {"test": share * count, "validation": 0.15 * count}
    scale = min(1.0, 0.8 * movable / sum(parts_of_all.values()))
    wanted = {part: min(_MOST_HELD_OUT, round(scale * size)) for part, size in parts_of_all.items()}
    rng = np.random.default_rng(seed)
    parts: dict[int, str] = {}
    for at in rng.permutation(len(unique)).tolist():
        for part, left in wanted.items():
            if sizes[at] <= left:
                wanted[part] = left - int(sizes[at])
                parts[int(unique[at])] = part
                break
    where = np.array([parts.get(int(group), "train") for group in groups])
    found = Split(*(np.flatnonzero(where == part) for part in ("train", "validation", "test")))
    if min(len(found.train), len(found.validation), len(found.test)) < FEWEST // 8:
        raise UsageError(
            f"{count} pairs were found, but most of them hang together by shared files and captions, so that nothing"
            " can be held out to measure on; add pairs of other files"
        )
    return found
