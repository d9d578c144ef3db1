"""Many vectors, found through codes and rescored: their rows in a mapped file, their ids and codes in memory.

The file is a head, the rows in half precision as the store has them, their ids and scales, and what FAISS writes of
its index. It never changes: vectors that are removed are marked elsewhere, and those that come make another file with
another name. So a process that searches has its rows whatever another one writes.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from indexer.ann.calibration import Settings
from indexer.ann.chosen import Chosen, Lists
from indexer.ann.clusters import in_blocks
from indexer.ann.codes import Coder, Codes, lists_of_rows
from indexer.ann.exact import MARGIN, Rows, rescored, scan
from indexer.ann.files import BASE_MAGIC, HEAD_BYTES, Hashed, IndexFileError, head, opened, read_head, replaced
from indexer.ann.gpu import DEEPEST, OnGpu, on_gpu
from indexer.ann.policy import Structure
from indexer.ann.rows import Ids, Mask, RowsOfIds
from indexer.ann.threads import threads_for
from indexer.halves import STORED_DTYPE, Halves, scales_of, unit_of
from indexer.types import Vectors

FEW_LISTS = 64  # lists up to which all are probed

_BLOCK_BYTES = 2**20
_CENTRE_SAMPLE = 64  # vectors for each list to learn from
_CODE_SAMPLE = 65_536  # vectors to learn codes from, at least
_SMALL = 4000  # chosen vectors up to which all are compared, whatever is wanted
_STEPS = 4  # numbers of lists that are probed under a filter, from one to its double
_SHALLOWEST = 8  # candidates are at most one in so many vectors, else all are scanned


class Base:
    """Vectors that do not change, but that some may be marked as removed."""

    def __init__(
        self, structure: Structure, ids: Ids, rows: Halves, scales: Vectors, index: Any, facts: dict[str, Any]
    ) -> None:
        self.structure = structure
        self.ids = ids
        self.rows = rows
        self.scales = scales
        self.alive: Mask = np.ones(len(ids), bool)
        self.dead = 0
        self.facts = facts
        """What the head of its file says; the index file names it, and so knows it again."""
        self.path: Path | None = None
        self._index = index
        self._left: Chosen | None = None  # the rows that were not removed, where some were
        self._rows_of = RowsOfIds(ids)
        self._lists_of_rows: Lists | None = None
        self._on_gpu: OnGpu | None = None
        self._asked_gpu = False

    def __len__(self) -> int:
        return len(self.ids) - self.dead

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return int(self.rows.shape[1])

    @property
    def probes_all(self) -> bool:
        """Whether all lists are probed: a few are cheap to."""
        return self.structure.lists <= FEW_LISTS

    def snapshot(self) -> Rows:
        """What counts of it now."""
        return Rows(self.ids, self.rows, self.alive if self.dead else None, self)

    def rows_of(self, ids: Ids) -> Ids:
        """The row of each id, -1 for one that is not here, the removed ones included."""
        return self._rows_of(ids)

    def remove(self, rows: Ids) -> int:
        """Mark rows as removed; how many were not yet."""
        going = rows[self.alive[rows]]
        if len(going):
            self.alive = self.alive.copy()
            self.alive[going] = False
            self.dead += len(going)
            self._left = None
        return len(going)

    def chosen(self, rows: Ids | None) -> Chosen | None:
        """Which rows may be found, of those given (None for all); None when that is every row."""
        if rows is None:
            if self.dead and self._left is None:
                self._left = Chosen(self.alive)
            return self._left
        mask = np.zeros(len(self.ids), bool)
        mask[rows] = True
        return Chosen(mask & self.alive if self.dead else mask)

    def search(
        self, queries: Vectors, k: int, chosen: Chosen | None, settings: Settings, *, exact: bool = False
    ) -> tuple[Vectors, Ids]:
        """The k best rows of each query among those chosen, of which there must be k: scores and rows, (q, k)."""
        count, mask = (len(self.ids), None) if chosen is None else (chosen.count, chosen.mask)
        depth = settings.depth(k)
        if exact or depth * _SHALLOWEST > len(self.ids) or count <= max(_SMALL, 4 * depth):
            return scan(self.rows, self.scales, queries, k, mask)
        on_gpu, wide = self._gpu(), k + MARGIN + self.dead
        if on_gpu is not None and (chosen is None or chosen is self._left) and wide <= DEEPEST:
            found = on_gpu.candidates(queries, wide)
            found = np.where((found >= 0) & self.alive[found], found, -1)
            return rescored(self.rows, self.scales, queries, found, k)
        if count * 2 < len(self.ids):  # what is left lies further away and closer together
            depth *= 2
        found = np.empty((len(queries), depth), np.int64)
        probes = self._probes(queries, settings.lists(k), chosen)
        for some in np.unique(probes).tolist():
            alike = probes == some
            found[alike] = self.candidates(queries[alike], depth, some, chosen)
        scores, rows = rescored(self.rows, self.scales, queries, found, k)
        lacking = rows[:, -1] < 0
        if lacking.any():  # the lists that were probed hold too few
            scores[lacking], rows[lacking] = scan(self.rows, self.scales, queries[lacking], k, mask)
        return scores, rows

    def _probes(self, queries: Vectors, wanted: int, chosen: Chosen | None) -> Ids:
        """How many lists are probed for each query, (q,): they hold as many chosen rows as `wanted` lists hold of all.

        What a filter lets through may lie anywhere, and in few of the lists that are nearest to a query.
        """
        lists = self.structure.lists
        probes = np.full(len(queries), min(wanted, lists))
        if chosen is None or self.probes_all or wanted >= lists:
            return probes
        if self._lists_of_rows is None:
            self._lists_of_rows = lists_of_rows(self._index, len(self.ids))
        enough = min(wanted * len(self.ids) / lists, chosen.count)
        with threads_for(len(queries)):
            order = self._index.quantizer.search(_padded(queries, self.structure.dim), lists)[1]
        held = np.cumsum(chosen.in_lists(self._lists_of_rows, lists)[order], axis=1)
        probes = (held < enough).sum(axis=1) + 1
        steps = np.ceil(_STEPS * np.log2(probes)) / _STEPS  # a few numbers, so that many queries can go together
        rounded: Ids = np.minimum(np.ceil(2**steps), lists).astype(np.int64)
        return rounded

    def _gpu(self) -> OnGpu | None:
        if not self._asked_gpu:
            self._on_gpu, self._asked_gpu = on_gpu(self.rows), True
        return self._on_gpu

    def candidates(self, queries: Vectors, depth: int, probes: int, chosen: Chosen | None) -> Ids:
        """The rows that look best by their codes, best first: (q, depth) int64, -1 where there are no more."""
        import faiss

        params = faiss.SearchParametersIVF(nprobe=probes, sel=None if chosen is None else chosen.selector)
        with threads_for(len(queries)):
            found: Ids = self._index.search(_padded(queries, self.structure.dim), depth, params=params)[1]
        return found

    def save(self, path: Path) -> None:
        """Write it, and take its rows from the file from then on."""
        with replaced(path) as file:
            self.facts = _write(file, self, self._index)
        self.rows, self.path = _mapped(path, self.facts), path

    @classmethod
    def load(cls, path: Path, *, whole: bool = False) -> Base:
        """Read what `save` wrote. The rows stay in the file; `whole` reads them once, to compare their checksum.

        Raises:
            IndexFileError: it is missing or damaged.
        """
        import faiss

        with opened(path) as file:
            facts = read_head(file, BASE_MAGIC)
            parts = facts["parts"]
            if os.fstat(file.fileno()).st_size != HEAD_BYTES + sum(part["bytes"] for part in parts.values()):
                raise IndexFileError(f"{path} is not as long as it should be")
            if whole:
                _check(path, "rows", _skim(file, parts["rows"]["bytes"]), parts)
            file.seek(HEAD_BYTES + parts["rows"]["bytes"])
            body = Hashed(file)
            ids = np.frombuffer(body.read(parts["ids"]["bytes"]), "<i8").astype(np.int64)
            _check(path, "ids", body, parts)
            body = Hashed(file)
            scales = np.frombuffer(body.read(parts["scales"]["bytes"]), "<f4").astype(np.float32)
            _check(path, "scales", body, parts)
            body = Hashed(file)
            index = faiss.read_index(faiss.PyCallbackIOReader(body.read, _BLOCK_BYTES))
            _check(path, "codes", body, parts)
            base = cls(Structure(**facts["structure"]), ids, _mapped(path, facts), scales, index, facts)
            base.path = path
            return base

    # --- building ---

    @classmethod
    def train(cls, structure: Structure, sources: Sequence[Rows], dim: int) -> Base:
        """A base of all vectors in `sources`, with codes that are learned from them."""
        sample = _padded(_sampled(sources, max(_CODE_SAMPLE, _CENTRE_SAMPLE * structure.lists)), structure.dim)
        return cls._coded(Coder.learned(structure, sample), sources, dim)

    def merged(self, sources: Sequence[Rows]) -> Base:
        """A base of all vectors in `sources`, the first of which is this one, by what was learned for it."""
        import faiss

        if sources[0].alive is not None:  # without those that were removed
            return self._coded(Coder.of(self.structure, self._index), sources, self.dim)
        ids, rows = _gathered(sources, self.dim)
        new = rows[len(self.ids) :]
        sound = np.isfinite(new).all(axis=1)
        index = faiss.clone_index(self._index)
        at = np.arange(len(self.ids), len(ids))[sound]
        index.add_with_ids(_padded(unit_of(new[sound]), self.structure.dim), at)
        return Base(self.structure, ids, rows, np.concatenate([self.scales, scales_of(new)]), index, {})

    @classmethod
    def _coded(cls, coder: Coder, sources: Sequence[Rows], dim: int) -> Base:
        """A base of all vectors in `sources`."""
        ids, rows = _gathered(sources, dim)
        scales = np.empty(len(ids), np.float32)

        def coded(block: slice) -> tuple[Ids, Codes]:
            halves = rows[block]
            scales[block] = scales_of(halves)
            sound = np.isfinite(halves).all(axis=1)
            codes = coder.codes_of(_padded(unit_of(halves[sound]), coder.structure.dim))
            return block.start + np.flatnonzero(sound), codes

        index = coder.index(in_blocks(coded, len(ids)))
        return cls(coder.structure, ids, rows, scales, index, {})


def _write(file: BinaryIO, base: Base, index: Any) -> dict[str, Any]:
    import faiss

    parts, structure, ids, rows = {}, base.structure, base.ids, base.rows
    file.write(b"\0" * HEAD_BYTES)
    for name, array in (("rows", rows), ("ids", ids.astype("<i8")), ("scales", base.scales.astype("<f4"))):
        body = Hashed(file)
        for start in range(0, len(array), 16_384):
            body.write(np.ascontiguousarray(array[start : start + 16_384]))
        parts[name] = body.facts()
    body = Hashed(file)
    faiss.write_index(index, faiss.PyCallbackIOWriter(body.write, _BLOCK_BYTES))
    parts["codes"] = body.facts()
    shape = {"lists": structure.lists, "codes": structure.codes, "dim": structure.dim}
    facts = {"structure": shape, "vectors": len(ids), "dim": rows.shape[1], "parts": parts}
    file.seek(0)
    file.write(head(BASE_MAGIC, facts))
    return facts


def _mapped(path: Path, facts: dict[str, Any]) -> Halves:
    """The rows of a file, mapped into memory: good for as long as the array lives, also when the file is removed."""
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    count = facts["vectors"] * facts["dim"]
    return np.frombuffer(whole, STORED_DTYPE, count, HEAD_BYTES).reshape(facts["vectors"], facts["dim"])


def _skim(file: BinaryIO, length: int) -> Hashed:
    body = Hashed(file)
    while body.length < length and body.read(min(_BLOCK_BYTES, length - body.length)):
        pass
    return body


def _check(path: Path, name: str, body: Hashed, parts: dict[str, Any]) -> None:
    if body.facts() != parts[name]:
        raise IndexFileError(f"the {name} of {path} do not match their checksum")


def _gathered(sources: Sequence[Rows], dim: int) -> tuple[Ids, Halves]:
    """The ids and vectors of all sources, in new arrays."""
    count = sum(map(len, sources))
    ids, rows = np.empty(count, np.int64), np.empty((count, dim), STORED_DTYPE)
    at = 0
    for source in sources:
        for some, halves in source.blocks():
            ids[at : at + len(some)], rows[at : at + len(some)] = some, halves
            at += len(some)
    return ids, rows


def _sampled(sources: Sequence[Rows], count: int) -> Vectors:
    """About `count` vectors that are numbers, drawn at random: (n, dim) float32 of length 1."""
    total = sum(len(source.ids) for source in sources)
    rng = np.random.default_rng(0)
    parts: list[Vectors] = []
    for source in sources:
        alive = np.arange(len(source.ids)) if source.alive is None else np.flatnonzero(source.alive)
        most = min(len(alive), -(-count * len(alive) // max(total, 1)))
        drawn = np.sort(rng.choice(alive, most, replace=False))
        parts += in_blocks(partial(_sound, source.halves, drawn), len(drawn))
    return np.concatenate(parts)


def _sound(halves: Halves, rows: Ids, block: slice) -> Vectors:
    """Those of some rows that are numbers, (n, dim) float32 of length 1."""
    some = halves[rows[block]]
    return unit_of(some[np.isfinite(some).all(axis=1)])


def _padded(vectors: Vectors, dim: int) -> Vectors:
    """Vectors with zeros at their ends, up to a length."""
    lacking = dim - vectors.shape[1]
    if lacking:
        vectors = np.pad(vectors, ((0, 0), (0, lacking)))
    return np.ascontiguousarray(vectors, np.float32)


def names_of(path: Path) -> Iterator[Path]:
    """The files of bases beside an index file, whichever it names."""
    return path.parent.glob(f"{path.stem}.*.base")
