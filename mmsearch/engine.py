"""The Engine: open a library, index into it, search it. The command line and other programs stand on this."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.ann import Ids
from indexer.errors import EmptyLibraryError, LibraryNotFoundError, UsageError
from indexer.faiss_build import FaissBuild, faiss_build
from indexer.library import Library
from indexer.lookup import Counts, Filter, Place, Trouble, admitted, count, describe, segments_of, troubles
from indexer.paths import relative_to
from indexer.records import Removed
from indexer.report import IndexOptions, IndexReport, Progress
from indexer.types import AudioSample, Channel, Encoder, Kind, ModelSpec, TextSample, TowerSpec, Vectors
from mmsearch.encoders import AUTO, DEFAULT_MODEL, load_encoder
from mmsearch.encoders.events import OnModelEvent
from mmsearch.encoders.request import ModelRequest
from mmsearch.places import bytes_of, default_library, expanded, spellings
from mmsearch.query import Query
from mmsearch.rank import Hit, rank

if TYPE_CHECKING:
    from indexer.verify import VerifyReport

_ROUNDING = 1e-5  # FAISS and NumPy may differ by this in a score; what is closer than that is a tie


@dataclass(frozen=True, slots=True)
class Status:
    """How a library stands. Sizes are in bytes; `spec` is None in a library that has no model yet."""

    path: Path
    spec: ModelSpec | None
    counts: Counts
    database_bytes: int
    index_bytes: int
    troubles: tuple[Trouble, ...]
    faiss: FaissBuild


class _Shared:
    """An encoder whose calls are taken in turn, so that queries are answered while an indexing run goes on."""

    def __init__(self, encoder: Encoder, turn: threading.RLock) -> None:
        self._encoder = encoder
        self._turn = turn
        self.spec = encoder.spec
        self.prepare = encoder.prepare
        self.count_tokens = encoder.count_tokens

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        with self._turn:
            return self._encoder.encode(tower, prepared)

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        with self._turn:
            return self._encoder.transcribe(audio)


class Engine:
    """One library and the model that made it. Use it as a context manager, or call `close`."""

    def __init__(self, library: Library, encoder: Encoder | None, asked: ModelRequest | None = None) -> None:
        self._library = library
        self._encoder = encoder
        self._asked = asked or ModelRequest()
        self._encoding = threading.RLock()  # an encoder takes one call at a time, and is made once

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        model: str | Encoder | None = None,
        create: bool = True,
        speech: str | None = None,
        precision: str | None = None,
        on_event: OnModelEvent | None = None,
    ) -> Engine:
        """Open a library, making a new one where there is none.

        Args:
            path: the library's folder; `default_library()` when None.
            model: a name such as "fast", or an encoder of your own. "auto" takes the model that the library was made
                with; a library without one gets "fast" if that is on this machine or can be fetched, and else "mini".
                None means the same, and decides when the model is first used.
            create: whether to make a library that is not there.
            speech: what listens, for a library without a model: "tiny.en" (installed), "off", a size of Whisper such as
                "base", a repository or a folder. A library keeps its own.
            precision: "float32", "bfloat16" or "float16" (on a GPU), for a library without a model; None and "auto"
                take what suits the machine. A library keeps its own.
            on_event: gets `ModelNotice`s (which model was chosen, what is about to be fetched) and, while weights are
                fetched, `Fetching`. Without it, notices are logged as warnings of "mmsearch.models".

        Raises:
            LibraryNotFoundError: there is no library, and `create` is False.
            ModelMismatchError: the library was made with another model, recogniser of speech or precision.
            ModelError: there is no such model.
            UsageError: `speech` or `precision` go with an encoder of your own, or name nothing there is.
        """
        place = expanded(path) if path is not None else default_library()
        encoder = None if isinstance(model, str) else model
        if encoder is not None and (speech, precision) != (None, None):
            raise UsageError("an encoder of your own brings its own speech and precision; leave these out")
        asked = ModelRequest.of(model if isinstance(model, str) else None, speech, precision, on_event)
        try:
            library = Library.open(place, create=False)
        except LibraryNotFoundError:
            if not create:
                raise
            if asked.model is not None or model == AUTO:
                encoder = _made(*asked.for_new_library(DEFAULT_MODEL), on_event)
                _ = encoder.spec  # a name that leads nowhere fails here, and leaves no library behind
            library = Library.open(place, create=True)
        try:
            spec = library.bound_to
            if spec is not None and encoder is None:
                asked.check(library.path, spec)
            if asked.model is not None and encoder is None:
                of_model = asked.for_new_library(DEFAULT_MODEL) if spec is None else asked.for_library(spec)
                encoder = _made(*of_model, on_event)
            if encoder is not None and spec is not None:
                library.check(encoder.spec)
        except BaseException:
            library.close()
            raise
        return cls(library, encoder, asked)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the library. The engine cannot be used after this."""
        self._library.close()

    @property
    def path(self) -> Path:
        """The library's folder."""
        return self._library.path

    @property
    def encoder(self) -> Encoder:
        """The model, loaded on first use: chosen where the library has none yet, and fetched where it is not here.

        Raises:
            ModelMismatchError: this version of mmsearch would make other vectors than those in the library.
        """
        with self._encoding:
            if self._encoder is None:
                spec = self._library.spec
                if self._library.bound_to is None and not self._asked.says_nothing:
                    spec = None  # nothing holds a library without vectors to the model that it had
                of_model = self._asked.for_new_library(DEFAULT_MODEL) if spec is None else self._asked.for_library(spec)
                encoder = _made(*of_model, self._asked.on_event)
                if spec is not None:
                    self._library.check(encoder.spec)
                self._encoder = encoder
            return self._encoder

    # --- writing ---

    def index(
        self,
        *paths: str | os.PathLike[str],
        options: IndexOptions | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> IndexReport:
        """Index what is new or changed in some files and folders; without any, in all that were ever indexed.

        Args:
            paths: files and folders. A folder becomes a root of the library.
            options: how; see `IndexOptions`.
            on_progress: called from this thread, ten times a second at most.
            cancel: set it from anywhere to end the run cleanly, with what is done kept.

        Raises:
            UsageError: a path does not exist, or there is nothing to index.
            LibraryLockedError: another process is writing, and `options.wait` is not set.
        """
        from indexer.changes import find_targets, known_targets
        from indexer.pipeline import run
        from mmsearch.encoders.devices import batch_size

        options = options or IndexOptions()
        with self._library.writing(wait=options.wait, cancel=cancel):
            unreachable: list[str] = []
            if paths:
                targets = find_targets(self._library, [os.fspath(path) for path in paths])
            else:
                targets, unreachable = known_targets(self._library)
                if not targets and unreachable:
                    raise UsageError(
                        f"none of the library's folders can be reached: {', '.join(unreachable)}; if one was moved, "
                        "say so with: mmsearch move OLD NEW"
                    )
                if not targets:
                    raise UsageError("nothing was indexed yet: name a folder, for example: mmsearch index ./media")
            encoder = _Shared(self.encoder, self._encoding)
            if options.batch_size == IndexOptions().batch_size:
                options = replace(options, batch_size=batch_size(options.batch_size))  # as many as suit a GPU
            report = run(self._library, encoder, targets, options, on_progress=on_progress, cancel=cancel)
            report.unreachable += unreachable
            return report

    def remove(self, path: str | os.PathLike[str]) -> Removed:
        """Forget a file or folder and all below it. Nothing on disk is touched.

        Raises:
            UsageError: the library holds nothing there.
        """
        with self._library.writing():
            removed, known = Removed(0, 0), False
            for place in spellings(os.fspath(path)):
                for root_id, root in self._library.store.roots().items():
                    scope = "" if relative_to(root, place) is not None else relative_to(place, root)
                    if scope is not None:
                        known = known or not scope
                        gone = self._library.store.remove(root_id, scope)
                        removed = Removed(removed.files + gone.files, removed.segments + gone.segments)
            if not removed.files and not known:
                raise UsageError(f"the library holds nothing at {path}; see what it holds with: mmsearch status")
            self._library.save_indexes()
        return removed

    def move_root(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Say that a root now lies elsewhere; nothing is encoded again. Returns the number of its files.

        Raises:
            UsageError: `old` is no root, or `new` is no folder, or lies in or around another root.
        """
        old_path = os.path.abspath(os.path.expanduser(os.fspath(old)))
        new_path = os.path.realpath(os.path.expanduser(os.fspath(new)))
        with self._library.writing():
            roots = list(self._library.store.roots().values())
            if old_path not in roots:
                old_path = os.path.realpath(old_path)
            if old_path not in roots:
                raise UsageError(f"{old} is none of the library's folders, which are: {', '.join(roots) or 'none'}")
            if not os.path.isdir(new_path):
                raise UsageError(f"there is no folder at {new}; move it there first, then say so")
            for other in roots:
                if other != old_path and (relative_to(other, new_path) or relative_to(new_path, other)) is not None:
                    raise UsageError(
                        f"{new} overlaps with {other}, which the library holds already; forget the files that were "
                        f"at the old place with: mmsearch remove {old}"
                    )
            return self._library.store.move_root(old_path, new_path) or 0

    def verify(self) -> VerifyReport:
        """Check files, rows, vectors and indexes against each other, and mend what can be mended."""
        from indexer.verify import verify

        with self._library.writing():
            return verify(self._library)

    # --- asking ---

    def query(
        self, query: str | Query, k: int = 10, *, kinds: Sequence[Kind] = (), within: Sequence[str] = ()
    ) -> list[Hit]:
        """The files that answer best, each with its best moments, by falling cosine similarity.

        Args:
            query: words, or a `Query`, which then says all the rest.
            k: how many files at most.
            kinds: kinds of file that may answer; any when empty.
            within: folders that they may lie in; any when empty.

        Raises:
            UsageError: the query is empty or too long, or a folder in `within` is not in the library.
            EmptyLibraryError: nothing has been indexed yet.
        """
        if isinstance(kinds, str) or isinstance(within, str):
            raise UsageError("kinds and within are lists, for example kinds=['image'], within=['media/2024']")
        if isinstance(query, str):
            query = Query.of_text(query, k=k, kinds=tuple(kinds), within=tuple(within))
        generation = self._library.store.generation()
        if generation is None or self._library.store.is_empty(generation[0]):
            writer = self._library.writer()
            raise EmptyLibraryError(
                f"the library at {self.path} holds nothing yet; {writer} is writing to it now, so try again soon"
                if writer
                else f"the library at {self.path} is empty; fill it with: mmsearch index FOLDER"
            )
        generation_id, spec = generation
        wanted = Filter(query.kinds, self._places(query.within) if query.within else None)
        vectors = self._encode(query, spec)
        store = self._library.store
        allowed = {channel: admitted(store, generation_id, channel, wanted) for channel in vectors}
        best = self._nearest(query.k, vectors, allowed, wanted)
        # All segments of the files that were found, so that a file's moments do not depend on how many were asked for.
        scored: dict[int, float] = {}
        for channel, vector in vectors.items():
            ids, stored = segments_of(store, generation_id, channel, best)
            scored.update(zip(ids.tolist(), (stored @ vector[0]).tolist() if len(ids) else (), strict=True))
        found = describe(store, list(scored), wanted)
        return rank((scored[id], segment) for id, segment in found.items())[: query.k]

    def _nearest(
        self, k: int, vectors: dict[Channel, Vectors], allowed: dict[Channel, Ids | None], wanted: Filter
    ) -> list[int]:
        """The contents of the k best files. Segments are fetched in growing numbers until no unseen one can matter."""
        depth = max(64, 8 * k)
        while True:
            scored: dict[int, float] = {}
            unseen = -np.inf  # no segment that was not fetched scores above this
            for channel, vector in vectors.items():
                scores, ids = self._library.search(channel, vector, depth, allowed=allowed[channel])
                scored.update(zip(ids[0].tolist(), scores[0].tolist(), strict=True))
                if ids.shape[1] == depth:
                    unseen = max(unseen, float(scores[0, -1]))
            found = describe(self._library.store, list(scored), wanted)
            by_file = rank((scored[id], segment) for id, segment in found.items())
            if unseen == -np.inf or (len(by_file) >= k and by_file[k - 1].score > unseen + _ROUNDING):
                content_of = {segment.paths[0]: segment.content_id for segment in found.values()}
                return [content_of[hit.path] for hit in by_file[:k]]
            depth *= 4

    def _encode(self, query: Query, spec: ModelSpec) -> dict[Channel, Vectors]:
        """The query in the space of each channel that a tower brings it to: (1, dim) float32 each."""
        encoder = self.encoder
        reached = {channel: spec.query_tower(query.modality, channel) for channel, _ in spec.channels}
        if isinstance(query.sample, TextSample):
            for tower in dict.fromkeys(reached.values()):
                if tower is not None:
                    self._check_length(query.sample.text, tower, spec)
        vectors: dict[TowerSpec, Vectors] = {}
        found: dict[Channel, Vectors] = {}
        with self._encoding:
            for channel, tower in reached.items():
                if tower is None:
                    continue
                if tower not in vectors:
                    vectors[tower] = encoder.encode(tower, [encoder.prepare(tower, query.sample)])
                found[channel] = vectors[tower]
        return found

    def _check_length(self, text: str, tower: TowerSpec, spec: ModelSpec) -> None:
        """Refuse a query that a tower would read only the beginning of."""
        limited = tower in dict(spec.token_limits)
        tokens = self.encoder.count_tokens(text, tower) if limited else self.encoder.count_tokens(text)
        limit = spec.token_limit(tower)
        if tokens > limit:
            raise UsageError(f"the query has {tokens} tokens, and the model {spec.name!r} reads {limit}; shorten it")

    def _places(self, folders: Iterable[str]) -> tuple[Place, ...]:
        """Where folders lie in the library's roots, or which roots lie in them."""
        roots = self._library.store.roots()
        places: list[Place] = []
        for folder in folders:
            inside, holds = [], []
            for place in spellings(folder):
                inside += [(id, scope) for id, root in roots.items() if (scope := relative_to(place, root)) is not None]
                holds += [(id, "") for id, root in roots.items() if relative_to(root, place) is not None]
            if not inside and not holds:
                raise UsageError(f"{folder} lies in none of the library's folders: {', '.join(roots.values())}")
            if any(scope and not os.path.exists(place) and not self._knows(id, scope) for id, scope in inside):
                raise UsageError(f"there is nothing at {folder}, and the library knows of nothing there")
            places += inside or holds
        return tuple(places)

    def _knows(self, root_id: int, scope: str) -> bool:
        directory, _, name = scope.rpartition("/")
        store = self._library.store
        return bool(store.directories(root_id, scope)) or name in store.known_in(root_id, directory)

    def status(self) -> Status:
        """What is indexed, with which model, how big it is, and what failed and why."""
        generation = self._library.store.generation()
        generation_id = None if generation is None else generation[0]
        return Status(
            path=self.path,
            spec=None if generation is None else generation[1],
            counts=count(self._library.store, generation_id),
            database_bytes=bytes_of(self.path.glob("library.sqlite*")),
            index_bytes=bytes_of(self.path.glob("index/*.faiss")),
            troubles=tuple(troubles(self._library.store, generation_id)),
            faiss=faiss_build(),
        )


def _made(name: str, precision: str | None, on_event: OnModelEvent | None) -> Encoder:
    """The encoder of a model, after fetching what is not here of it."""
    from mmsearch.encoders.pull import ensure

    ensure(name, on_event)
    return load_encoder(name) if precision is None else load_encoder(name, precision=precision)
