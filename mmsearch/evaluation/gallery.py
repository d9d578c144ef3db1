"""The gallery of an evaluation set as a library in the cache directory, made by the pipeline that indexes any files.

So a gallery of any size is decoded in bounded memory, an interrupted run goes on where it was, a file that cannot be
used is recorded with its reason, contents are known by digest (a copy is encoded once, and so is a file that was
moved), and a second evaluation finds all of it done. The library holds the files of the gallery and no others, and is
opened like any library:

    gallery = gallery_library(case, encoder)
    with Engine.open(gallery.path, model=CachedEncoder(encoder, cache)) as engine: ...

One library is kept for each set, split, kind of item and model fingerprint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import exists, select

from indexer.advice import NOT_THERE
from indexer.changes import Target
from indexer.errors import UsageError
from indexer.library import Library
from indexer.lookup import full_path, troubles
from indexer.paths import relative_to
from indexer.records import KnownFile
from indexer.report import IndexOptions, IndexReport, Progress
from indexer.schema import MISSING, PRESENT, SKIPPED, Encoding, File, Segment
from indexer.types import CHANNELS, Channel, Encoder, ModelSpec
from mmsearch.evaluation.cache import evaluation_directory
from mmsearch.evaluation.cases import EvaluationSet, Skipped
from mmsearch.places import bytes_of

_log = logging.getLogger(__name__)

_STATES = {MISSING: f"it is {NOT_THERE}", SKIPPED: "it is of no kind that mmsearch reads"}


@dataclass(frozen=True, slots=True)
class GalleryLibrary:
    """A library that holds a gallery.

    `report`: what indexing did this time. `unusable`: items of the gallery without any vector in the set's channels,
    each with the reason. They cannot be found; whether their queries count is the evaluation's to say and to report.
    """

    path: Path
    report: IndexReport
    unusable: tuple[Skipped, ...]


def library_path(case: EvaluationSet, spec: ModelSpec, folder: Path | None = None) -> Path:
    """Where the library of a set's gallery is, whether there is one or not.

    Args:
        case: the set; its name, split and kinds of item count.
        spec: the model; its fingerprint counts.
        folder: what holds all of these libraries; one in the cache directory when None.
    """
    kinds = ",".join(sorted({item.kind for item in case.gallery}))
    key = "\0".join((case.name, case.split, kinds, spec.fingerprint))
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    words = re.sub(r"[^\w.-]+", "-", f"{os.path.basename(case.name)}-{case.split}-{kinds}-{spec.name}")[:80].strip("-.")
    return (folder or evaluation_directory() / "libraries") / f"{words}-{digest}"


def gallery_library(
    case: EvaluationSet,
    encoder: Encoder,
    *,
    folder: Path | None = None,
    options: IndexOptions | None = None,
    prune: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> GalleryLibrary:
    """Bring the library of a set's gallery up to date; another process that does the same is waited for.

    Args:
        case: a set whose gallery is files.
        encoder: the model.
        folder: what holds all of these libraries; one in the cache directory when None.
        options: how to index; `wait` is always set.
        prune: whether files that are not in the gallery are forgotten. Where a set asks with some of the files that
            another one searches, they are one library, and neither should undo the other's work.
        on_progress: called from this thread, ten times a second at most.
        cancel: set it from anywhere to end the run cleanly; the report then says `interrupted`, and what is done stays.

    Raises:
        UsageError: the gallery is empty, or its items are texts that are no files.
        ModelError: the model cannot be used.
    """
    from indexer.pipeline import run

    paths = [item.path for item in case.gallery if item.path is not None]
    if not paths or len(paths) != len(case.gallery):
        what = (
            "is empty: name a library to search" if not case.gallery else "holds texts that are no files: encode these"
        )
        raise UsageError(f"the gallery of {case.title} {what}")
    options = replace(options or IndexOptions(), wait=True)
    library = Library.open(library_path(case, encoder.spec, folder), create=True)
    try:
        with library.writing(wait=True, cancel=cancel):
            chosen = _place(library, paths)
            report = run(library, encoder, _targets(library, chosen), options, on_progress=on_progress, cancel=cancel)
            if not report.interrupted and prune:
                _remove_others(library, chosen)
            return GalleryLibrary(library.path, report, tuple(_unusable(library, chosen, case.channels)))
    finally:
        library.close()


def clear_libraries(folder: Path | None = None) -> int:
    """Remove the libraries of all galleries, but for those that are being written to; how many bytes that freed."""
    freed = 0
    folder = folder or evaluation_directory() / "libraries"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            with FileLock(path / "writer.lock", timeout=0):
                size = bytes_of(file for file in path.rglob("*") if file.is_file())
        except (Timeout, OSError) as error:
            _log.warning("%s is left as it is: %s", path, error)
            continue
        with suppress(OSError):
            shutil.rmtree(path)
            freed += size
    return freed


_Chosen = dict[int, frozenset[str]]
"""Files by root, relative to it."""


def _place(library: Library, paths: list[str]) -> _Chosen:
    """Where the files of a gallery lie in the library's roots; a root is made of what they have in common."""
    drives: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        drives[os.path.splitdrive(path)[0]].append(path)
    for some in drives.values():
        library.store.add_root(os.path.commonpath([os.path.dirname(path) for path in some]))
    roots = library.store.roots()
    chosen: dict[int, set[str]] = defaultdict(set)
    for path in paths:
        for root_id, root in roots.items():
            inside = relative_to(path, root)
            if inside is not None:
                chosen[root_id].add(inside)
    return {root_id: frozenset(files) for root_id, files in chosen.items()}


