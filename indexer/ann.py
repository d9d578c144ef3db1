"""Vectors in FAISS: build, search, add, remove, save, load. No SQL here, and no knowledge of what a vector means.

The index is exact: inner products over vectors of length 1, which are cosines. Callers see ids,
scores and nothing of FAISS, so that an approximate index can take its place behind the same calls.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from indexer.types import Vectors

Ids = NDArray[np.int64]

_MAGIC = b"mmsearch-index-1"
_LONGEST_HEAD = 65_536


class IndexFileError(Exception):
    """An index file is missing, stale or damaged. It is a cache: rebuild it from the store."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an index was made from, so that a stale file is known by reading its first bytes.

    `last_id` is the highest id that it has seen, and `removals` the store's count of deletions then.
    """

    library_id: str
    generation_id: int
    channel: str
    dim: int
    last_id: int
    removals: int


class VectorIndex:
    """An exact index over (n, dim) float32 vectors of length 1, each with an int64 id."""

    def __init__(self, dim: int) -> None:
        import faiss

        self.dim = dim
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))
        self._on_gpu: Any = None

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def ids(self) -> Ids:
        """The ids in the index: (n,) int64, in the order in which they lie there."""
        import faiss

        return np.asarray(faiss.vector_to_array(self._index.id_map), np.int64)

    def vectors(self) -> Vectors:
        """The vectors in the index: (n, dim) float32, in the order of `ids`."""
        return np.asarray(self._index.index.reconstruct_n(0, len(self)), np.float32).reshape(len(self), self.dim)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors under ids that are not in the index yet."""
        if vectors.shape != (len(ids), self.dim):
            raise ValueError(f"vectors must be ({len(ids)}, {self.dim}), got {vectors.shape}")
        self._on_gpu = None
        self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(ids, np.int64))

    def remove(self, ids: Ids) -> int:
        """Remove these ids; those that are not there are passed over. Returns how many went."""
        self._on_gpu = None
        return int(self._index.remove_ids(np.ascontiguousarray(ids, np.int64)))

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Vectors, Ids]:
        """The k highest inner products of each query.

        Args:
            queries: (q, dim) float32, of length 1.
            k: how many to return; fewer come back when the index (or `allowed`) holds fewer.
            allowed: only these ids may be found; None for all. The filter works inside the search,
                so a filtered search misses nothing.

        Returns:
            scores (q, k') float32, falling, and ids (q, k') int64.
        """
        import faiss

        k = min(k, len(self) if allowed is None else len(allowed))
        if k <= 0:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        queries = np.ascontiguousarray(queries, np.float32)
        if allowed is None:
            scores, ids = self._fastest().search(queries, k)
        else:
            params = faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.ascontiguousarray(allowed, np.int64)))
            scores, ids = self._index.search(queries, k, params=params)
        found = int((ids[0] >= 0).sum())  # every query has the same candidates, so as many hits
        return scores[:, :found], ids[:, :found]

    def _fastest(self) -> Any:
        """The index on a GPU where this build of FAISS sees one (not run on our machines), else the index itself."""
        import faiss

        if getattr(faiss, "get_num_gpus", lambda: 0)() == 0:
            return self._index
        if self._on_gpu is None:
            self._on_gpu = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, self._index)
        return self._on_gpu

    def save(self, path: Path, stamp: Stamp) -> None:
        """Write the index beside `path`, sync it, and rename it into place: there is never half a file."""
        import faiss

        body = faiss.serialize_index(self._index)
        head = json.dumps(asdict(stamp) | {"bytes": len(body), "xxh3": xxhash.xxh3_128_hexdigest(body)}).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + struct.pack("<I", len(head)) + head)
                file.write(memoryview(body))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path) -> tuple[VectorIndex, Stamp]:
        """Read what `save` wrote.

        Raises:
            IndexFileError: it is missing or damaged.
        """
        import faiss

        with _opened(path) as file:
            stamp, length, digest = _read_head(file)
            body = np.fromfile(file, np.uint8)
            if len(body) != length or xxhash.xxh3_128_hexdigest(body.data) != digest:
                raise IndexFileError(f"{path} does not match its checksum")
            index = cls(stamp.dim)
            index._index = faiss.deserialize_index(body)
            return index, stamp


def read_stamp(path: Path) -> Stamp | None:
    """What an index file says it was made from, its body unread; None when it is missing or cannot say."""
    try:
        with _opened(path) as file:
            return _read_head(file)[0]
    except IndexFileError:
        return None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """An index file, with whatever can go wrong in reading it as one error."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise IndexFileError(f"{path} is not there") from None
    except (OSError, ValueError, TypeError, KeyError, struct.error, RuntimeError) as error:
        raise IndexFileError(f"{path} cannot be read: {error}") from error


def _read_head(file: BinaryIO) -> tuple[Stamp, int, str]:
    """The stamp at the head of an index file, and the length and checksum of the body that follows it."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it does not begin as an index file does")
    (length,) = struct.unpack("<I", file.read(4))
    if length > _LONGEST_HEAD:
        raise ValueError("its header is damaged")
    head = json.loads(file.read(length))
    body_length, digest = head.pop("bytes"), head.pop("xxh3")
    return Stamp(**head), body_length, digest
