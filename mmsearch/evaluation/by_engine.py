"""Ranking by the engine: what a person gets who asks, with calibrated channels and with words.

Near-identical files are not folded under one another, and a file that a query is made of does not count as a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from indexer.errors import UsageError
from indexer.library import Library
from indexer.types import Encoder
from mmsearch.background import calibrate
from mmsearch.engine import Engine
from mmsearch.evaluation.ann import AnnRecall
from mmsearch.evaluation.asked import as_vectors, encoded_texts, read_with
from mmsearch.evaluation.by_model import Source, recall_of_indexes
from mmsearch.evaluation.cases import EvaluationQuery, EvaluationSet, Skipped
from mmsearch.evaluation.found import Found, Result
from mmsearch.evaluation.ids import Id
from mmsearch.evaluation.metrics.moments import MomentScores, Span, moment_scores
from mmsearch.evaluation.options import DEPTH, EvaluationOptions, Watch
from mmsearch.evaluation.run import Run
from mmsearch.query import Query
from mmsearch.rank import Hit
from mmsearch.terms import Term

ANNOTATORS = {"didemo": 3}
"""How many of those who marked a query's moment are averaged: see `moment_scores`. One in other data sets."""

_MOMENTS = 5  # of each query


def rank_by_engine(
    case: EvaluationSet, source: Source, encoder: Encoder, options: EvaluationOptions, watch: Watch
) -> Found:
    """Ask every query of the engine.

    Args:
        case: queries, and what each should find. All channels must be allowed to answer.
        source: the library that holds the gallery.
        encoder: the model, with a cache before it.
        options: how.
        watch: is told how far this is.

    Raises:
        UsageError: no query can be asked.
    """
    _warm(case, encoder, watch)
    depth = options.k or DEPTH
    results: dict[Id, Mapping[Id, float]] = {}
    surest: dict[str, float] = {}
    confidences: dict[Result, float] = {}
    cosines: dict[Result, float] = {}
    starts: dict[Result, float] = {}
    kinds: dict[str, str] = {item.id: item.kind for item in case.gallery}
    unusable = list(source.unusable)
    judged = {item for query in case.queries for item in query.relevant}
    inside = None if source.gallery is None else {item.id for item in source.gallery}
    with Engine.open(source.path, model=encoder, create=False) as engine:
        for number, query in enumerate(case.queries):
            watch.tell("Asking", number, len(case.queries))
            try:
                hits = engine.query(query_of(query, k=depth + len(query.ignored)), fold=False)
            except UsageError as error:
                unusable.append(Skipped(f"query {query.id}", str(error)))
                continue
            listed: dict[Id, float] = {}
            for hit in hits:
                names = [name for name in names_of(hit, judged, inside) if name not in query.ignored]
                for name in names:
                    if len(listed) >= depth or name in listed:
                        break
                    # Places in the order of the engine, which goes by more than one number. Copies share a place.
                    key = (query.id, name)
                    listed[name] = float(depth - len(listed)) if name == names[0] else listed[names[0]]
                    if hit.score is not None:
                        cosines[key] = hit.score
                    kinds.setdefault(name, hit.kind)
                    if hit.confidence is not None:
                        confidences[key] = hit.confidence
                    if hit.start_seconds is not None:
                        starts[key] = hit.start_seconds
                if names and hit.confidence is not None:
                    surest[query.id] = max(surest.get(query.id, 0.0), hit.confidence)
            results[query.id] = listed
    if case.queries and not results:
        raise UsageError(f"none of the queries of {case.title} can be asked: {unusable[-1].reason}")
    return Found(
        run=Run.from_mapping(results),
        surest=surest,
        is_confidence=True,
        confidences=confidences,
        cosines=cosines,
        starts=starts,
        kinds=kinds,
        ann=_recall(case, source, encoder, watch),
        unusable=tuple(unusable),
        notes=_notes(case, confidences, bool(results)),
    )


def moments_of(case: EvaluationSet, source: Source, encoder: Encoder, watch: Watch) -> dict[str, MomentScores]:
    """How well the moments that the engine finds fit those that should be: among all files, and in the right one."""
    truth: dict[Id, Sequence[Span]] = {query: list(spans) for query, spans in case.moments.items()}
    judged = {item for query in case.queries for item in query.relevant}
    anywhere: dict[Id, Sequence[Span]] = {}
    within: dict[Id, Sequence[Span]] = {}
    asked = [query for query in case.queries if query.id in truth]
    with Engine.open(source.path, model=encoder, create=False) as engine:
        for number, query in enumerate(asked):
            watch.tell("Asking for moments", number, len(asked))
            try:
                anywhere[query.id] = _spans(engine.query(query_of(query, k=_MOMENTS, moments=True)), judged)
                right = [item for item in query.moments if query.relevant[item] > 0]
                hits = engine.query(query_of(query, k=_MOMENTS, moments=True, within=tuple(right))) if right else ()
                within[query.id] = _spans(hits, judged)
            except UsageError:
                continue  # said already: it counts as one that found nothing
    annotators = ANNOTATORS.get(case.name, 1)
    return {
        "among all files": moment_scores(anywhere, truth, annotators=annotators),
        "in the right file": moment_scores(within, truth, annotators=annotators),
    }


def calibrated(path: Path, encoder: Encoder) -> None:
    """See that a gallery's library knows what chance scores, as `mmsearch index` does for any library."""
    library = Library.open(path)
    try:
        with library.writing(wait=True):
            calibrate(library, encoder)
    finally:
        library.close()


def query_of(query: EvaluationQuery, **how: object) -> Query:
    """A query of a set as the engine takes it."""
    return Query(tuple(Term(term.kind, term.value, term.weight) for term in query.terms), **how)  # type: ignore[arg-type]


def names_of(hit: Hit, judged: set[str], inside: set[str] | None) -> list[str]:
    """The items that a result stands for.

    In a gallery all files with these bytes that belong to it; in a library of one's own those that somebody judged,
    and without any the first.
    """
    files = (hit.path, *hit.copies)
    if inside is not None:
        return [file for file in files if file in inside]
    return [file for file in files if file in judged] or [hit.path]


def _warm(case: EvaluationSet, encoder: Encoder, watch: Watch) -> None:
    """Encode all texts in batches, so that the engine finds them in the cache."""
    encoded_texts(case.queries, encoder, [channel for channel, _ in encoder.spec.channels], watch)


def _recall(case: EvaluationSet, source: Source, encoder: Encoder, watch: Watch) -> dict[str, AnnRecall]:
    """Of the indexes, tried with the queries that are one text."""
    plain = [query for query in case.queries if [term.kind for term in query.terms] == ["text"]]
    channels = [channel for channel, _ in encoder.spec.channels]
    asked = as_vectors(plain, encoder, channels, read_with(encoder), watch)
    library = Library.open(source.path)
    try:
        return recall_of_indexes(library, asked.vectors, watch)
    finally:
        library.close()


def _spans(hits: Sequence[Hit], judged: set[str]) -> list[Span]:
    return [
        (names_of(hit, judged, None)[0], hit.start_seconds, hit.end_seconds)
        for hit in hits
        if hit.start_seconds is not None and hit.end_seconds is not None
    ]


def _notes(case: EvaluationSet, confidences: object, any_results: bool) -> tuple[str, ...]:
    if any_results and not confidences:
        return (
            "Nothing is calibrated in this library, so that there are no confidences; bring it up to date with: "
            "mmsearch index.",
        )
    return ()
