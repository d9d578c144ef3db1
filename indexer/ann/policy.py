"""Which structure holds how many vectors: benchmarks/ann.py and docs/performance.md have the figures behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Structure:
    """An inverted file of `lists` lists of product-quantised codes: each vector is `codes` codes of 4 bits.

    `dim`: how long vectors are, zeros at their ends included where their own length does not divide.
    """

    lists: int
    codes: int
    dim: int

    @property
    def factory(self) -> str:
        """In the language of `faiss.index_factory`."""
        return f"IVF{self.lists},PQ{self.codes}x4fs"


@dataclass(frozen=True, slots=True)
class Policy:
    """When vectors are scanned, when they are found through codes, and when those are made anew.

    Attributes:
        exact_components: vectors times dimensions up to which all are scanned.
        few: vectors up to which there are `few_lists` lists, all of them probed: a text query lies far from every
            picture, so that it cannot be told well which lists hold its nearest.
        few_lists: see `few`.
        tail: vectors that came since and are scanned; when there are more, they go into the base.
        dead: the share of removed vectors in a base from which it is written anew.
        grown: how many times more lists than there are would suit, before the codes are learned anew.
        recall: the recall that settings are chosen for.
    """

    exact_components: int = 6_000_000
    few: int = 300_000
    few_lists: int = 64
    tail: int = 8192
    dead: float = 0.2
    grown: float = 2.0
    recall: float = 0.99

    def structure(self, vectors: int, dim: int) -> Structure | None:
        """What suits so many vectors; None to scan them all."""
        if vectors * dim <= self.exact_components:
            return None
        padded = -(-dim // 4) * 4  # FAISS takes codes in pairs
        lists = self.few_lists if vectors <= self.few else 64 * round(2 * math.sqrt(vectors) / 64)
        return Structure(max(1, min(lists, vectors // 4)), padded // 2, padded)

    def needs_training(self, structure: Structure, vectors: int, dim: int) -> bool:
        """Whether a base of this structure should give way to another one for so many vectors."""
        wanted = self.structure(vectors, dim)
        if wanted is None:
            return vectors * dim * 2 <= self.exact_components  # not at every turn, where a library hovers at the limit
        ratio = wanted.lists / structure.lists
        return ratio >= self.grown or ratio <= 1 / (2 * self.grown)
