"""`mmsearch eval`: how good search is, on one's own files or on a data set."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexer.errors import CancelledError, UsageError
from mmsearch.commands.eval_outputs import check_outputs, write_outputs
from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.progress import stage_progress
from mmsearch.commands.signals import cancelled_by_signals
from mmsearch.commands.terminal import INTERRUPTED, NOTHING, ModelEvents, complain, print_json, stoppable

if TYPE_CHECKING:
    from mmsearch.evaluation.cases import EvaluationSet
    from mmsearch.evaluation.gating import Gate
    from mmsearch.evaluation.report.values import Report

_WIDTH = 100  # columns of tables where there is no terminal

What = Annotated[
    Path | None,
    typer.Argument(
        metavar="[QRELS]",
        help="A file of judgements (qrels.jsonl, or a CSV table); with --dataset, the data set's folder.",
        show_default=False,
    ),
]
DataSet = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="A data set: coco, clotho, ...; see docs/datasets.md.")
]
Split = Annotated[str | None, typer.Option("--split", metavar="NAME", help="A split of the data set.")]
Directions = Annotated[
    str | None,
    typer.Option("--directions", metavar="LIST", help="What finds what: t2i,i2t (text, image, audio, video)."),
]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="The model; your library's by default.")]
Compare = Annotated[str | None, typer.Option("--compare", metavar="LIST", help="Several models, separated by commas.")]
Gallery = Annotated[
    Path | None, typer.Option("--gallery", metavar="FOLDER", help="Search the files in here, not the library.")
]
RankingName = Annotated[
    str | None,
    typer.Option(
        "--ranking",
        metavar="NAME",
        help="model (cosines alone, as papers do; for data sets) or engine (as queries are answered; for your own).",
    ),
]
PoolingName = Annotated[
    str | None,
    typer.Option("--pooling", metavar="NAME", help="What a video scores: best (its best frame) or mean (of frames)."),
]
Limit = Annotated[int | None, typer.Option("-k", "--limit", min=1, help="How many results of a query count.")]
Measures = Annotated[
    str | None, typer.Option("--measures", metavar="LIST", help="Which measures: recall@10,ndcg@10,map, ...")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of the resampling behind intervals and tests.")]
ReportFolder = Annotated[
    Path | None, typer.Option("--report", metavar="FOLDER", help="Write a page with plots and failures here.")
]
TrecRun = Annotated[
    Path | None, typer.Option("--trec-run", metavar="FILE", help="Write the ranked lists as a TREC run.")
]
TrecQrels = Annotated[
    Path | None, typer.Option("--trec-qrels", metavar="FILE", help="Write the judgements as TREC qrels.")
]
Baseline = Annotated[
    Path | None,
    typer.Option("--gate", metavar="FILE", help="Exit with 1 when a measure fell since this --json output."),
]
LargestFall = Annotated[
    float | None,
    typer.Option("--largest-fall", min=0.0, help="With --gate: a larger fall fails whatever chance says."),
]
CacheFolder = Annotated[
    Path | None, typer.Option("--cache-dir", metavar="FOLDER", help="Where galleries and vectors are kept.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep nothing, and use nothing that was kept.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, as values of JSON: a baseline remembers it, so that the same can be asked again.

    Paths are absolute.
    """

    what: str | None = None
    dataset: str | None = None
    split: str | None = None
    directions: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    library: str | None = None
    gallery: str | None = None
    ranking: str | None = None
    pooling: str | None = None
    k: int | None = None
    measures: tuple[str, ...] | None = None
    seed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What was said; what was not has its default."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}

    def filled(self, other: Any) -> Wanted:
        """What was said here, and for the rest what was said there.

        Raises:
            UsageError: what is there is nothing that `to_json` gives.
        """
        if not isinstance(other, Mapping) or not other.keys() <= set(self.__slots__):
            raise UsageError('the baseline\'s "asked" is none that mmsearch wrote; name what to evaluate')
        rest: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in other.items() if getattr(self, name) is None
        }
        return replace(self, **rest)


