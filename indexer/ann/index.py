"""The index of one channel, as callers see it: ids, scores, and nothing of how they are found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from indexer.ann import disk
from indexer.ann.base import Base
from indexer.ann.build import Build, Built
from indexer.ann.calibration import Settings
from indexer.ann.chosen import Chosen
from indexer.ann.exact import Exact, Rows
from indexer.ann.files import Stamp
from indexer.ann.policy import Policy
from indexer.ann.rows import Ids
from indexer.halves import STORED_DTYPE, Halves, unit_of
from indexer.types import Vectors

_FILTERS = 4  # sets of allowed ids that are kept as rows


Given = ParamSpec("Given")
Result = TypeVar("Result")


def _in_turn(
    method: Callable[Concatenate[VectorIndex, Given], Result],
) -> Callable[Concatenate[VectorIndex, Given], Result]:
    """A method that waits for others of its index: what FAISS holds moves in memory while vectors are added."""

    def one_at_a_time(self: VectorIndex, /, *args: Given.args, **how: Given.kwargs) -> Result:
        with self._lock:
            return method(self, *args, **how)

    update_wrapper(one_at_a_time, method)
    return one_at_a_time


class VectorIndex:
    """Vectors of length 1, kept in half precision, each with an int64 id.

    A small index is scanned. A large one has a *base*, which is found through codes and rescored, and a *tail* of what
    came since, which is scanned. Scores are always the true inner products, as of vectors of length 1. Several threads
    may use it at once.
    """

    def __init__(self, dim: int, policy: Policy | None = None) -> None:
        self.dim = dim
        self.policy = policy or Policy()
        self._base: Base | None = None
        self._settings: Settings | None = None
        self._parts: list[Exact] = []
        self._version = 0
        self._lock = threading.RLock()
        self._filters: dict[int, tuple[Ids, int, list[Chosen | None]]] = {}

    def __len__(self) -> int:
        return (len(self._base) if self._base is not None else 0) + sum(len(part) for part in self._parts)

    @property
    @_in_turn
    def ids(self) -> Ids:
        """The ids in the index: (n,) int64, in the order in which they lie there."""
        own = [] if self._base is None else [self._base.ids[self._base.alive] if self._base.dead else self._base.ids]
        return np.concatenate([*own, *(part.ids for part in self._parts), np.empty(0, np.int64)])

    @property
    def facts(self) -> disk.IndexFacts:
        """How it is searched."""
        return disk.Content(self._base, self._settings, self._parts).facts

    @_in_turn
    def halves(self, start: int = 0, count: int | None = None) -> Halves:
        """Vectors as they are stored: (n, dim) float16, in the order of `ids`, `count` of them from `start` on."""
        end = len(self) if count is None else min(len(self), start + count)
        found = []
        for rows in self._snapshot():
            here, start, end = (max(0, start), end), start - len(rows), end - len(rows)
            if here[0] < min(here[1], len(rows)):
                at = slice(here[0], here[1])
                found.append(rows.halves[at] if rows.alive is None else rows.halves[np.flatnonzero(rows.alive)[at]])
        return np.concatenate([*found, np.empty((0, self.dim), STORED_DTYPE)])

    def vectors(self, start: int = 0, count: int | None = None) -> Vectors:
        """The same as (n, dim) float32 of length 1."""
        return unit_of(self.halves(start, count))

    @_in_turn
    def vectors_of(self, ids: Ids) -> Vectors:
        """The vectors of some ids: (len(ids), dim) float32 of length 1; zeros for one that was removed meanwhile."""
        found = np.zeros((len(ids), self.dim), np.float32)
        for part in self._all():
            rows = part.rows_of(ids)
            there = rows >= 0
            if there.all():
                found = part.rows[rows].astype(np.float32)
                found *= part.scales[rows, None]
            elif there.any():
                found[there] = part.rows[rows[there]].astype(np.float32) * part.scales[rows[there], None]
        return found

    @_in_turn
    def halves_of(self, ids: Ids) -> Halves:
        """The same as they are stored: (len(ids), dim) float16."""
        found = np.zeros((len(ids), self.dim), STORED_DTYPE)
        for part in self._all():
            rows = part.rows_of(ids)
            there = rows >= 0
            if there.any():
                found[there] = part.rows[rows[there]]
        return found

    def _all(self) -> list[Base | Exact]:
        return [*([] if self._base is None else [self._base]), *self._parts]

    def _snapshot(self) -> list[Rows]:
        return [part.snapshot() for part in self._all()]

    # --- changing ---

    @_in_turn
    def add(self, ids: Ids, vectors: Vectors | Halves) -> None:
        """Add vectors under ids that are not in the index yet. They are kept in half precision."""
        if vectors.shape != (len(ids), self.dim):
            raise ValueError(f"vectors must be ({len(ids)}, {self.dim}), got {vectors.shape}")
        if not len(ids):
            return
        if not self._parts or self._parts[-1].frozen:
            self._parts.append(Exact(self.dim))
        self._parts[-1].add(np.asarray(ids, np.int64), np.asarray(vectors, STORED_DTYPE))
        while len(self._parts) > 1 and 2 * len(self._parts[-1]) > len(self._parts[-2]):
            last, before = self._parts.pop(), self._parts.pop()  # few parts, and each vector is copied few times
            whole = Exact(self.dim)
            for part in (before, last):
                whole.add(part.ids, part.rows)
            self._parts.append(whole)
        self._version += 1

    @_in_turn
    def remove(self, ids: Ids) -> int:
        """Remove these ids; those that are not there are passed over. Returns how many went."""
        ids = np.unique(np.asarray(ids, np.int64))
        gone = 0
        for part in self._parts:
            rows = part.rows_of(ids)
            rows = rows[rows >= 0]
            if len(rows):
                part.remove(rows)
                gone += len(rows)
        self._parts = [part for part in self._parts if len(part)]
        if self._base is not None:
            rows = self._base.rows_of(ids)
            gone += self._base.remove(rows[rows >= 0])
        self._version += 1
        return gone

    # --- searching ---

    @_in_turn
    def search(
        self, queries: Vectors, k: int, *, allowed: Ids | None = None, exact: bool = False
    ) -> tuple[Vectors, Ids]:
        """The k highest inner products of each query.

        In a large index, about as many of the true ones are found as its settings say: the last score is then a bound
        for what was not returned, but for the few that were missed. `exact` compares all.

        Args:
            queries: (q, dim) float32; of length 1 where scores are to be cosines.
            k: how many to return; fewer come back when the index (or `allowed`) holds fewer.
            allowed: only these ids may be found; None for all. The filter works inside the search, so as many come
                back as there are. What it means is kept while the array is: do not write to it afterwards.
            exact: compare every vector.

        Returns:
            scores (q, k') float32, falling, and ids (q, k') int64; equal scores by id, rising.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        scores, ids = [np.empty((len(queries), 0), np.float32)], [np.empty((len(queries), 0), np.int64)]
        for part, chosen in zip(self._all(), self._chosen(allowed), strict=True):
            wanted = min(k, len(part) if chosen is None else chosen.count)
            if wanted <= 0:
                continue
            if isinstance(part, Base):
                own, rows = part.search(queries, wanted, chosen, self._current_settings(), exact=exact)
            else:
                own, rows = part.search(queries, wanted, None if chosen is None else chosen.mask)
            scores.append(own)
            ids.append(np.where(rows < 0, -1, part.ids[rows]))
        every, named = np.concatenate(scores, axis=1), np.concatenate(ids, axis=1)
        order = np.lexsort((named, -every), axis=1)[:, : max(k, 0)]
        # Only damaged vectors, which are no numbers, are never found: every query has as many hits as the others.
        order = order[:, : int((named >= 0).sum(axis=1).min(initial=order.shape[1]))]
        return np.take_along_axis(every, order, 1), np.take_along_axis(named, order, 1)

    def _current_settings(self) -> Settings:
        if self._settings is None:
            raise ValueError("an index with a base has settings")
        return self._settings

    def _chosen(self, allowed: Ids | None) -> list[Chosen | None]:
        """For each part, which rows may be found; None for all."""
        if allowed is None:
            return [part.chosen(None) if isinstance(part, Base) else None for part in self._all()]
        kept = self._filters.get(id(allowed))
        if kept is not None and kept[0] is allowed and kept[1] == self._version:
            return kept[2]
        chosen: list[Chosen | None] = []
        for part in self._all():
            rows = part.rows_of(np.asarray(allowed, np.int64))
            rows = rows[rows >= 0]
            if isinstance(part, Base):
                chosen.append(part.chosen(rows))
            else:
                mask = np.zeros(len(part), bool)
                mask[rows] = True
                chosen.append(Chosen(mask))
        while len(self._filters) >= _FILTERS:
            self._filters.pop(next(iter(self._filters)), None)
        self._filters[id(allowed)] = (allowed, self._version, chosen)
        return chosen

    # --- settling ---

    def is_settled(self, *, texts: bool = False) -> bool:
        """Whether what it holds is in the structure that suits it. `texts`: whether there are texts to calibrate by."""
        base, policy = self._base, self.policy
        count = len(self)
        if base is None:
            return policy.structure(count, self.dim) is None
        if policy.needs_training(base.structure, count, self.dim):
            return False
        if count - len(base) > policy.tail or base.dead > policy.dead * len(base.ids):
            return False
        return self._current_settings().suits(len(base), "texts" if texts else "own vectors", policy.recall)

    @_in_turn
    def begin(self, *, texts: bool = False) -> Build | None:
        """What there is to build so that the index suits its vectors; None when it does.

        `Build.make` takes its time and changes nothing: searches, additions and removals may go on until `adopt`.

        Args:
            texts: whether there will be texts to choose settings by.
        """
        if self.is_settled(texts=texts):
            return None
        base, policy, parts = self._base, self.policy, tuple(self._parts)
        for part in parts:
            part.frozen = True
        rows = tuple(part.snapshot() for part in parts)
        wanted = policy.structure(len(self), self.dim)
        merge = sum(map(len, rows)) > policy.tail
        if base is None or policy.needs_training(base.structure, len(self), self.dim):
            rows = (*([] if base is None else [base.snapshot()]), *rows)
            base = None
        elif merge or base.dead > policy.dead * len(base.ids):
            wanted, rows = None, (base.snapshot(), *rows)
        else:
            wanted, rows, parts = None, (), ()
        return Build(base, wanted, rows, parts, self.dim, policy.recall, None if base is None else self._settings)

    @_in_turn
    def adopt(self, built: Built) -> None:
        """Take over what was built, less what was removed meanwhile, and with what came meanwhile as its tail."""
        old = self._base
        if built.base is old:
            self._settings = built.settings
            return
        if built.base is None:
            whole = Exact(self.dim)
            whole.add(self.ids, self.halves())
            self._base, self._settings, self._parts = None, None, [whole] if len(whole) else []
        else:
            built.base.remove(np.flatnonzero(~np.isin(built.base.ids, self.ids)))
            self._parts = [part for part in self._parts if part not in built.sources]
            self._base, self._settings = built.base, built.settings
        self._version += 1

    def settle(self, texts: Vectors | None = None) -> None:
        """Build what suits the vectors that there are, with `texts` as in `Build.make`."""
        build = self.begin(texts=texts is not None and len(texts) > 0)
        if build is not None:
            self.adopt(build.make(texts))

    # --- files ---

    @_in_turn
    def save(self, path: Path, stamp: Stamp) -> None:
        """Write the index file, and before it that of its base if it is new. Each is whole or is not there."""
        disk.write(path, stamp, disk.Content(self._base, self._settings, self._parts))

    @classmethod
    def load(cls, path: Path, policy: Policy | None = None, *, whole: bool = False) -> tuple[VectorIndex, Stamp]:
        """Read what `save` wrote. `whole`: read all of it once, the rows that otherwise stay in their file included.

        Raises:
            IndexFileError: it is missing or damaged.
        """
        content, stamp = disk.read(path, whole=whole)
        index = cls(stamp.dim, policy)
        index._base, index._settings, index._parts = content.base, content.settings, content.parts
        return index, stamp
