"""The page of a report: one HTML file with its pictures in it, which needs no network and runs no script."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.evaluation.comparison import Comparison
from mmsearch.evaluation.metrics import Measure
from mmsearch.evaluation.report.failures import Failure, ShownItem, pick_failures
from mmsearch.evaluation.report.plots import Plot
from mmsearch.evaluation.report.thumbnails import Thumbnails
from mmsearch.evaluation.report.values import Report, counts, interval, number, p_value, plain, share, signed, title
from mmsearch.evaluation.results import Evaluation

TEMPLATE = Path(__file__).with_name("page.html.jinja")
_CHANGED = 8  # queries of each list of changes


@dataclass(frozen=True, slots=True)
class Cell:
    """A value in a table: its text, its interval, and where both lie from 0 to 100 for the little bar."""

    text: str
    interval: str = ""
    at: float | None = None
    low: float | None = None
    high: float | None = None
    best: bool = False


def page(report: Report, drawn: Sequence[tuple[Plot, dict[str, bytes]]]) -> str:
    """The page as text. All names in it are escaped, and none of them can reach the network."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        title=plain(report.title),
        facts={plain(key): plain(value) for key, value in report.facts.items()},
        notes=[plain(note) for note in report.notes],
        systems=[plain(evaluation.name) for evaluation in report.evaluations],
        counts=counts(report.evaluations[0]),
        confidence=f"{report.evaluations[0].resampling.confidence:.0%}",
        headlines=_headlines(report),
        rows=_rows(report.evaluations),
        plots=[
            {
                "title": plot.title,
                "text": plot.text,
                "name": plot.name,
                "wide": plot.size[0] > 6,
                **{theme: _uri(png) for theme, png in pngs.items()},
            }
            for plot, pngs in drawn
        ],
        sections=[_section(grouping, report) for grouping in report.evaluations[0].sections],
        captions=_captions(report),
        comparisons=[_comparison(comparison, report) for comparison in report.comparisons],
        extras=_extras(report),
        failures=_failures(report),
        lead=title(report.lead),
    )


def _headlines(report: Report) -> list[dict[str, str]]:
    first = report.evaluations[0]
    return [
        {
            "title": title(measure),
            "value": number(first[measure], measure),
            "interval": interval(*_ends(first, measure), measure),
        }
        for measure in report.headlines
    ]


def _rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    rows = []
    for measure in evaluations[0].measures:
        scores = np.array([e[measure] if measure in e.measures else math.nan for e in evaluations])
        best = math.nan
        if len(evaluations) > 1 and not np.isnan(scores).all():
            best = float(np.nanmin(scores) if measure.lower_is_better else np.nanmax(scores))
        cells = [_cell(e, measure, best) for e in evaluations]
        rows.append({"title": title(measure), "name": measure.name, "cells": cells})
    return rows


def _cell(evaluation: Evaluation, measure: Measure, best: float = math.nan) -> Cell:
    if measure not in evaluation.measures:
        return Cell("–")
    value = evaluation[measure]
    low, high = _ends(evaluation, measure)
    text, spread = number(value, measure), interval(low, high, measure)
    if measure.lower_is_better or math.isnan(value):
        return Cell(text, spread, best=value == best)
    known = not math.isnan(low)
    return Cell(text, spread, 100 * value, 100 * low if known else None, 100 * high if known else None, value == best)


def _ends(evaluation: Evaluation, measure: Measure) -> tuple[float, float]:
    return evaluation.interval(measure) or (math.nan, math.nan)


def _section(grouping: str, report: Report) -> dict[str, Any]:
    first = report.evaluations[0]
    measures = [m for m in report.headlines if all(m in part.measures for part in first.sections[grouping].values())]
    groups = []
    for group, part in first.sections[grouping].items():
        others = [e.sections.get(grouping, {}).get(group) for e in report.evaluations[1:]]
        for name, own in [(first.name, part), *zip((e.name for e in report.evaluations[1:]), others, strict=True)]:
            if own is not None:
                groups.append(
                    {
                        "group": plain(group),
                        "system": plain(name),
                        "queries": f"{len(own.queries):,}",
                        "cells": [_cell(own, measure) for measure in measures],
                    }
                )
    return {
        "name": plain(grouping),
        "measures": [title(measure) for measure in measures],
        "rows": groups,
        "several": len(report.evaluations) > 1,
    }


def _captions(report: Report) -> dict[str, Any] | None:
    if not report.captions:
        return None
    cutoffs = list(next(iter(report.captions.values())).recall)
    rows = [
        {
            "direction": plain(direction),
            "queries": f"{scores.queries:,}",
            "cells": [f"{100 * scores.recall[k]:.1f}" for k in cutoffs]
            + [f"{scores.median_rank:g}", f"{scores.mean_rank:.1f}", f"{scores.rsum:.1f}"],
        }
        for direction, scores in report.captions.items()
    ]
    return {"headings": [*(f"R@{k} %" for k in cutoffs), "median rank", "mean rank", "RSum"], "rows": rows}


