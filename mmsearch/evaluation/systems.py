"""What is compared: models, each with the library that holds the gallery for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from indexer.errors import EmptyLibraryError, UsageError
from indexer.library import Library
from indexer.types import Encoder
from mmsearch.encoders import load_encoder
from mmsearch.encoders.events import OnModelEvent
from mmsearch.encoders.models import AUTO
from mmsearch.encoders.names import short_name
from mmsearch.encoders.pull import ensure
from mmsearch.engine import Engine
from mmsearch.evaluation.by_engine import calibrated
from mmsearch.evaluation.by_model import Source, indexed
from mmsearch.evaluation.cache import CachedEncoder, VectorCache, evaluation_directory
from mmsearch.evaluation.cases import EvaluationSet, GalleryItem, Skipped
from mmsearch.evaluation.datasets.folder import Folder, canonical, kind_of
from mmsearch.evaluation.ids import Id
from mmsearch.evaluation.options import EvaluationOptions, Watch
from mmsearch.evaluation.shelf import holdings
from mmsearch.places import default_library, expanded

DEFAULT = "mini"
"""The model of a data set's evaluation when nobody names one: the same on every machine."""


@dataclass(frozen=True, slots=True)
class System:
    """One of those that are compared. `library`: one's own, searched as it is; None for galleries in the cache."""

    name: str
    encoder: Encoder
    library: Path | None = None


@contextmanager
def cache_of(options: EvaluationOptions) -> Iterator[tuple[VectorCache, EvaluationOptions]]:
    """The cache of vectors, and the options with the folder that it is in; a temporary one if nothing is to be kept."""
    if options.keep:
        folder = options.cache if options.cache is not None else evaluation_directory()
        with VectorCache(folder / "vectors.sqlite") as cache:
            yield cache, replace(options, cache=folder)
        return
    with (
        TemporaryDirectory(prefix="mmsearch-eval-", ignore_cleanup_errors=True) as folder_name,
        VectorCache(Path(folder_name) / "vectors.sqlite") as cache,
    ):
        yield cache, replace(options, cache=Path(folder_name))


def systems_of(
    models: Sequence[str | Encoder], cache: VectorCache, own: Path | None, on_event: OnModelEvent | None = None
) -> list[System]:
    """The systems that were asked for.

    Args:
        models: names, or encoders; none means the model of one's own library, or the default.
        cache: stands before every encoder.
        own: one's own library, where that is searched.
        on_event: is told what is fetched of a model that is not here.

    Raises:
        UsageError: one is named twice, or none in particular.
        ModelError: there is no such model.
        LibraryError: one's own library is not there, or empty.
    """
    if not models:
        if own is None:
            return [System(DEFAULT, CachedEncoder(load_encoder(DEFAULT), cache))]
        _refuse_empty(own)
        with Engine.open(own, create=False, on_event=on_event) as engine:
            encoder = engine.encoder
        return [System(short_name(encoder.spec.name), CachedEncoder(encoder, cache), own)]
    found = []
    for model in models:
        encoder = _loaded(model, on_event) if isinstance(model, str) else model
        name = model if isinstance(model, str) else short_name(encoder.spec.name)
        library = own if own is not None and _made(own) == encoder.spec.fingerprint else None
        found.append(System(name, CachedEncoder(encoder, cache), library))
    names = [system.name for system in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"the model {twice[0]} is named twice; name each that is to be compared once")
    return found


def _loaded(name: str, on_event: OnModelEvent | None) -> Encoder:
    if name == AUTO:
        raise UsageError(f"{AUTO} may be one model here and another one there; name the model that is to be evaluated")
    ensure(name, on_event)
    return load_encoder(name)


def own_library(library: str | os.PathLike[str] | None) -> Path:
    """The library that somebody means."""
    return expanded(library) if library is not None else default_library()


def source_of(case: EvaluationSet, system: System, options: EvaluationOptions, watch: Watch, *, engine: bool) -> Source:
    """The library that holds a set's gallery for a system, brought up to date if it is one in the cache.

    Args:
        case: a set; without a gallery, one's own library is searched.
        system: for which.
        options: where the cache is.
        watch: is told how far this is.
        engine: whether the engine will be asked, which wants to know what chance scores.
    """
    if system.library is not None:
        gallery = case.gallery or None
        missing = tuple(_not_held(case, system.library))
        if missing and len(missing) == len(_wanted(case)):
            raise UsageError(
                f"the library at {system.library} holds none of the {len(missing)} files that should be found, such as "
                f"{missing[0].what}; index them first, or name their library with --library"
            )
        return Source(system.library, gallery, missing)
    found = indexed(case, system.encoder, options, watch)
    if engine:
        watch.tell("Calibrating", 0)
        calibrated(found.path, system.encoder)
    return Source(found.path, case.gallery, found.unusable)


def with_gallery(case: EvaluationSet, library: Path | None, folder: str | os.PathLike[str] | None) -> EvaluationSet:
    """Judgements with a gallery: all files of a folder, or of a library, and the judged ones.

    Raises:
        UsageError: there is nothing there to be found.
        LibraryError: there is no such library.
    """
    if folder is not None:
        place = Folder(folder)
        name, paths = str(place.path), [canonical(file) for file in place.files]
        kinds = {path: kind for path in paths if (kind := kind_of(path)) is not None}
    else:
        path = own_library(library)
        _refuse_empty(path)
        held = Library.open(path)
        try:
            kinds = {file.path: file.kind for file in holdings(held)}
        finally:
            held.close()
        name = str(path)
    judged = (item for query in case.queries for item in query.relevant)
    kinds |= {item: kind for item in judged if item not in kinds and (kind := kind_of(item)) is not None}
    if not kinds:
        raise UsageError(f"there is nothing in {name} that mmsearch reads, so nothing can be found")
    unread = {item for query in case.queries for item in query.relevant} - kinds.keys()
    queries = tuple(
        replace(
            query,
            relevant={item: grade for item, grade in query.relevant.items() if item not in unread},
            moments={item: spans for item, spans in query.moments.items() if item not in unread},
        )
        for query in case.queries
    )
    return replace(
        case,
        name=name,
        queries=queries,
        gallery=tuple(GalleryItem(item, kind) for item, kind in kinds.items()),
        skipped=(*case.skipped, *(Skipped(item, "it is of no kind that mmsearch reads") for item in sorted(unread))),
    )


def _refuse_empty(path: Path) -> None:
    library = Library.open(path)
    try:
        if library.bound_to is None:
            raise EmptyLibraryError(f"the library at {path} is empty; fill it with: mmsearch index FOLDER")
    finally:
        library.close()


def _made(path: Path) -> str | None:
    """The fingerprint of the model that made a library; None when nothing is in it.

    Raises:
        LibraryNotFoundError: there is no such library.
    """
    library = Library.open(path)
    try:
        spec = library.bound_to
        return None if spec is None else spec.fingerprint
    finally:
        library.close()


def _not_held(case: EvaluationSet, path: Path) -> Iterator[Skipped]:
    """The judged files that a library does not hold, so that nothing can find them."""
    library = Library.open(path)
    try:
        there = {file.path for file in holdings(library)}
    finally:
        library.close()
    for item in _wanted(case):
        if item not in there:
            yield Skipped(str(item), f"the library at {path} does not hold it")


def _wanted(case: EvaluationSet) -> list[Id]:
    """What should be found, each once."""
    return list(dict.fromkeys(item for query in case.queries for item, grade in query.relevant.items() if grade > 0))
