"""Vectors of what evaluations ask, kept between runs, so that a second evaluation encodes nothing.

What is searched has a library of its own (see `mmsearch.evaluation.gallery`). What is asked goes through
`CachedEncoder`, which stands before any encoder and remembers what came out of it, by the content that went in:

    key = BLAKE2b(version, model fingerprint, tower, kind of sample, shape or rate, bytes)

Vectors are kept as float32, as they came: a second run gives the same numbers to the last bit. The cache is one SQLite
database in WAL mode. Each batch is one transaction, so a killed process loses the batch in hand at most, and several
processes may share the cache. It is bounded: what was not used for longest goes first. When it cannot be read or
written, vectors are encoded as if it were not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from indexer.legible import Legible, legible
from indexer.types import AudioSample, Encoder, ImageSample, ModelSpec, Sample, TextSample, TowerSpec, Vectors
from mmsearch.encoders.weights import cache_directory

T = TypeVar("T")

_log = logging.getLogger(__name__)

_VERSION = 1
"""Part of every key, and the version of the tables."""

_STORED = np.dtype("<f4")
_PATIENCE_SECONDS = 30
_MANY = 500  # values in one IN (...)
_ROW_BYTES = 64  # what a row takes besides its vector, about
_ROOM = 0.8  # the part of the bound that is left full when vectors have to go
_DAY_SECONDS = 86_400  # how exactly it is remembered when a vector was used

DEFAULT_MAX_BYTES = 2 * 2**30

_TABLES = """
CREATE TABLE vector (key BLOB NOT NULL PRIMARY KEY, vector BLOB NOT NULL, used_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX vector_used_at ON vector (used_at);
CREATE TABLE tally (bytes INTEGER NOT NULL);
INSERT INTO tally VALUES (0);
"""


def evaluation_directory() -> Path:
    """Where evaluations keep what they may need again: a folder of mmsearch's cache directory."""
    return cache_directory() / "evaluation"


def sample_key(spec: ModelSpec, tower: TowerSpec, sample: Sample) -> bytes:
    """What a sample's vector is kept by: 20 bytes. Where in its file the sample was does not matter."""
    if isinstance(sample, TextSample):
        kind, shape, content = "text", "", sample.text.encode("utf-8", "surrogatepass")
    elif isinstance(sample, ImageSample):
        kind, shape, content = "image", repr(sample.pixels.shape), sample.pixels.tobytes()
    elif isinstance(sample, AudioSample):
        kind, shape, content = "audio", repr(sample.sample_rate), sample.waveform.astype("<f4").tobytes()
    else:
        raise TypeError(f"no such sample: {type(sample).__name__}")
    digest = hashlib.blake2b(digest_size=20)
    for part in (str(_VERSION), spec.fingerprint, tower.modality, tower.space, str(tower.dim), kind, shape):
        digest.update(part.encode() + b"\0")
    digest.update(content)
    return digest.digest()


class VectorCache:
    """Vectors by key, on disk. Safe to use from several threads and processes. `hits` and `misses` count in `get`.

    Args:
        path: the database; one in `evaluation_directory` when None.
        max_bytes: how much the vectors may take together, about.
        clock: seconds since the epoch.
    """

    def __init__(
        self, path: Path | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = path or evaluation_directory() / "vectors.sqlite"
        self.hits = self.misses = 0
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database. The next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        """The vectors that are known, each (dim,) float32."""
        none: dict[bytes, Vectors] = {}
        found = self._do(lambda connection: self._read(connection, list(dict.fromkeys(keys))), none)
        hits = sum(key in found for key in keys)
        with self._lock:
            self.hits += hits
            self.misses += len(keys) - hits
        return found

    def contains(self, key: bytes) -> bool:
        """Whether a vector is known; it counts as neither hit nor miss."""
        query = "SELECT 1 FROM vector WHERE key = ?"
        return self._do(lambda connection: connection.execute(query, (key,)).fetchone() is not None, False)

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Keep some vectors, in one transaction; one that holds a number that is not finite is not kept."""
        now = int(self._clock())
        rows = [
            (key, vector.astype(_STORED).tobytes(), now) for key, vector in vectors.items() if np.isfinite(vector).all()
        ]
        if rows:
            self._do(lambda connection: self._write(connection, rows), None)

    def clear(self) -> int:
        """Forget everything; how many vectors that was."""
        return self._do(_clear, 0)

    def __len__(self) -> int:
        return self._do(lambda connection: _number(connection, "SELECT count(*) FROM vector"), 0)

    @property
    def size_bytes(self) -> int:
        """How much the vectors take together, about."""
        return self._do(lambda connection: _number(connection, "SELECT bytes FROM tally"), 0)

    def _read(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {}
        now = int(self._clock())
        for at in range(0, len(keys), _MANY):
            some = keys[at : at + _MANY]
            query = f"SELECT key, vector, used_at FROM vector WHERE key IN ({','.join('?' * len(some))})"
            rows = connection.execute(query, some).fetchall()
            found.update((key, np.frombuffer(stored, _STORED).astype(np.float32)) for key, stored, _ in rows)
            faded = [(now, key) for key, _, used_at in rows if used_at < now - _DAY_SECONDS]
            if faded:
                with _transaction(connection):
                    connection.executemany("UPDATE vector SET used_at = ? WHERE key = ?", faded)
        return found

    def _write(self, connection: sqlite3.Connection, rows: Sequence[tuple[bytes, bytes, int]]) -> None:
        with _transaction(connection):
            added = 0
            for row in rows:
                if connection.execute("INSERT OR IGNORE INTO vector VALUES (?, ?, ?)", row).rowcount:
                    added += len(row[1]) + _ROW_BYTES
            connection.execute("UPDATE tally SET bytes = bytes + ?", (added,))
            self._make_room(connection)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        held = _number(connection, "SELECT bytes FROM tally")
        if held <= self._max_bytes:
            return
        going: list[tuple[bytes]] = []
        freed = 0
        for key, length in connection.execute("SELECT key, length(vector) FROM vector ORDER BY used_at, key"):
            if held - freed <= self._max_bytes * _ROOM:
                break
            going.append((key,))
            freed += length + _ROW_BYTES
        connection.executemany("DELETE FROM vector WHERE key = ?", going)
        connection.execute("UPDATE tally SET bytes = bytes - ?", (freed,))

    def _do(self, act: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What `act` gives; `otherwise`, with a warning, when the cache cannot be used.

        A database that is damaged is removed, and the next use makes a new one.
        """
        with self._lock:
            try:
                return act(self._open())
            except (sqlite3.Error, OSError) as error:
                _log.warning("the cache of vectors %s cannot be used now: %s", self.path, error)
                if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                    self._discard()
                return otherwise

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                _make_tables(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _clear(connection: sqlite3.Connection) -> int:
    with _transaction(connection):
        count = _number(connection, "SELECT count(*) FROM vector")
        connection.execute("DELETE FROM vector")
        connection.execute("UPDATE tally SET bytes = 0")
    connection.execute("VACUUM")
    return count


def _make_tables(connection: sqlite3.Connection) -> None:
    """The tables, in a new database or one of another version; what that holds has other keys."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
        return
    with _transaction(connection):
        if connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION:  # another process was quicker
            return
        for statement in ("DROP TABLE IF EXISTS vector", "DROP TABLE IF EXISTS tally", *_TABLES.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A sample on its way. While its vector is known it is not prepared: `prepared` is then the sample itself."""

    key: bytes
    prepared: Any
    is_ready: bool

    @property
    def nbytes(self) -> int:
        """How much this holds, about, for queues that are bounded by it."""
        held = getattr(self.prepared, "pixels", getattr(self.prepared, "waveform", self.prepared))
        return int(getattr(held, "nbytes", 4096))


class CachedEncoder:
    """An encoder that asks another one only for what the cache does not hold. Transcripts are not cached."""

    def __init__(self, encoder: Encoder, cache: VectorCache) -> None:
        self._encoder = encoder
        self._cache = cache

    @property
    def spec(self) -> ModelSpec:
        """The other encoder's."""
        return self._encoder.spec

    def prepare(self, tower: TowerSpec, sample: Sample) -> Any:
        """What the other encoder prepares, unless the vector is known already."""
        key = sample_key(self.spec, tower, sample)
        if self._cache.contains(key):
            return _Keyed(key, sample, False)
        return _Keyed(key, self._encoder.prepare(tower, sample), True)

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        """(len(prepared), tower.dim) float32; what is not known is encoded in one batch, each sample once."""
        items: dict[bytes, _Keyed] = {item.key: item for item in prepared}
        known = {key: vector for key, vector in self._cache.get(list(items)).items() if vector.shape == (tower.dim,)}
        unknown = [item for key, item in items.items() if key not in known]
        if unknown:
            ready = [
                item.prepared if item.is_ready else self._encoder.prepare(tower, item.prepared) for item in unknown
            ]
            made = dict(zip((item.key for item in unknown), self._encoder.encode(tower, ready), strict=True))
            self._cache.put(made)
            known |= made
        if not prepared:
            return np.empty((0, tower.dim), np.float32)
        return np.stack([known[item.key] for item in prepared])

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """The other encoder's lines."""
        return self._encoder.transcribe(audio)

    def legible(self, text: str, tower: TowerSpec) -> Legible:
        """What the other encoder can read of a text."""
        return legible(self._encoder, text, tower)

    def count_tokens(self, text: str, tower: TowerSpec | None = None) -> int:
        """The other encoder's count."""
        return self._encoder.count_tokens(text) if tower is None else self._encoder.count_tokens(text, tower)


def encode_texts(encoder: Encoder, tower: TowerSpec, texts: Sequence[str], *, batch_size: int = 64) -> Vectors:
    """Texts through one tower: (len(texts), tower.dim) float32, of any length. Equal texts are encoded once.

    This is how captions become a gallery: pictures are asked with, and the captions are brought into the pictures'
    space by the tower that queries go through.
    """
    unique = list(dict.fromkeys(texts))
    made = np.empty((len(unique), tower.dim), np.float32)
    for at in range(0, len(unique), batch_size):
        batch = unique[at : at + batch_size]
        made[at : at + len(batch)] = encoder.encode(tower, [encoder.prepare(tower, TextSample(t)) for t in batch])
    place = {text: number for number, text in enumerate(unique)}
    return made[[place[text] for text in texts]]