def evaluate(
    qrels: What = None,
    dataset: DataSet = None,
    split: Split = None,
    directions: Directions = None,
    model: Model = None,
    compare: Compare = None,
    library: LibraryOption = None,
    gallery: Gallery = None,
    ranking: RankingName = None,
    pooling: PoolingName = None,
    k: Limit = None,
    measures: Measures = None,
    seed: Seed = None,
    report: ReportFolder = None,
    trec_run: TrecRun = None,
    trec_qrels: TrecQrels = None,
    gate: Baseline = None,
    largest_fall: LargestFall = None,
    cache_dir: CacheFolder = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how good search is: on your own files, by judgements that you wrote, or on a data set.

    Without --model, judgements are put to your own library. With --gate, exits with 1 when a measure fell by more than
    chance explains; without anything else named, what the baseline was made from is evaluated again.
    """
    if model is not None and compare is not None:
        raise UsageError("--model names one model and --compare several; give one of the two")
    if cache_dir is not None and no_cache:
        raise UsageError("--cache-dir says where to keep what is encoded, and --no-cache not to keep it; give one")
    if largest_fall is not None and gate is None:
        raise UsageError("--largest-fall belongs to --gate; name a baseline")
    models = _names(compare, "--compare") if compare is not None else None if model is None else (model,)
    if compare is not None and models is not None and len(models) < 2:
        raise UsageError("--compare takes two models or more, separated by commas; for one there is --model")
    asked = Wanted(
        what=None if qrels is None else os.path.abspath(os.path.expanduser(qrels)),
        dataset=dataset,
        split=split,
        directions=None if directions is None else _names(directions, "--directions"),
        models=models,
        library=None if library is None else os.path.abspath(os.path.expanduser(library)),
        gallery=None if gallery is None else os.path.abspath(os.path.expanduser(gallery)),
        ranking=ranking,
        pooling=pooling,
        k=k,
        measures=None if measures is None else _names(measures, "--measures"),
        seed=seed,
    )
    baseline = None if gate is None else _baseline(gate)
    if baseline is not None:
        asked = _like(baseline, asked, quiet=quiet or as_json)
    _check(asked)
    check_outputs(report, trec_run, trec_qrels)
    made = _evaluated(asked, cache_dir, keep=not no_cache, quiet=quiet)
    checked = None if baseline is None else _gated(baseline, made, asked, largest_fall)
    write_outputs(made, report, trec_run, trec_qrels, quiet=quiet)
    if as_json:
        from mmsearch.evaluation.report import gate_json, report_json

        print_json(report_json(made) | ({} if checked is None else {"gate": gate_json(checked)}))
    else:
        _print_tables(made, checked)
    if checked is not None and not checked.passed:
        fallen = [check.difference.measure.label for check in checked.checks if check.fell]
        complain(f"{', '.join(fallen)} fell by more than chance explains, or than --largest-fall allows")
        raise typer.Exit(NOTHING)


def _names(text: str, option: str) -> tuple[str, ...]:
    """Names that are separated by commas. A comma between brackets is part of a name."""
    import re

    found = [name.strip() for name in re.split(r",(?![^(]*\))", text)]
    if not all(found):
        raise UsageError(f"{option} takes names separated by commas, and one in {text!r} is empty")
    return tuple(dict.fromkeys(found)) if option != "--compare" else tuple(found)


def _check(asked: Wanted) -> None:
    """Options that make no sense together are told before a model is loaded.

    Raises:
        UsageError: there are some.
    """
    if asked.what is None:
        needs = f"the folder of {asked.dataset}" if asked.dataset else "a file of judgements, or --dataset NAME FOLDER"
        raise UsageError(f"there is nothing to evaluate: name {needs}, for example: mmsearch eval qrels.jsonl")
    only = {"--split": asked.split, "--directions": asked.directions}
    if asked.dataset is None:
        given = [option for option, value in only.items() if value is not None]
        if given:
            raise UsageError(f"{' and '.join(given)} belong to a data set; name it with --dataset")
    elif asked.gallery is not None:
        raise UsageError("--gallery is for judgements; a data set says itself what can be found")


def _evaluated(asked: Wanted, cache: Path | None, *, keep: bool, quiet: bool) -> Report:
    from mmsearch.evaluation.evaluator import evaluate as evaluate_all
    from mmsearch.evaluation.metrics import DEFAULT_MEASURES
    from mmsearch.evaluation.options import EvaluationOptions

    options = EvaluationOptions(
        ranking=asked.ranking,  # type: ignore[arg-type]  # checked there
        pooling=asked.pooling or "best",  # type: ignore[arg-type]
        k=asked.k,
        measures=asked.measures or DEFAULT_MEASURES,
        seed=asked.seed or 0,
        cache=None if cache is None else Path(os.path.abspath(os.path.expanduser(cache))),
        keep=keep,
    )
    what = _what(asked)  # what is wrong with it is said before a model is fetched
    _fetch(asked, quiet=quiet)
    try:
        with cancelled_by_signals() as cancel, stage_progress(quiet=quiet) as on_stage:
            made = evaluate_all(
                what,
                asked.models or (),
                library=asked.library,
                gallery=asked.gallery,
                options=options,
                on_progress=on_stage and (lambda state: on_stage(state.stage, state.done, state.total)),
                cancel=cancel,
            )
    except CancelledError as error:
        complain(f"{error}; the same command goes on from there" if keep else "stopped")
        raise typer.Exit(INTERRUPTED) from None
    return replace(made, asked=asked.to_json())


def _fetch(asked: Wanted, *, quiet: bool) -> None:
    """See that models are here, so that Ctrl-C ends a download at once and an evaluation at the next batch."""
    from mmsearch.encoders.models import AUTO
    from mmsearch.encoders.pull import ensure

    with stoppable():
        for model in asked.models or ():
            if model != AUTO:
                ensure(model, ModelEvents(quiet=quiet))
        if not asked.models and asked.dataset is None and asked.gallery is None:
            with open_engine(None if asked.library is None else Path(asked.library), None, create=False) as engine:
                _ = engine.encoder


def _what(asked: Wanted) -> EvaluationSet | Sequence[EvaluationSet]:
    from mmsearch.evaluation.datasets import load_dataset, load_judgements
    from mmsearch.evaluation.evaluator import grammar_terms

    what = asked.what or ""
    if asked.dataset is None:
        return load_judgements(what, parse=grammar_terms)
    return load_dataset(asked.dataset, what, split=asked.split, directions=asked.directions or ())


# --- the gate ---


def _baseline(path: Path) -> Mapping[str, Any]:
    """The JSON of an earlier evaluation.

    Raises:
        UsageError: there is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the baseline {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(
            f"the baseline {path} is not JSON ({error}); make one with: mmsearch eval ... --json"
        ) from None
    if not isinstance(value, dict):
        raise UsageError(f"the baseline {path} is no evaluation; make one with: mmsearch eval ... --json")
    if "systems" in value:
        raise UsageError(f"the baseline {path} compares several models; make one with a single model")
    return value


def _like(baseline: Mapping[str, Any], asked: Wanted, *, quiet: bool) -> Wanted:
    """What to evaluate: what was named, else what the baseline is of; how: as named, else as the baseline."""
    there = baseline.get("asked", {})
    if asked.what is None:
        return asked.filled(there)
    how = ("ranking", "pooling", "k", "measures", "seed")
    known = there if isinstance(there, Mapping) else {}
    for name in ("dataset", "split", "ranking", "pooling", "k"):
        mine, theirs = getattr(asked, name), known.get(name)
        if not quiet and mine is not None and theirs is not None and mine != theirs:
            complain(f"{name} is {mine} now, and was {theirs} for the baseline")
    return asked.filled({name: known[name] for name in how if name in known})


def _gated(baseline: Mapping[str, Any], made: Report, asked: Wanted, largest_fall: float | None) -> Gate:
    from mmsearch.evaluation.gating import gate
    from mmsearch.evaluation.report import evaluation_from_json
    from mmsearch.evaluation.results import Resampling

    if len(made.evaluations) != 1:
        raise UsageError("the gate holds one model against its baseline; name it with --model")
    return gate(
        evaluation_from_json(baseline),
        made.evaluations[0],
        largest_fall=largest_fall,
        resampling=Resampling(seed=asked.seed or 0),
    )


# --- what comes out ---


def _print_tables(made: Report, checked: Gate | None) -> None:
    from rich.console import Console

    from mmsearch.evaluation.report import gate_table, report_tables

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    for part in report_tables(made, console.width):
        console.print(part)
    if checked is not None:
        console.print(gate_table(checked))
