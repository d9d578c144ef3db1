"""Vectors in FAISS: build, search, add, remove, save, load. No SQL here, and no knowledge of what a vector means.

The index is exact: inner products over vectors of length 1, which are cosines. Callers see ids,
scores and nothing of FAISS, so that an approximate index can take its place behind the same calls.
"""

from __future__ import annotations

import json
import os
import uuid
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
_HEAD_BYTES = 1024
_BLOCK_BYTES = 2**20


class IndexFileError(Exception):
    """An index file is missing, stale or damaged. It is a cache: rebuild it from the store."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an index was made from, so that a stale file is known by reading its first bytes.

    `last_id` is the highest id that it has seen, and `removals` the store's count of deletions then.
    `name` is random, and new each time that an index is saved; the store remembers the last one.
    """

    library_id: str
    generation_id: int
    channel: str
    dim: int
    last_id: int
    removals: int
    name: str = ""


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

    def vectors(self, start: int = 0, count: int | None = None) -> Vectors:
        """Vectors in the index: (n, dim) float32, in the order of `ids`, `count` of them from `start` on."""
        count = len(self) - start if count is None else min(count, len(self) - start)
        return np.asarray(self._index.index.reconstruct_n(start, count), np.float32).reshape(count, self.dim)

    def vectors_of(self, ids: Ids) -> Vectors:
        """The vectors of ids that are in the index: (len(ids), dim) float32."""
        return np.asarray(self._index.reconstruct_batch(np.ascontiguousarray(ids, np.int64)), np.float32)

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

        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")  # not mkstemp: others may read a library
        try:
            with temporary.open("xb") as file:
                file.write(_head(stamp, 0, b""))
                body = _Hashed(file)
                faiss.write_index(self._index, faiss.PyCallbackIOWriter(body.write, _BLOCK_BYTES))
                file.seek(0)
                file.write(_head(stamp, body.length, body.digest()))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
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
            if os.fstat(file.fileno()).st_size != file.tell() + length:
                raise IndexFileError(f"{path} is not as long as it should be")
            index, body = cls(stamp.dim), _Hashed(file)
            index._index = faiss.read_index(faiss.PyCallbackIOReader(body.read, _BLOCK_BYTES))
            if (body.length, body.digest()) != (length, digest):
                raise IndexFileError(f"{path} does not match its checksum")
            return index, stamp


class _Hashed:
    """A file that is hashed while FAISS reads or writes it, which spares memory for a second copy of an index."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = xxhash.xxh3_128()
        self.length = 0

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._hash.update(data)
        self.length += len(data)
        return data

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.length += len(data)
        return self._file.write(data)

    def digest(self) -> bytes:
        return self._hash.digest()


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
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
        raise IndexFileError(f"{path} cannot be read: {error}") from error


def _head(stamp: Stamp, length: int, digest: bytes) -> bytes:
    """The head of an index file, always _HEAD_BYTES long: it is written again once the body is known."""
    facts = json.dumps(asdict(stamp) | {"bytes": length, "xxh3": digest.hex()}).encode()
    if len(_MAGIC) + len(facts) > _HEAD_BYTES:
        raise ValueError(f"the stamp is too long for the head of an index file: {stamp}")
    return (_MAGIC + facts).ljust(_HEAD_BYTES)


def _read_head(file: BinaryIO) -> tuple[Stamp, int, bytes]:
    """The stamp at the head of an index file, and the length and checksum of the body that follows it."""
    head = file.read(_HEAD_BYTES)
    if len(head) != _HEAD_BYTES or not head.startswith(_MAGIC):
        raise ValueError("it does not begin as an index file does")
    facts = json.loads(head[len(_MAGIC) :])
    length, digest = facts.pop("bytes"), bytes.fromhex(facts.pop("xxh3"))
    return Stamp(**facts), length, digest
