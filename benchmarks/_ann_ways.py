"""Ways to find nearest vectors, behind one set of calls. Each is told of nothing but the vectors and some texts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from indexer.ann import Stamp, VectorIndex
from indexer.halves import Halves, unit_of
from indexer.types import Vectors

_BLOCK = 20_000
CORES = os.cpu_count() or 1


class Way(Protocol):
    """One way. `effort` is what was tuned, in words; `package` is whose it is, as _ann_loaded.py calls it."""

    effort: str
    package: str

    def save(self, path: Path) -> None:
        """Write it to a file, whose name ends with the length of a vector."""

    def search(self, queries: Vectors, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """The ids of the k nearest of each query, (q, k); in one thread for one query, in all for many."""

    def add(self, ids: np.ndarray, vectors: Halves) -> None:
        """Add some more."""

    def remove(self, ids: np.ndarray) -> None:
        """Remove some; NotImplementedError where that cannot be."""


def _stamp(dim: int) -> Stamp:
    return Stamp("", 0, "visual", dim, 0, 0)


class Ours:
    """mmsearch's index, saved and loaded again."""

    package = "mmsearch"

    def __init__(self, vectors: Halves, tuning: Vectors) -> None:
        index = VectorIndex(vectors.shape[1])
        for start in range(0, len(vectors), _BLOCK):
            index.add(np.arange(start, min(start + _BLOCK, len(vectors))), vectors[start : start + _BLOCK])
        index.settle(tuning)
        folder = Path(tempfile.mkdtemp(prefix="mmsearch-ann-"))
        index.save(folder / "a.faiss", _stamp(vectors.shape[1]))
        del index
        self.index, _ = VectorIndex.load(folder / "a.faiss")
        shutil.rmtree(folder)  # what is mapped stays
        how = self.index.facts.settings
        self.effort = (
            "exact"
            if how is None
            else (f"{self.index.facts.structure}, {how.lists(10)} lists probed, {how.depth(10)} rescored")
        )

    def save(self, path: Path) -> None:
        self.index.save(path, _stamp(self.index.dim))

    def search(self, queries: Vectors, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
        return self.index.search(queries, k, allowed=allowed)[1]

    def add(self, ids: np.ndarray, vectors: Halves) -> None:
        self.index.add(ids, vectors)

    def remove(self, ids: np.ndarray) -> None:
        self.index.remove(ids)


class OursExact(Ours):
    """The same, with `--exact`."""

    def __init__(self, other: Ours) -> None:
        self.index, self.effort = other.index, "--exact"

    def search(self, queries: Vectors, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
        return self.index.search(queries, k, allowed=allowed, exact=True)[1]


class Faiss:
    """An index of FAISS under an ID map; `efs` are tried in turn, where it has such a setting."""

    package = "FAISS"

    def __init__(self, factory: str, efs: tuple[int, ...], vectors: Halves, tuning: Tuning) -> None:
        import faiss

        self._faiss, self._ef = faiss, 0
        self._index = faiss.index_factory(vectors.shape[1], f"IDMap2,{factory}", faiss.METRIC_INNER_PRODUCT)
        faiss.omp_set_num_threads(CORES)
        self._index.train(unit_of(vectors[:1000]))
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK]
            self._index.add_with_ids(unit_of(block), np.arange(start, start + len(block)))
        self.effort = factory
        if efs:
            self._ef = tuning.least(efs, self._ask_with)
            self.effort += f", ef {self._ef}"

    def _ask_with(self, ef: int, queries: Vectors) -> np.ndarray:
        self._ef = ef
        return self.search(queries, 10)

    def save(self, path: Path) -> None:
        self._faiss.write_index(self._index, str(path))

    def search(self, queries: Vectors, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
        faiss = self._faiss
        faiss.omp_set_num_threads(1 if len(queries) == 1 else CORES)
        chosen = (
            None
            if allowed is None
            else faiss.IDSelectorBitmap(
                np.packbits(np.isin(np.arange(int(allowed.max()) + 1), allowed), bitorder="little")
            )
        )
        params: Any = None
        if self._ef:
            params = faiss.SearchParametersHNSW(efSearch=self._ef, sel=chosen)
        elif chosen is not None:
            params = faiss.SearchParameters(sel=chosen)
        return self._index.search(queries, k, params=params)[1]

    def add(self, ids: np.ndarray, vectors: Halves) -> None:
        self._index.add_with_ids(unit_of(vectors), ids)

    def remove(self, ids: np.ndarray) -> None:
        if self._ef:
            raise NotImplementedError("FAISS cannot remove from a graph")
        self._index.remove_ids(ids)


class Hnswlib:
    """hnswlib, M 16, efConstruction 200, single precision: it has no other."""

    package = "hnswlib"

    def __init__(self, vectors: Halves, tuning: Tuning) -> None:
        import hnswlib

        self._index = hnswlib.Index("ip", vectors.shape[1])
        self._index.init_index(len(vectors) + 10_000, M=16, ef_construction=200)
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK]
            self._index.add_items(unit_of(block), np.arange(start, start + len(block)), num_threads=CORES)
        self.effort = f"ef {tuning.least(EFS, self._ask_with)}"

    def _ask_with(self, ef: int, queries: Vectors) -> np.ndarray:
        self._index.set_ef(ef)
        return self.search(queries, 10)

    def save(self, path: Path) -> None:
        self._index.save_index(str(path))

    def search(self, queries: Vectors, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
        if allowed is not None:
            raise NotImplementedError("its filter calls Python for each vector that it meets")
        return self._index.knn_query(queries, k, num_threads=1 if len(queries) == 1 else CORES)[0].astype(np.int64)

    def add(self, ids: np.ndarray, vectors: Halves) -> None:
        self._index.add_items(unit_of(vectors), ids, num_threads=CORES)

    def remove(self, ids: np.ndarray) -> None:
        for id in ids.tolist():
            self._index.mark_deleted(id)


class Usearch:
    """usearch in bf16, connectivity 16, expansion 128 when adding."""

    package = "usearch"

    def __init__(self, vectors: Halves, tuning: Tuning) -> None:
        from usearch.index import Index

        self._index = Index(ndim=vectors.shape[1], metric="ip", dtype="bf16", connectivity=16, expansion_add=128)
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK]
            self._index.add(np.arange(start, start + len(block)), unit_of(block), threads=CORES)
        self.effort = f"expansion {tuning.least(EFS, self._ask_with)}"

    def _ask_with(self, ef: int, queries: Vectors) -> np.ndarray:
        self._index.expansion_search = ef
        return self.search(queries, 10)

    def save(self, path: Path) -> None:
        self._index.save(str(path))

    def search(self, queries: Vectors, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
        if allowed is not None:
            raise NotImplementedError("it has no filter in Python")
        found = self._index.search(queries, k, threads=1 if len(queries) == 1 else CORES).keys.astype(np.int64)
        return found.reshape(len(queries), -1)

    def add(self, ids: np.ndarray, vectors: Halves) -> None:
        self._index.add(ids, unit_of(vectors), threads=CORES)

    def remove(self, ids: np.ndarray) -> None:
        self._index.remove(ids)


class Tuning:
    """Texts with their true neighbours, by which a graph's effort is chosen, as ours is."""

    def __init__(self, queries: Vectors, truth: np.ndarray, target: float) -> None:
        self.queries, self._truth, self._target = queries, truth, target

    def least(self, efforts: tuple[int, ...], ask: Callable[[int, Vectors], np.ndarray]) -> int:
        """The first effort that reaches the target, else the last; it is left as it was set."""
        for effort in efforts:
            if recall(ask(effort, self.queries), self._truth) >= self._target:
                break
        return effort


EFS = (64, 128, 256, 512, 1024, 2048)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """The mean share of each row of `truth` that is in the same row of `found`."""
    return float(np.mean([np.isin(want, have).mean() for want, have in zip(truth, found, strict=True)]))


def ways(vectors: Halves, tuning: Tuning, *, only: list[str]) -> dict[str, Callable[[dict[str, Any]], Way]]:
    """Each way's name, and what builds it from what was built before."""
    table: dict[str, tuple[str | None, Callable[[dict[str, Any]], Way]]] = {
        "mmsearch": (None, lambda _: Ours(vectors, tuning.queries)),
        "mmsearch --exact": (None, lambda built: OursExact(built["mmsearch"])),
        "FAISS Flat": (None, lambda _: Faiss("Flat", (), vectors, tuning)),
        "FAISS SQfp16": (None, lambda _: Faiss("SQfp16", (), vectors, tuning)),
        "FAISS HNSW16, SQbf16": (None, lambda _: Faiss("HNSW16,SQbf16", EFS, vectors, tuning)),
        "hnswlib": ("hnswlib", lambda _: Hnswlib(vectors, tuning)),
        "usearch bf16": ("usearch", lambda _: Usearch(vectors, tuning)),
    }
    chosen = {}
    for name, (package, make) in table.items():
        if only and not any(word in name for word in only):
            continue
        if package is not None and importlib.util.find_spec(package) is None:
            print(f"{name} is left out: pip install {package} (or the extra `bench`)")
            continue
        chosen[name] = make
    return chosen