def _comparison(comparison: Comparison, report: Report) -> dict[str, Any]:
    rows = [
        {
            "title": title(d.measure),
            "before": number(d.before, d.measure),
            "after": number(d.after, d.measure),
            "difference": signed(d.difference, d.measure),
            "interval": f"{signed(d.low, d.measure)} to {signed(d.high, d.measure)}" if not math.isnan(d.low) else "",
            "p": p_value(d.p_adjusted),
            "improved": f"{d.improved:,}",
            "worsened": f"{d.worsened:,}",
            "verdict": _verdict(d.real, (d.difference > 0) != d.measure.lower_is_better),
        }
        for d in comparison.differences
    ]
    measures = [d.measure for d in comparison.differences]
    lead = report.lead if report.lead in measures else measures[0]
    systems = {evaluation.name: evaluation for evaluation in report.evaluations}
    pair = systems.get(comparison.before), systems.get(comparison.after)
    lists = {
        "Most improved": comparison.most_improved(lead, _CHANGED),
        "Most worsened": comparison.most_worsened(lead, _CHANGED),
    }
    return {
        "before": plain(comparison.before),
        "after": plain(comparison.after),
        "queries": f"{len(comparison.queries):,}",
        "missing": comparison.only_before + comparison.only_after,
        "rows": rows,
        "lists": {
            heading: [_changed(query, change, lead, pair, report) for query, change in changes]
            for heading, changes in lists.items()
        },
        "lead": title(lead),
    }


def _verdict(real: bool, up: bool) -> str:
    return "" if not real else "better" if up else "worse"


def _changed(
    query: str, change: float, lead: Measure, pair: tuple[Evaluation | None, Evaluation | None], report: Report
) -> dict[str, str]:
    values = [number(e.of(query).get(lead.label, math.nan), lead) if e is not None else "–" for e in pair]
    return {
        "title": plain(report.display.query_title(query)),
        "before": values[0],
        "after": values[1],
        "change": signed(change, lead),
    }


def _extras(report: Report) -> list[dict[str, Any]]:
    """Small tables: moments, confidence, queries without a match, the index."""
    tables = []
    if report.moments:
        headings = list(next(iter(report.moments.values())).metrics())
        rows = [[plain(name), *map(number, m.metrics().values())] for name, m in report.moments.items()]
        text = "Overlap in time of what was found with what should be: intersection over union (IoU)."
        tables.append({"title": "Moments", "text": text, "headings": headings, "rows": rows})
    if report.reliability:
        headings = ["expected calibration error", "largest error", "Brier score", "results"]
        rows = [
            [plain(n), *map(number, (r.expected_error, r.largest_error, r.brier)), f"{int(r.counts.sum()):,}"]
            for n, r in report.reliability.items()
        ]
        text = "How far confidence is from the share that is right. 0 is best."
        tables.append({"title": "Confidence", "text": text, "headings": headings, "rows": rows})
    if report.no_match:
        headings = ["ROC area", "equal error rate", "with a match", "without"]
        rows = [
            [plain(n), number(c.area), number(c.equal_error), f"{c.with_match:,}", f"{c.without_match:,}"]
            for n, c in report.no_match.items()
        ]
        text = "Whether the best result's score tells queries that have an answer from those that have none."
        tables.append({"title": "Queries without a match", "text": text, "headings": headings, "rows": rows})
    if report.accepts:
        headings = ["confidence from", "without a match: answered", "with a match: answered"]
        rows = [
            [
                *(plain(n), f"{a.threshold:g}"),
                *(share(a.false_accepts, a.without_match), share(a.true_accepts, a.with_match)),
            ]
            for n, a in report.accepts.items()
        ]
        text = "How often the best result is called a match: wrongly, where nothing should be found, and rightly."
        tables.append({"title": "Called a match", "text": text, "headings": headings, "rows": rows})
    if report.ann:
        ks = sorted({k for found in report.ann.values() for k in found.mean})
        rows = [[plain(n), *(number(a.mean.get(k, math.nan)) for k in ks)] for n, a in report.ann.items()]
        text = "How much of the exact result the approximate index finds."
        tables.append({"title": "The index", "text": text, "headings": [f"recall@{k}" for k in ks], "rows": rows})
    return tables


def _failures(report: Report) -> list[dict[str, Any]]:
    first = report.evaluations[0]
    run = report.runs.get(first.name)
    if run is None or report.qrels is None:
        return []
    queries = Thumbnails(report.display.query_thumbnail)
    of_result, of_item = report.display.result_thumbnail, report.display.item_thumbnail
    items: Thumbnails[tuple[str, str]] = Thumbnails(
        (lambda key: of_item(key[1])) if of_result is None else (lambda key: of_result(*key))
    )
    picked = pick_failures(first, run, report.qrels, report.lead, report.failures)
    return [_shown_failure(failure, report, queries, items) for failure in picked]


def _shown_failure(
    failure: Failure, report: Report, queries: Thumbnails[str], items: Thumbnails[tuple[str, str]]
) -> dict[str, Any]:
    return {
        "title": plain(report.display.query_title(failure.query)),
        "picture": queries.uri(failure.query),
        "value": number(failure.value, report.lead),
        "first": f"first hit at rank {failure.first_rank:,}" if failure.first_rank else "nothing relevant found",
        "found": [_shown_item(item, failure, report, items) for item in failure.found],
        "missed": [_shown_item(item, failure, report, items) for item in failure.missed],
        "more": failure.missed_more,
    }


def _shown_item(
    item: ShownItem, failure: Failure, report: Report, items: Thumbnails[tuple[str, str]]
) -> dict[str, Any]:
    name, depth = plain(report.display.item_title(item.id)), failure.depth
    text = None if item.rank is None else report.display.result_text(failure.query, item.id)
    return {
        "title": name,
        "words": report.display.item_is_text(item.id),
        "letter": name.rpartition(".")[2][:4] if "." in name else name[:1],
        "picture": items.uri((failure.query, item.id)),
        "rank": f"{item.rank:,}." if item.rank is not None else f"not in first {depth:,}" if depth else "not found",
        "score": plain(text) if text is not None else f"{item.score:.3f}" if item.score is not None else "",
        "right": item.grade >= 1,
        "grade": item.grade,
    }


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