def _targets(library: Library, chosen: _Chosen) -> list[Target]:
    roots = library.store.roots()
    return [Target(root_id, roots[root_id], "", files) for root_id, files in chosen.items()]


def _known(library: Library) -> Iterator[tuple[int, str, KnownFile]]:
    """Every file in the library: its root, its place in it, and what is known of it."""
    for root_id in library.store.roots():
        for directory in library.store.directories(root_id, ""):
            for name, file in library.store.known_in(root_id, directory).items():
                yield root_id, f"{directory}/{name}" if directory else name, file


def _remove_others(library: Library, chosen: _Chosen) -> None:
    """Forget the files that are in the gallery no more. Contents that others hold stay: a data set was moved."""
    others = [known.id for root_id, file, known in _known(library) if file not in chosen.get(root_id, frozenset())]
    if not others:
        return
    library.store.set_state(
        others, MISSING
    )  # and forgotten all at once: one by one, each would cost a look at all files
    library.store.prune()
    for root_id in library.store.roots():
        if root_id not in chosen:
            library.store.remove(root_id, "")
    library.save_indexes()


def _unusable(library: Library, chosen: _Chosen, channels: Sequence[Channel]) -> Iterator[Skipped]:
    """The items of the gallery that have no vector in some channels (all when empty), in the order of their paths."""
    roots = library.store.roots()
    generation = library.store.generation()
    if generation is None:
        return
    reasons = {row.path: row.reason for row in troubles(library.store, generation[0])}
    mute = set(_without_vectors(library, generation[0], channels or CHANNELS))
    states = {(root_id, file): known.state for root_id, file, known in _known(library)}
    for root_id, files in chosen.items():
        for file in sorted(files):
            state = states.get((root_id, file), MISSING)
            directory, _, name = file.rpartition("/")
            path = full_path(roots[root_id], directory, name)
            if state != PRESENT:
                yield Skipped(path, reasons.get(path) or _STATES.get(state, state))
            elif (root_id, file) in mute:
                yield Skipped(path, "the model makes no vector of it that could answer")


def _without_vectors(library: Library, generation_id: int, channels: Sequence[Channel]) -> Iterator[tuple[int, str]]:
    """The files that are indexed and have no vector in these channels: their root, and their place in it."""
    heard = (
        exists()
        .where(Encoding.content_id == File.content_id, Encoding.generation_id == generation_id)
        .where(Segment.encoding_id == Encoding.id, Segment.channel.in_(channels))
    )
    query = select(File.root_id, File.directory, File.name).where(File.state == PRESENT, ~heard)
    with library.store.reading() as connection:
        for root_id, directory, name in connection.execute(query):
            yield root_id, f"{directory}/{name}" if directory else name
