"""Evaluations as JSON values, and back: a baseline for the gate is such a file.

What is no number in JSON is null: a rank that was never reached, a mean over no queries. A measure that leaves a query
out is not among that query's metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from indexer.errors import UsageError
from mmsearch.evaluation.comparison import Comparison
from mmsearch.evaluation.curves import NoMatch, PrecisionRecall, Reliability
from mmsearch.evaluation.gating import Gate
from mmsearch.evaluation.metrics import parse_measure
from mmsearch.evaluation.report.values import Display, Report
from mmsearch.evaluation.results import Evaluation, Resampling, summarise

VERSION = 1


def evaluation_json(
    evaluation: Evaluation, display: Display | None = None, *, per_query: bool = True
) -> dict[str, Any]:
    """An evaluation as JSON: see docs/evaluation.md for what is in it."""
    value: dict[str, Any] = {
        "version": VERSION,
        "name": evaluation.name,
        "metrics": {m.label: _finite(v) for m, v in zip(evaluation.measures, evaluation.scores.tolist(), strict=True)},
        "intervals": {
            measure.label: None if math.isnan(low) else [_finite(low), _finite(high)]
            for measure, (low, high) in zip(evaluation.measures, evaluation.intervals, strict=True)
        },
        "measures": {measure.label: measure.name for measure in evaluation.measures},
        "confidence": evaluation.resampling.confidence,
        "resamples": evaluation.resampling.resamples,
        "seed": evaluation.resampling.seed,
        "queries": {
            "evaluated": len(evaluation.queries),
            "without_results": list(evaluation.without_results),
            "left_out": list(evaluation.left_out),
            "unjudged": list(evaluation.unjudged),
            "tied": list(evaluation.tied),
        },
        "sections": {
            grouping: {group: evaluation_json(part, per_query=False) for group, part in parts.items()}
            for grouping, parts in evaluation.sections.items()
        },
    }
    if evaluation.curve is not None:
        value["precision_recall"] = _curve(evaluation.curve)
    if per_query:
        value["per_query"] = [_query(evaluation, place, display) for place in range(len(evaluation.queries))]
    return value


def evaluation_from_json(value: Any) -> Evaluation:
    """The evaluation of which `evaluation_json` made this value, with its per-query values; without its sections.

    Raises:
        UsageError: It is not of that form.
    """
    if not isinstance(value, Mapping) or value.get("version") != VERSION or "measures" not in value:
        raise UsageError(f"this is no evaluation of version {VERSION}: write one with --json and take that file")
    if "per_query" not in value:
        raise UsageError("this evaluation has no per_query values, and without them nothing can be compared")
    try:
        measures = tuple(parse_measure(name) for name in value["measures"].values())
        rows: list[Mapping[str, Any]] = list(value["per_query"])
        values, weights = np.empty((len(measures), len(rows))), np.ones((len(measures), len(rows)))
        for place, row in enumerate(rows):
            for at, measure in enumerate(measures):
                found = row["metrics"].get(measure.label, math.nan)
                values[at, place] = _number(found, math.inf)
                weights[at, place] = row.get("weights", {}).get(measure.label, 1.0)
        median = np.array([measure.family.median for measure in measures], bool)
        ends = [value["intervals"][measure.label] or [math.nan] * 2 for measure in measures]
        queries = value["queries"]
        return Evaluation(
            name=str(value["name"]),
            measures=measures,
            queries=tuple(str(row["id"]) for row in rows),
            values=values,
            weights=weights,
            scores=summarise(values, weights, median),
            intervals=np.array([[_number(e, math.inf) for e in pair] for pair in ends], np.float64).reshape(-1, 2),
            first_ranks=np.array([_number(row["first_rank"], math.inf) for row in rows], np.float64),
            left_out=tuple(queries["left_out"]),
            without_results=tuple(queries["without_results"]),
            unjudged=tuple(queries["unjudged"]),
            tied=tuple(queries["tied"]),
            resampling=Resampling(int(value["resamples"]), float(value["confidence"]), int(value["seed"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"this evaluation is damaged: {type(error).__name__} {error}") from None


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Two systems compared, as JSON."""
    return {
        "before": comparison.before,
        "after": comparison.after,
        "queries": len(comparison.queries),
        "only_before": comparison.only_before,
        "only_after": comparison.only_after,
        "differences": {
            d.measure.label: {
                "before": _finite(d.before),
                "after": _finite(d.after),
                "difference": _finite(d.difference),
                "interval": None if math.isnan(d.low) else [d.low, d.high],
                "p": _finite(d.p),
                "p_adjusted": _finite(d.p_adjusted),
                "real": d.real,
                "improved": d.improved,
                "worsened": d.worsened,
            }
            for d in comparison.differences
        },
    }


