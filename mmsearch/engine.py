"""The Engine: open a library, index into it, search it. The command line and other programs stand on this."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from indexer.cores import one_blas_thread
from indexer.errors import EmptyLibraryError, LibraryNotFoundError, UsageError
from indexer.library import Library
from indexer.records import Removed
from indexer.report import IndexOptions, IndexReport, Progress
from indexer.types import Channel, Encoder, Kind
from mmsearch import upkeep
from mmsearch.background import BackgroundCache, calibrate
from mmsearch.bridge import Bridge, BridgeCache
from mmsearch.bridge.advice import missing_bridge
from mmsearch.cancel import Check, check_of, go_on
from mmsearch.encoders import AUTO, DEFAULT_MODEL, load_encoder, loaded_if_here
from mmsearch.encoders.events import OnModelEvent
from mmsearch.encoders.request import ModelRequest
from mmsearch.held import content_at, filter_of, stored_reading, why_not_held
from mmsearch.insights import Insights
from mmsearch.learning import Learning
from mmsearch.literal import find_literally
from mmsearch.places import default_library, expanded
from mmsearch.plan import make_plan
from mmsearch.prepared import Prepared
from mmsearch.presence import as_on_disk
from mmsearch.query import Query, Term
from mmsearch.rank import Answer
from mmsearch.readings import Reading, has_meaning, read_term
from mmsearch.search import search
from mmsearch.sharing import Shared, Turn, encode_samples
from mmsearch.status import Status, advice_of, status_of
from mmsearch.training.adapted import fitted
from mmsearch.unread import check_readable, is_plain, remarks_on

if TYPE_CHECKING:
    from indexer.verify import VerifyReport


class Engine(Insights, Learning):
    """One library and the model that made it. Use it as a context manager, or call `close`."""

    def __init__(self, library: Library, encoder: Encoder | None, asked: ModelRequest | None = None) -> None:
        self._library = library
        self._encoder = encoder
        self._backgrounds = BackgroundCache(library)
        self._asked = asked or ModelRequest()
        self._bridges = BridgeCache(library)
        self._loading: threading.Thread | None = None
        self._encoding = Turn()  # an encoder takes one call at a time, and is made once

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
            UnknownModelError: there is no such model or recogniser of speech.
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
                encoder = fitted(library, encoder)
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
        if self._loading is not None:
            self._loading.join()
        self._library.close()

    @property
    def path(self) -> Path:
        """The library's folder."""
        return self._library.path

    @property
    def library(self) -> Library:
        """The library itself: its store, for what is asked of it besides queries."""
        return self._library

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
                encoder = fitted(self._library, _made(*of_model, self._asked.on_event))
                if spec is not None:
                    self._library.check(encoder.spec)
                self._encoder = encoder
            self._encoder = fitted(self._library, self._encoder)  # another process may have adapted the library since
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
        from indexer.pipeline import run
        from mmsearch.bridge.build import refresh_means
        from mmsearch.encoders.devices import batch_size

        options = options or IndexOptions()
        with self._library.writing(wait=options.wait, cancel=cancel):
            targets, unreachable = upkeep.targets_of(self._library, [os.fspath(path) for path in paths])
            encoder = Shared(self.encoder, self._encoding)
            if options.batch_size == IndexOptions().batch_size:
                options = replace(options, batch_size=batch_size(options.batch_size))  # as many as suit a GPU
            report = run(self._library, encoder, targets, options, on_progress=on_progress, cancel=cancel)
            if not report.interrupted:
                refresh_means(self._library)
                calibrate(self._library, encoder)
                self._library.save_indexes()  # large ones are tuned by the texts that it has encoded
                self._keep_text()
            report.unreachable += unreachable
            return report

    def remove(self, path: str | os.PathLike[str]) -> Removed:
        """Forget a file or folder and all below it. Nothing on disk is touched.

        Raises:
            UsageError: the library holds nothing there.
        """
        with self._library.writing():
            return upkeep.remove(self._library, os.fspath(path))

    def move_root(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Say that a root now lies elsewhere; nothing is encoded again. Returns the number of its files.

        Raises:
            UsageError: `old` is no root, or `new` is no folder, or lies in or around another root.
        """
        with self._library.writing():
            return upkeep.move_root(self._library, os.fspath(old), os.fspath(new))

    def verify(self) -> VerifyReport:
        """Check files, rows, vectors and indexes against each other, and mend what can be mended."""
        from indexer.verify import verify

        with self._library.writing():
            return verify(self._library)

    # --- asking ---

    def query(
        self,
        query: str | Query,
        k: int = 10,
        *,
        kinds: Sequence[Kind] = (),
        within: Sequence[str] = (),
        fold: bool = True,
        cancel: threading.Event | None = None,
    ) -> Answer:
        """The files that answer best, each with its best moments, best first.

        Args:
            query: words, or a `Query`, which then says all the rest.
            k: how many files at most.
            kinds: kinds of file that may answer; any when empty.
            within: folders that they may lie in; any when empty.
            fold: whether a file that shows nearly the same as a better one is put under that one.
            cancel: set it from anywhere to end the search before its next stage: each batch through a tower, each
                channel, what is found by words, the rows of what was found. One stage is never cut short.

        Raises:
            UsageError: the query is empty or too long, a file in it cannot be read, the model has no tower for it,
                or a folder in `within` is not in the library.
            EmptyLibraryError: nothing has been indexed yet.
            CancelledError: `cancel` was set before the answer was there.
        """
        if isinstance(query, str):
            query = Query.of_text(query, k=k, kinds=kinds, within=within)
        return self._ask(query, hidden=False, fold=fold, check=check_of(cancel))

    def similar(
        self, path: str | os.PathLike[str], k: int = 10, *, cancel: threading.Event | None = None, **how: Any
    ) -> Answer:
        """The files that are most like one, which is left out itself. One that is in the library costs no encoding.

        Args:
            path: the file, in the library or not.
            k: how many files at most.
            cancel: as for `query`.
            how: other fields of `Query`, such as `kinds`.

        Raises:
            UsageError: there is no such file, or it cannot be read, or the model has no tower for it.
            EmptyLibraryError: nothing has been indexed yet.
            CancelledError: `cancel` was set before the answer was there.
        """
        if not os.path.isfile(os.path.expanduser(path)) and "://" not in os.fsdecode(path):
            raise why_not_held(self._library, os.fspath(path))
        return self._ask(Query((Term.of_file(path),), k=k, **how), hidden=True, check=check_of(cancel))

    def _ask(
        self,
        query: Query,
        *,
        hidden: bool,
        fold: bool = True,
        given: Mapping[int, Reading] | None = None,
        check: Check = go_on,
    ) -> Answer:
        """Put a query to the library; `hidden` leaves the files out that it asks with. `given`: see `_prepared`."""
        ready = self._prepared(query, given, check)
        own = frozenset(content for content in ready.held if content) if hidden else frozenset()
        # Words are looked for in a thread of their own, while vectors are: SQLite and FAISS let go of the GIL.
        with ThreadPoolExecutor(1, "words") as aside, one_blas_thread():  # for a few hundred rows, a second only waits
            words = aside.submit(find_literally, self._library.store, ready.generation_id, query, ready.wanted, check)
            found = search(
                self._library,
                ready.generation_id,
                ready.plan,
                ready.wanted,
                words=words.result,
                hidden=own,
                fold=fold,
                check=check,
            )
        return as_on_disk(self._library.store, replace(found, remarks=ready.remarks))

    def _prepared(self, query: Query, given: Mapping[int, Reading] | None = None, check: Check = go_on) -> Prepared:
        """Read a query's terms and filters; `given` has the readings of terms that need not be read, by their place."""
        check()
        generation = self._library.store.generation()
        if generation is None or not self._library.store.has_read_files(generation[0]):
            writer = self._library.writer()
            raise EmptyLibraryError(
                f"the library at {self.path} holds nothing yet; {writer} is writing to it now, so try again soon"
                if writer
                else self._library.emptied()
                or f"the library at {self.path} is empty; fill it with: mmsearch index FOLDER"
            )
        generation_id, spec = generation
        given = given or {}
        wanted = filter_of(self._library, query)
        backgrounds = self._backgrounds.read(generation_id)
        bridge = self._bridges.read(generation_id, spec) if any(term.kind != "text" for term in query.terms) else None
        bridge = bridge and bridge.calibrated(backgrounds)
        filled = [
            channel for channel, _ in spec.channels if self._library.store.position(generation_id, channel).vectors
        ]
        self._load_ahead(filled)
        held = [content_at(self._library, term.value) if _is_file(term) else None for term in query.terms]
        readings = [
            given.get(place)
            or (content and stored_reading(self._library, generation_id, spec, term, content, bridge, self))
            or self._read(term, bridge, filled, check)
            for place, (term, content) in enumerate(zip(query.terms, held, strict=True))
        ]
        remarks = remarks_on(query, self.encoder, filled) if any(map(is_plain, query.terms)) else ()
        if not has_meaning(query, readings):
            check_readable(query, remarks)
        check()
        plan = make_plan(self._library, generation_id, backgrounds, query, readings, wanted)
        return Prepared(query, generation_id, spec, wanted, tuple(held), tuple(readings), plan, remarks)

    def _load_ahead(self, channels: Sequence[Channel]) -> None:
        """Load the indexes that a query will ask in a thread of their own, while its words become vectors."""

        def load() -> None:
            with suppress(Exception):  # the search meets the same, and tells
                for channel in channels:
                    self._library.index(channel)

        if self._loading is None:
            self._loading = threading.Thread(target=load, name="load-indexes", daemon=True)
            self._loading.start()

    def _read(self, term: Term, bridge: Bridge | None, filled: Sequence[Channel], check: Check) -> Reading:
        check()
        encoder = Shared(self.encoder, self._encoding.while_wanted(check))
        reading = read_term(term, encoder, partial(encode_samples, encoder), bridge, filled)
        self._keep_text()
        return reading

    def _keep_text(self) -> None:
        """Where text towers had to be loaded, see to it that the next process need not."""
        keep = getattr(self._encoder, "keep_text", None)
        if keep is not None:
            with self._encoding:
                keep()

    def missing_bridge(self, query: Query) -> str | None:
        """One line for a person who asked for what only a bridge would find, on how to get it; None for others."""
        return missing_bridge(self._library, query)

    def advice(self) -> str | None:
        """One line on a better version of the library's model, and how to come by it; None where there is none."""
        return advice_of(self._library)

    def status(self) -> Status:
        """What is indexed, with which model, how big it is, and what failed and why."""
        encoder, spec = self._encoder, self._library.spec
        if encoder is None and spec is not None:
            encoder = loaded_if_here(spec.name, spec.precision)
        return status_of(self._library, encoder)


def _is_file(term: Term) -> bool:
    return term.kind != "text" and not term.samples


def _made(name: str, precision: str | None, on_event: OnModelEvent | None) -> Encoder:
    """The encoder of a model, after fetching what is not here of it."""
    from mmsearch.encoders.pull import ensure

    ensure(name, on_event)
    return load_encoder(name) if precision is None else load_encoder(name, precision=precision)
