"""One library on disk: a folder with the store, the vector indexes made from it, and the writer's lock."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from indexer.ann import Ids, IndexFileError, Stamp, VectorIndex, read_stamp
from indexer.errors import LibraryDamagedError, LibraryLockedError, LibraryNotFoundError, ModelMismatchError, UsageError
from indexer.store import Store
from indexer.types import CHANNELS, Channel, ModelSpec, Vectors

STORE_NAME = "library.sqlite"

_WORTH_SAVING = 1000  # changed vectors after which a reader writes the index file anew; a writer always does

_LEFT_OVER_SECONDS = 600.0  # a file that is still being saved is younger


class Library:
    """A store, and an index of each channel that is kept in step with it. Safe to search from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store(path / STORE_NAME)
        self._indexes: dict[Channel, tuple[VectorIndex, Stamp]] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Library:
        """Open the library at `path`, or make an empty one there when `create` is set.

        Raises:
            LibraryNotFoundError: there is none, and `create` is not set.
            UsageError: there is something else.
        """
        path = Path(os.path.abspath(path))
        if not (path / STORE_NAME).is_file():
            if path.exists() and not path.is_dir():
                raise UsageError(f"{path} is a file, not a library; name a folder with --library")
            if not create:
                raise LibraryNotFoundError(
                    f"there is no library at {path}; make one with: mmsearch index FOLDER "
                    "(or choose another with --library)"
                )
            if path.exists() and any(path.iterdir()) and not (path / "writer.lock").exists():
                raise UsageError(f"{path} holds other files; a new library needs an empty or new folder")
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"a library cannot be made at {path}: {error.strerror}") from error
        return cls(path)

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()

    # --- the model ---

    @property
    def spec(self) -> ModelSpec | None:
        """The model that made the vectors; None while there are none."""
        generation = self.store.generation()
        return None if generation is None else generation[1]

    def use(self, spec: ModelSpec) -> int:
        """The generation that holds this model's vectors; a new library takes the model as its own.

        Raises:
            ModelMismatchError: the library's vectors are another model's.
        """
        generation = self.store.generation()
        if generation is None:
            return self.store.start_generation(spec)
        generation_id, made_with = generation
        if made_with.fingerprint != spec.fingerprint:
            raise self.mismatch(made_with.name, spec.name)
        return generation_id

    def mismatch(self, made_with: str, asked: str) -> ModelMismatchError:
        """The error for a library that was made with one model and is asked to take another."""
        versions = (
            f"another version of {asked!r}" if made_with == asked else f"the model {made_with!r}, not with {asked!r}"
        )
        return ModelMismatchError(
            f"the library at {self.path} was made with {versions}, and vectors of two models cannot be compared; "
            "leave --model out to use the library's own, or make another library with --library"
        )

    # --- writing ---

    @contextlib.contextmanager
    def writing(self, *, wait: bool = False) -> Iterator[None]:
        """Be the only process that writes to this library.

        Raises:
            LibraryLockedError: another process does, and `wait` is not set; the message names it.
        """
        holder = self.path / "writer.json"
        lock = FileLock(self.path / "writer.lock", timeout=-1 if wait else 0)
        try:
            lock.acquire()
        except Timeout:
            raise LibraryLockedError(
                f"{self.path} is being written to by {_read_holder(holder)}; wait for it (--wait), or try again later"
            ) from None
        except OSError as error:
            raise LibraryDamagedError(f"{self.path} cannot be written to: {error}") from error
        try:
            me = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().isoformat(" ", "seconds")}
            holder.write_text(json.dumps(me), encoding="utf-8")
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink(missing_ok=True)
            lock.release()

    # --- searching ---

    def search(self, channel: Channel, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Vectors, Ids]:
        """The k segments of a channel nearest to each query: scores (q, k') and ids (q, k'), as in `VectorIndex`."""
        with self._lock:  # FAISS cannot add while it searches
            return self._current(channel)[0].search(queries, k, allowed=allowed)

    def index(self, channel: Channel) -> VectorIndex:
        """The index of a channel, in step with the store. It is this library's own: read it, do not change it."""
        with self._lock:
            return self._current(channel)[0]

    def _current(self, channel: Channel) -> tuple[VectorIndex, Stamp]:
        """The index of a channel, in step with the store: as it is, loaded, topped up, or built again."""
        generation = self.store.generation()
        if generation is None:
            raise ValueError("a library without a model has no index")
        generation_id, spec = generation
        tower = spec.tower_of(channel)
        if tower is None:
            raise ValueError(f"model {spec.name!r} has no channel {channel!r}")
        for afresh in (False, False, True):  # a writer may be at work between our two readings of the store
            last_id, count, removals = self.store.position(generation_id, channel)
            want = Stamp(self.store.library_id, generation_id, channel, tower.dim, last_id, removals)
            have = None if afresh else self._indexes.get(channel) or self._load(want)
            index, stamp = have or (VectorIndex(tower.dim), None)
            changed = self._top_up(index, stamp, want) if stamp != want else 0
            self._indexes[channel] = (index, want)
            if len(index) == count:
                break
        if changed > _WORTH_SAVING or (changed and have is None):
            with contextlib.suppress(OSError):  # a reader may not be allowed to write, and need not
                index.save(self._file(want), want)
        return self._indexes[channel]

    def save_indexes(self) -> None:
        """Bring every index and its file up to date. Call it with the writer's lock held."""
        generation = self.store.generation()
        if generation is None:
            return
        for left_over in self.path.glob("index/*.tmp"):  # by a process that was killed while it saved
            with contextlib.suppress(OSError):
                if time.time() - left_over.stat().st_mtime > _LEFT_OVER_SECONDS:
                    left_over.unlink()
        for channel in CHANNELS:
            if generation[1].tower_of(channel) is None:
                continue
            with self._lock:
                index, stamp = self._current(channel)
                if read_stamp(self._file(stamp)) != stamp:
                    index.save(self._file(stamp), stamp)

    def forget_index(self, channel: Channel) -> None:
        """Drop a channel's index, in memory and on disk, so that it is built again from the store."""
        with self._lock:
            self._indexes.pop(channel, None)
            generation = self.store.generation()
            if generation is not None:
                self._path_of(generation[0], channel).unlink(missing_ok=True)

    def index_problem(self, channel: Channel) -> str | None:
        """What is wrong with a channel's index file, or None; a missing one is wrong when there are vectors."""
        generation = self.store.generation()
        if generation is None or generation[1].tower_of(channel) is None:
            return None
        if not self.store.position(generation[0], channel)[1]:
            return None
        try:
            VectorIndex.load(self._path_of(generation[0], channel))
        except IndexFileError as error:
            return str(error)
        return None

    def _load(self, want: Stamp) -> tuple[VectorIndex, Stamp] | None:
        """The index file of a channel, if it is whole and of this library, model and size of vector."""
        path = self._file(want)
        try:
            index, stamp = VectorIndex.load(path)
        except IndexFileError:
            with contextlib.suppress(OSError):  # its head may be whole, and must not pass for a good file's
                path.unlink(missing_ok=True)
            return None
        same = (stamp.library_id, stamp.generation_id, stamp.channel, stamp.dim)
        return (index, stamp) if same == (want.library_id, want.generation_id, want.channel, want.dim) else None

    def _top_up(self, index: VectorIndex, have: Stamp | None, want: Stamp) -> int:
        """Bring an index from what it has seen to what the store holds; how many vectors that changed."""
        changed = 0
        channel: Channel = want.channel  # type: ignore[assignment]  # a Stamp is read from JSON, so its type is str
        if have is not None and have.removals != want.removals:
            gone = np.setdiff1d(index.ids, self.store.segment_ids(want.generation_id, channel))
            changed += index.remove(gone)
        after = have.last_id if have is not None else 0
        for ids, vectors in self.store.vectors(want.generation_id, channel, after=after, through=want.last_id):
            index.add(ids, vectors)
            changed += len(ids)
        return changed

    def _file(self, stamp: Stamp) -> Path:
        return self._path_of(stamp.generation_id, stamp.channel)

    def _path_of(self, generation_id: int, channel: str) -> Path:
        return self.path / "index" / f"{generation_id}-{channel}.faiss"


def _read_holder(path: Path) -> str:
    """The process that holds the writer's lock, in words."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"
