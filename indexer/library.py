"""One library on disk: a folder with the store, the vector indexes made from it, and the writer's lock."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import cast

import numpy as np
from filelock import FileLock, Timeout

from indexer.ann import (
    Ids,
    IndexFacts,
    IndexFileError,
    Policy,
    Stamp,
    VectorIndex,
    read_facts,
    read_stamp,
    remove_files,
    sweep,
)
from indexer.backgrounds import read_queries
from indexer.errors import (
    LibraryError,
    LibraryLockedError,
    LibraryNotFoundError,
    ModelMismatchError,
    UsageError,
)
from indexer.store import Store
from indexer.strays import emptied
from indexer.types import CHANNELS, Channel, ModelSpec, Vectors

_log = logging.getLogger(__name__)

STORE_NAME = "library.sqlite"

_WORTH_SAVING = 1000  # changed vectors after which a reader writes the index file anew; a writer always does


class Library:
    """A store, and an index of each channel that is kept in step with it. Safe to search from several threads."""

    def __init__(self, path: Path, policy: Policy | None = None) -> None:
        self.path = path
        self.policy = policy or Policy()
        self.store = Store(path / STORE_NAME)
        self._indexes: dict[Channel, tuple[VectorIndex, Stamp]] = {}
        self._tried: dict[Channel, str | None] = {}  # the names of the files that were looked at last
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Library:
        """Open the library at `path`, or make an empty one there when `create` is set.

        Raises:
            LibraryNotFoundError: there is none, and `create` is not set.
            UsageError: there is something else.
        """
        path = Path(os.path.abspath(path))
        try:
            there = (path / STORE_NAME).is_file()
        except PermissionError as error:
            raise LibraryError(f"the library at {path} may not be read: {error.strerror}") from error
        if not there:
            if path.exists() and not path.is_dir():
                raise UsageError(f"{path} is a file, not a library; name a folder with --library")
            if not create and any(path.glob("index/*.faiss")):
                raise LibraryNotFoundError(
                    f"the library at {path} has lost its database, {STORE_NAME}, and the indexes that are left cannot"
                    " bring it back; restore it from a backup, or index your folders again with: mmsearch index FOLDER"
                )
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
                raise UsageError(
                    f"a library cannot be made at {path} ({error.strerror}); choose another place with --library"
                ) from error
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

    @property
    def bound_to(self) -> ModelSpec | None:
        """The only model that may be used; None while there are no vectors, so that any may."""
        generation = self.store.generation()
        return None if generation is None or self.store.is_empty(generation[0]) else generation[1]

    def use(self, spec: ModelSpec) -> int:
        """The generation that holds this model's vectors; a library without vectors takes the model as its own.

        Call it with the writer's lock held.

        Raises:
            ModelMismatchError: the library's vectors are another model's.
        """
        self.check(spec)
        generation = self.store.generation()
        if generation is not None and generation[1].fingerprint == spec.fingerprint:
            return generation[0]
        return self.store.start_generation(spec)

    def check(self, spec: ModelSpec) -> None:
        """Make sure that a model may be used with this library: it made the vectors, or there are none.

        Raises:
            ModelMismatchError: the library's vectors are another model's.
        """
        made_with = self.bound_to
        if made_with is not None and made_with.fingerprint != spec.fingerprint:
            raise self.mismatch(made_with.name, spec.name)

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
    def writing(self, *, wait: bool = False, cancel: threading.Event | None = None) -> Iterator[None]:
        """Be the only process that writes to this library.

        Args:
            wait: whether to wait for another process that does.
            cancel: ends the wait when set.

        Raises:
            LibraryLockedError: another process writes, and `wait` is not set or was cancelled; the message names it.
        """
        holder = self.path / "writer.json"
        lock = FileLock(self.path / "writer.lock")
        try:
            while True:
                try:
                    lock.acquire(timeout=0.2 if wait else 0)
                    break
                except Timeout:
                    if not wait or (cancel is not None and cancel.is_set()):
                        raise LibraryLockedError(
                            f"{self.path} is being written to by {_read_holder(holder)}; try again when it is done "
                            "(mmsearch index --wait waits for that)"
                        ) from None
        except OSError as error:
            raise LibraryError(
                f"the library at {self.path} cannot be written to ({error.strerror or error}): it can be searched; to "
                "change it, see to it that you may write there and that the disk is not full, or make another with "
                "--library"
            ) from error
        try:
            me = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().isoformat(" ", "seconds")}
            with contextlib.suppress(OSError):  # it only tells others who we are
                holder.write_text(json.dumps(me), encoding="utf-8")
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink(missing_ok=True)
            lock.release()

    def writer(self) -> str | None:
        """The process that writes to this library now, in words; None when none does."""
        holder = self.path / "writer.json"
        return _read_holder(holder) if holder.exists() else None

    # --- searching ---

    def search(
        self, channel: Channel, queries: Vectors, k: int, *, allowed: Ids | None = None, exact: bool = False
    ) -> tuple[Vectors, Ids]:
        """The k segments of a channel nearest to each query: scores (q, k') and ids (q, k'), as in `VectorIndex`."""
        with self._lock:  # FAISS cannot add while it searches
            return self._current(channel)[0].search(queries, k, allowed=allowed, exact=exact)

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
            now = self.store.position(generation_id, channel)
            want = Stamp(self.store.library_id, generation_id, channel, tower.dim, now.last_id, now.removals)
            have = None if afresh else self._have(channel, want, now.saved_index)
            index, stamp = have or (VectorIndex(tower.dim, self.policy), None)
            changed = self._top_up(index, stamp, want) if stamp != want else 0
            self._indexes[channel] = (index, want)
            if len(index) == now.vectors:
                break
        if changed and have is None and os.access(self.path, os.W_OK):
            index.settle(self._texts(generation_id, channel))  # once, for all who come later
        is_latest = now.saved_index == self._tried.get(channel)  # else another process has saved a better one since
        if (changed > _WORTH_SAVING and is_latest) or (changed and have is None):
            self._try_to_save(index, want)  # a reader may not be allowed to write, and need not
        return self._indexes[channel]

    def _have(self, channel: Channel, want: Stamp, saved: str | None) -> tuple[VectorIndex, Stamp] | None:
        """The index that is in memory, or that of the file: also when a writer made one since that suits better."""
        have = self._indexes.get(channel)
        if have is not None and have[1].generation_id != want.generation_id:  # another generation answers since
            have = None
        if have is not None and (saved == self._tried.get(channel) or have[0].is_settled()):
            return have
        self._tried[channel] = saved
        loaded = self._load(want, saved)
        return loaded if loaded is not None and (have is None or loaded[0].is_settled()) else have

    def _texts(self, generation_id: int, channel: Channel) -> Vectors:
        """Texts as vectors that a channel's index is tuned by: those of its background, none before it has one."""
        return read_queries(self.store, generation_id, "text", channel)

    def _try_to_save(self, index: VectorIndex, stamp: Stamp) -> None:
        """Save an index, unless that cannot be: it is a cache."""
        try:
            # The store first: should we be killed between the two, the old file is not believed and built again.
            name = uuid.uuid4().hex
            self.store.name_saved_index(stamp.generation_id, _channel(stamp), name)
            index.save(self._file(stamp), replace(stamp, name=name))
            self._tried[_channel(stamp)] = name
        except (OSError, LibraryError) as error:
            _log.warning("the index %s cannot be saved: %s", self._file(stamp), error)

    def save_indexes(self) -> None:
        """Bring every index and its file up to date, each in the structure that suits it.

        Call it with the writer's lock held.
        """
        generation = self.store.generation()
        if generation is None:
            return
        for channel in CHANNELS:
            if generation[1].tower_of(channel) is None:
                continue
            sweep(self._path_of(generation[0], channel))
            texts = self._texts(generation[0], channel)
            with self._lock:
                index, _ = self._current(channel)
                build = index.begin(texts=len(texts) > 0)
            built = None if build is None else build.make(texts)  # searches go on meanwhile
            with self._lock:
                if built is not None:
                    index.adopt(built)
                index, stamp = self._current(channel)
                saved = self.store.position(stamp.generation_id, channel).saved_index
                if built is not None or read_stamp(self._file(stamp)) != replace(stamp, name=saved or ""):
                    self._try_to_save(index, stamp)

    def index_facts(self) -> dict[Channel, IndexFacts]:
        """How each channel is searched that has an index file with vectors, as the file says."""
        generation = self.store.generation()
        channels = () if generation is None else tuple(channel for channel, _ in generation[1].channels)
        found = {channel: read_facts(self._path_of(generation[0], channel)) for channel in channels if generation}
        return {channel: facts for channel, facts in found.items() if facts is not None and facts.vectors}

    def emptied(self) -> str | None:
        """That the database was emptied or replaced, as the index files beside it show; None where it was not."""
        return emptied(self.store, self.path / "index")

    def forget_index(self, channel: Channel) -> None:
        """Drop a channel's index, in memory and on disk, so that it is built again from the store."""
        with self._lock:
            self._indexes.pop(channel, None)
            generation = self.store.generation()
            if generation is not None:
                remove_files(self._path_of(generation[0], channel))

    def index_problem(self, channel: Channel) -> str | None:
        """What is wrong with a channel's index file, or None; a missing one is wrong when there are vectors."""
        generation = self.store.generation()
        if generation is None or generation[1].tower_of(channel) is None:
            return None
        now = self.store.position(generation[0], channel)
        if not now.vectors:
            return None
        path = self._path_of(generation[0], channel)
        try:
            _, stamp = VectorIndex.load(path, whole=True)
        except IndexFileError as error:
            return str(error)
        return None if stamp.name == now.saved_index else f"{path} is not the file that this library saved last"

    def _load(self, want: Stamp, saved: str | None) -> tuple[VectorIndex, Stamp] | None:
        """The index file of a channel, if it is whole and the one that this store saw being saved last."""
        path = self._file(want)
        found = read_stamp(path)
        if found is None or saved is None or found.name != saved:
            return None
        if replace(found, name="", last_id=want.last_id, removals=want.removals) != want:
            return None
        try:
            index, stamp = VectorIndex.load(path, self.policy)
        except IndexFileError as error:
            _log.warning("%s", error)
            if not isinstance(error.__cause__, (OSError, MemoryError)):  # damaged, and not only out of reach for now
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            return None
        return index, replace(stamp, name="")

    def _top_up(self, index: VectorIndex, have: Stamp | None, want: Stamp) -> int:
        """Bring an index from what it has seen to what the store holds; how many vectors that changed."""
        changed = 0
        channel = _channel(want)
        if have is not None and have.removals != want.removals:
            gone = np.setdiff1d(index.ids, self.store.segment_ids(want.generation_id, channel))
            changed += index.remove(gone)
        after = have.last_id if have is not None else 0
        for ids, halves in self.store.halves(want.generation_id, channel, after=after, through=want.last_id):
            index.add(ids, halves)
            changed += len(ids)
        return changed

    def _file(self, stamp: Stamp) -> Path:
        return self._path_of(stamp.generation_id, stamp.channel)

    def _path_of(self, generation_id: int, channel: str) -> Path:
        return self.path / "index" / f"{generation_id}-{channel}.faiss"


def _channel(stamp: Stamp) -> Channel:
    return cast(Channel, stamp.channel)  # a stamp is read from a file, so all that is known is that it is a str


def _read_holder(path: Path) -> str:
    """The process that holds the writer's lock, in words."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"
