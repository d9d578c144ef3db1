"""Ranking by the model alone: cosines in the native channel, as papers on retrieval report them.

An item is compared in the channel of its kind: pictures and videos by what is seen, recordings by their sound (by
what is said, where the model hears nothing else), documents by their text. Nothing is calibrated, no words are looked
for, and ranks are exact and over the whole gallery.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indexer.errors import CancelledError, UsageError
from indexer.library import Library
from indexer.names import Channel
from indexer.types import Encoder, ModelSpec, Vectors
from mmsearch.evaluation.ann import AnnRecall, ann_recall
from mmsearch.evaluation.asked import Asked, ReadFile, as_vectors, read_with
from mmsearch.evaluation.cases import EvaluationQuery, EvaluationSet, EvaluationTerm, GalleryItem, Skipped
from mmsearch.evaluation.dense import rank_scores
from mmsearch.evaluation.found import Found
from mmsearch.evaluation.gallery import GalleryLibrary, gallery_library
from mmsearch.evaluation.ids import Id
from mmsearch.evaluation.merging import merged_qrels
from mmsearch.evaluation.options import DEPTH, EvaluationOptions, Watch
from mmsearch.evaluation.shelf import Holding, Shelf, holdings, items_of, native_channel, shelf_of_files, shelf_of_texts
from mmsearch.held import stored_readings

_ANN_QUERIES = 256  # that an index is tried with
_ANN_DEPTH = 100
_AT_ONCE = 256  # files whose vectors are read together


@dataclass(frozen=True, slots=True)
class Source:
    """Where files are found: a library, which of its files are the gallery (all when None), and what it lacks."""

    path: Path
    gallery: tuple[GalleryItem, ...] | None
    unusable: tuple[Skipped, ...] = ()


def indexed(
    case: EvaluationSet, encoder: Encoder, options: EvaluationOptions, watch: Watch, *, prune: bool = True
) -> GalleryLibrary:
    """The library of a set's gallery, brought up to date.

    Raises:
        CancelledError: it was stopped.
    """
    stage = f"Indexing for {encoder.spec.name}" if len(encoder.spec.name) < 24 else "Indexing"
    found = gallery_library(
        case,
        encoder,
        folder=None if options.cache is None else options.cache / "libraries",
        prune=prune,
        on_progress=lambda state: watch.tell(stage, state.done, state.found or None),
        cancel=watch.cancel,
    )
    if found.report.interrupted:
        raise CancelledError("the evaluation was stopped; what was encoded is kept")
    return found


def rank_by_model(
    case: EvaluationSet,
    source: Source | None,
    encoder: Encoder,
    options: EvaluationOptions,
    watch: Watch,
) -> Found:
    """Rank the whole gallery for every query.

    Args:
        case: queries, and what each should find.
        source: the library that holds the gallery; None for a gallery of texts.
        encoder: the model, with a cache before it.
        options: how.
        watch: is told how far this is.

    Raises:
        UsageError: the model cannot go from what is asked to what is sought.
    """
    spec = encoder.spec
    asked_files = _files(case.queries)
    library = None if source is None else Library.open(source.path)
    askers: Library | None = None
    try:
        if library is None or source is None:
            channels = dict.fromkeys(native_channel(spec, term.kind, case.channels) for term in asked_files)
            wanted = [channel for channel in channels if channel is not None]
            shelf = shelf_of_texts(case.gallery, encoder, wanted)
        else:
            shelf = _shelf(library, source, spec, case, options)
        read = read_with(encoder)
        if asked_files and case.gallery:
            inside = {item.id for item in source.gallery or ()} if source is not None else set()
            if not all(term.value in inside for term in asked_files):
                askers = Library.open(indexed(_askers(case, asked_files), encoder, options, watch, prune=False).path)
        read = _read_held(askers or library, spec, asked_files, read, watch)
        asked = as_vectors(case.queries, encoder, list(shelf.channels), read, watch)
        if case.queries and not asked.ids:
            reasons = asked.unusable[0].reason if asked.unusable else "there are no queries"
            raise UsageError(f"none of the queries of {case.title} can be asked: {reasons}")
        found = _ranked(case, shelf, asked, options, watch)
        unusable = (*(source.unusable if source else ()), *asked.unusable)
        ann = {} if library is None else recall_of_indexes(library, asked.vectors, watch)
        return replace(found, unusable=unusable, notes=asked.notes, ann=ann)
    finally:
        for held in (library, askers):
            if held is not None:
                held.close()


def _shelf(library: Library, source: Source, spec: ModelSpec, case: EvaluationSet, options: EvaluationOptions) -> Shelf:
    generation = library.store.generation()
    if generation is None:
        return Shelf((), (), {})
    held = holdings(library)
    rows: Sequence[Holding | tuple[GalleryItem, int]]
    if source.gallery is None:
        judged = {item for query in case.queries for item in query.relevant}
        rows = items_of(held, judged)
    else:
        content_of = {file.path: file.content for file in held}
        rows = [(item, content_of[item.id]) for item in source.gallery if item.id in content_of]
    return shelf_of_files(library, generation[0], rows, spec, allowed=case.channels, pooling=options.pooling)


def _ranked(case: EvaluationSet, shelf: Shelf, asked: Asked, options: EvaluationOptions, watch: Watch) -> Found:
    total = len(asked.ids)
    done = 0

    def blocks() -> Iterator[Vectors]:
        nonlocal done
        for block in shelf.scores(asked.vectors):
            watch.tell("Ranking", done, total)
            yield block
            done += len(block)

    ignored: dict[Id, Collection[Id]] = {query.id: query.ignored for query in case.queries if query.ignored}
    qrels = merged_qrels([("", case.judgements)])
    depth = options.k or DEPTH
    scores = blocks() if asked.vectors else np.full((total, len(shelf.ids)), -np.inf, np.float32)
    placements, run = rank_scores(scores, asked.ids, shelf.ids, qrels, depth=depth, exclude=ignored)
    surest = {
        query: float(run.scores[begin])
        for query, begin, end in zip(run.queries, run.offsets[:-1], run.offsets[1:], strict=True)
        if end > begin
    }
    return Found(
        run=run,
        placements=placements if options.k is None else None,
        surest=surest,
        kinds=dict(zip(shelf.ids, shelf.kinds, strict=True)),
    )


def recall_of_indexes(library: Library, asked: Mapping[Channel, Vectors], watch: Watch) -> dict[str, AnnRecall]:
    """What the library's indexes find of what exact search finds, for some of the queries: by channel.

    Exact are inner products with the vectors in the store, from which indexes are made.
    """
    generation = library.store.generation()
    if generation is None:
        return {}
    found: dict[str, AnnRecall] = {}
    for channel, vectors in asked.items():
        watch.tell("Trying the index", 0)
        some = vectors[~np.isnan(vectors[:, 0])]
        some = np.ascontiguousarray(some[:: max(1, len(some) // _ANN_QUERIES)][:_ANN_QUERIES])
        best_scores = np.empty((len(some), 0), np.float32)
        best = np.empty((len(some), 0), np.int64)
        for ids, block in library.store.vectors(generation[0], channel):
            scores = np.concatenate([best_scores, some @ block.T], axis=1)
            both = np.concatenate([best, np.broadcast_to(ids, (len(some), len(ids)))], axis=1)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :_ANN_DEPTH]
            best_scores, best = np.take_along_axis(scores, order, 1), np.take_along_axis(both, order, 1)
        if not len(some) or not best.shape[1]:
            continue
        scores, ids = library.search(channel, some, best.shape[1])
        if ids.shape[1]:
            found[channel] = ann_recall(best, ids, (1, 10, 100), exact_scores=best_scores, approximate_scores=scores)
    return found


def _files(queries: Sequence[EvaluationQuery]) -> list[EvaluationTerm]:
    """The files that queries are made of, but for documents, each once."""
    terms = (term for query in queries for term in query.terms if term.kind not in ("text", "document"))
    return list({(term.kind, term.value): term for term in terms}.values())


def _askers(case: EvaluationSet, files: Sequence[EvaluationTerm]) -> EvaluationSet:
    """The files that are asked with as a gallery, so that they are indexed, once, like any other."""
    kinds: dict[str, GalleryItem] = {}
    for term in files:
        kinds.setdefault(term.value, GalleryItem(term.value, term.kind))  # type: ignore[arg-type]  # no document
    return EvaluationSet(case.name, (), tuple(kinds.values()), split=case.split)


def _read_held(
    library: Library | None, spec: ModelSpec, files: Sequence[EvaluationTerm], otherwise: ReadFile, watch: Watch
) -> ReadFile:
    """Read files by the vectors that a library has of them, and what it does not have in another way."""
    generation = None if library is None else library.store.generation()
    if library is None or generation is None or not files:
        return otherwise
    contents = {file.path: file.content for file in holdings(library)}
    held = [term for term in files if term.value in contents]
    known: dict[tuple[str, str], Mapping[Channel, Vectors]] = {}
    for at in range(0, len(held), _AT_ONCE):
        watch.tell("Reading queries", at, len(held))
        some = held[at : at + _AT_ONCE]
        readings = stored_readings(library, generation[0], spec, [(term.kind, contents[term.value]) for term in some])
        for term, reading in zip(some, readings, strict=True):
            if reading:
                vectors = {channel: approach.vector for channel, approach in reading.items()}
                known[term.kind, term.value] = vectors
    return lambda term: known.get((term.kind, term.value)) or otherwise(term)


def unreachable(spec: ModelSpec, case: EvaluationSet) -> str | None:
    """Why a model cannot serve a set at all; None when it can, as far as its table says."""
    asked: Collection[str] = {term.kind for query in case.queries for term in query.terms if term.weight > 0}
    for kind in sorted(asked if case.has_texts else {item.kind for item in case.gallery}):
        if native_channel(spec, kind, case.channels) is None:
            what = "asked with" if case.has_texts else "sought"
            return f"the model {spec.name!r} makes no vectors of what is {what}: {kind}"
    return None
