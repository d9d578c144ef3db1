"""From judgements or a data set, and some models, to a report: `mmsearch.evaluate`."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from indexer.errors import UsageError
from indexer.types import Encoder
from mmsearch.encoders.events import OnModelEvent
from mmsearch.evaluation.by_engine import moments_of, rank_by_engine
from mmsearch.evaluation.by_model import rank_by_model, unreachable
from mmsearch.evaluation.cases import EvaluationSet
from mmsearch.evaluation.datasets import load_judgements
from mmsearch.evaluation.found import Found
from mmsearch.evaluation.merging import merged_qrels, prefixes
from mmsearch.evaluation.options import EvaluationOptions, OnProgress, Watch
from mmsearch.evaluation.report.values import Report
from mmsearch.evaluation.summary import Setting, outcome_of, report_of
from mmsearch.evaluation.systems import System, cache_of, own_library, source_of, systems_of, with_gallery
from mmsearch.query import Query
from mmsearch.terms import Term

What = str | os.PathLike[str] | EvaluationSet | Sequence[EvaluationSet]


def evaluate(
    what: What,
    models: Sequence[str | Encoder] = (),
    *,
    library: str | os.PathLike[str] | None = None,
    gallery: str | os.PathLike[str] | None = None,
    options: EvaluationOptions | None = None,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
    on_event: OnModelEvent | None = None,
) -> Report:
    """How good search is, on your own files or on a data set; with several models, which is better.

        report = evaluate("qrels.jsonl")
        print(report.evaluations[0]["recall@10"])

    Args:
        what: a file of judgements (docs/datasets.md), or what `load_judgements` or `load_dataset` gave.
        models: names or encoders. With judgements and no model, your own library is searched, by the model that it was
            made with; with a model, its files are indexed for that model in the cache. With a data set and no model,
            "mini" is evaluated.
        library: your own library's folder; `default_library()` when None.
        gallery: with judgements, the folder whose files are searched in place of a library.
        options: how.
        on_progress: called from this thread.
        cancel: set it from anywhere to stop; what was encoded is kept.
        on_event: is told what is fetched of a model that is not here. Without it, that is logged.

    Raises:
        UsageError: the judgements or options make no sense together, or a model cannot serve a direction.
        LibraryError: your own library is not there, or is empty.
        ModelError: a model is unknown or cannot be loaded.
        CancelledError: `cancel` was set.
    """
    options = options or EvaluationOptions()
    cases = _sets(what)
    own = not cases[0].gallery
    asked = cases[0].name if own else ""
    if not own and gallery is not None:
        raise UsageError("a data set has a gallery of its own; name a folder of files only with judgements")
    place = own_library(library) if own and gallery is None else None
    watch = Watch(on_progress, cancel)
    with cache_of(options) as (cache, with_cache):
        systems = systems_of(models, cache, place, on_event)
        if own and any(system.library is None for system in systems):
            cases = tuple(with_gallery(case, place, gallery) for case in cases)
        named = tuple(zip(prefixes([case.direction for case in cases]), cases, strict=True))
        setting = Setting(
            what=asked,
            cases=named,
            qrels=merged_qrels([(prefix, case.judgements) for prefix, case in named]),
            own=own,
            ranking=options.ranking or ("engine" if own else "model"),
            options=options,
        )
        for system in systems:  # before any is put to work
            _refuse(system, setting)
        there = replace(setting, options=with_cache)
        outcomes = []
        for system in systems:
            found = [(prefix, _find(case, system, there, watch)) for prefix, case in named]
            watch.tell("Measuring", 0)
            outcomes.append(outcome_of(system, found, setting))
        return report_of(outcomes, setting)


def _sets(what: What) -> tuple[EvaluationSet, ...]:
    if isinstance(what, str | os.PathLike):
        return (load_judgements(what, parse=grammar_terms),)
    cases = (what,) if isinstance(what, EvaluationSet) else tuple(what)
    if not cases:
        raise UsageError("there is nothing to evaluate: give judgements or a data set")
    if len({bool(case.gallery) for case in cases}) > 1:
        raise UsageError("sets with a gallery and sets without one cannot be evaluated together")
    if not any(case.queries for case in cases):
        raise UsageError(f"there are no queries in {cases[0].title}")
    return cases


def grammar_terms(text: str, base: Path) -> tuple[Term, ...]:
    """Terms that are written in the grammar of `mmsearch query`, as `load_judgements` wants them read."""
    return Query.parse(text, base=base).terms


def _refuse(system: System, setting: Setting) -> None:
    for _, case in setting.cases:
        if case.has_texts and setting.ranking == "engine":
            raise UsageError(f"what {case.title} should find are texts that are no files; use --ranking model")
        if case.channels and setting.ranking == "engine":
            raise UsageError(
                f"in {case.title} only {' and '.join(case.channels)} may answer, or files would find themselves; the "
                "engine asks every channel: use --ranking model"
            )
        problem = unreachable(system.encoder.spec, case) if setting.ranking == "model" else None
        if problem:
            raise UsageError(f"{case.title}: {problem}; name other --directions, or another model")


def _find(case: EvaluationSet, system: System, setting: Setting, watch: Watch) -> Found:
    if case.has_texts:
        return rank_by_model(case, None, system.encoder, setting.options, watch)
    timed = bool(case.moments) and not case.channels
    engine = timed or setting.ranking == "engine"
    source = source_of(case, system, setting.options, watch, engine=engine)
    rank = rank_by_engine if setting.ranking == "engine" else rank_by_model
    found = rank(case, source, system.encoder, setting.options, watch)
    return replace(found, moments=moments_of(case, source, system.encoder, watch)) if timed else found