def gate_json(gate: Gate) -> dict[str, Any]:
    """What the gate found, as JSON."""
    return {
        "passed": gate.passed,
        "queries": len(gate.comparison.queries),
        "checks": {
            check.difference.measure.label: {
                "before": _finite(check.difference.before),
                "after": _finite(check.difference.after),
                "p": _finite(check.p),
                "fell": check.fell,
                "too_few_queries": check.blind,
            }
            for check in gate.checks
        },
    }


def report_json(report: Report) -> dict[str, Any]:
    """A report as JSON. With one system its metrics are at the top; with several each is in "systems"."""
    systems = [evaluation_json(evaluation, report.display) for evaluation in report.evaluations]
    top = systems[0] if len(systems) == 1 else {"version": VERSION, "systems": systems}
    more: dict[str, Any] = {
        "comparisons": [comparison_json(comparison) for comparison in report.comparisons],
        "captions": {
            direction: {
                **{f"recall@{k}": _finite(share) for k, share in scores.recall.items()},
                "median_rank": _finite(scores.median_rank),
                "mean_rank": _finite(scores.mean_rank),
                "queries": scores.queries,
            }
            for direction, scores in report.captions.items()
        },
        "reliability": {name: _reliability(curve) for name, curve in report.reliability.items()},
        "no_match": {name: _no_match(curve) for name, curve in report.no_match.items()},
        "moments": {
            name: {label: _finite(score) for label, score in scores.metrics().items()}
            for name, scores in report.moments.items()
        },
        "ann": {
            name: {f"recall@{k}": _finite(share) for k, share in found.mean.items()}
            for name, found in report.ann.items()
        },
        "accepts": {
            name: {
                "threshold": accepts.threshold,
                "without_match": accepts.without_match,
                "false_accepts": accepts.false_accepts,
                "false_accept_rate": _finite(accepts.false_rate),
                "with_match": accepts.with_match,
                "true_accepts": accepts.true_accepts,
                "true_accept_rate": _finite(accepts.true_rate),
            }
            for name, accepts in report.accepts.items()
        },
        "skipped": [{"what": what, "reason": reason} for what, reason in report.skipped],
        "asked": dict(report.asked),
    }
    return {
        "title": report.title,
        "facts": dict(report.facts),
        "notes": list(report.notes),
        **top,
        **{key: value for key, value in more.items() if value},
    }


def _query(evaluation: Evaluation, place: int, display: Display | None) -> dict[str, Any]:
    name = evaluation.queries[place]
    value: dict[str, Any] = {"id": name}
    if display is not None and (title := display.query_title(name)) != name:
        value["query"] = title
    value["first_rank"] = _finite(evaluation.first_ranks[place])
    own = zip(evaluation.measures, evaluation.values[:, place].tolist(), strict=True)
    value["metrics"] = {measure.label: _finite(v) for measure, v in own if not math.isnan(v)}
    weights = {
        measure.label: float(evaluation.weights[row, place])
        for row, measure in enumerate(evaluation.measures)
        if measure.family.weights is not None
    }
    return {**value, "weights": weights} if weights else value


def _reliability(curve: Reliability) -> dict[str, Any]:
    return {
        "expected_calibration_error": curve.expected_error,
        "maximum_calibration_error": curve.largest_error,
        "brier_score": curve.brier,
        "confidence": curve.confidence.tolist(),
        "accuracy": curve.accuracy.tolist(),
        "counts": curve.counts.tolist(),
    }


def _no_match(curve: NoMatch) -> dict[str, Any]:
    return {
        "area": curve.area,
        "equal_error": curve.equal_error,
        "with_match": curve.with_match,
        "without_match": curve.without_match,
        "thresholds": [_finite(threshold) for threshold in curve.thresholds],
        "false_accepts": curve.false_accepts.tolist(),
        "true_accepts": curve.true_accepts.tolist(),
    }


def _curve(curve: PrecisionRecall) -> dict[str, Any]:
    return {"recall": curve.recall.tolist(), "precision": [_finite(value) for value in curve.precision]}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else float(value)
