"""Reports as tables for the terminal, made with rich. Nothing here prints: a `rich.console.Console` does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmsearch.evaluation.comparison import Comparison, Difference
from mmsearch.evaluation.gating import Gate
from mmsearch.evaluation.report.values import Report, counts, interval, number, p_value, plain, share, signed, title
from mmsearch.evaluation.results import Evaluation

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_FIRST_COLUMN = 12  # characters at the least: names of measures stay whole when the rest is squeezed
_LONGEST_NAME = 16  # characters of a system's name, so that its numbers fit beside others'
_WIDE = 100  # columns from which comparisons have their intervals
_NOTHING = (math.nan, math.nan)
_WITH_INTERVALS = 3  # up to so many systems side by side


def report_tables(report: Report, width: int | None = None) -> list[RenderableType]:
    """The report, table by table, for `rich.console.Console.print`.

    Args:
        report: What to show.
        width: Columns of the terminal, such as `console.width`. In a narrow one some intervals are left out.
    """
    from rich.text import Text

    first = report.evaluations[0]
    parts: list[RenderableType] = [_measures(report.title, report.evaluations, width)]
    parts.append(Text(" ".join([*counts(first), *map(plain, report.notes)]), style="dim"))
    for grouping in first.sections:
        parts += [_section(grouping, e, report) for e in report.evaluations if grouping in e.sections]
    if report.captions:
        parts.append(_captions(report))
    wide = width is None or width >= _WIDE
    parts += [_comparison(comparison, wide) for comparison in report.comparisons]
    parts += _single_numbers(report)
    return parts


def gate_table(gate: Gate) -> Table:
    """What the gate found, a row for each measure."""
    table = _table("Held against the baseline", "measure", "baseline", "now", "difference", "p of a fall", "")
    for check in gate.checks:
        d = check.difference
        verdict = "[red]fell[/red]" if check.fell else "[dim]too few queries to tell[/dim]" if check.blind else ""
        table.add_row(title(d.measure), *_change(d), p_value(check.p), verdict)
    return table


def _measures(heading: str, evaluations: Sequence[Evaluation], width: int | None) -> Table:
    confidence = evaluations[0].resampling.confidence
    known = any(not math.isnan(low) for e in evaluations for low in e.intervals[:, 0])
    spread = known and len(evaluations) <= (_WITH_INTERVALS if width is None else (width - 16) // 28)
    caption = f"ranges: {confidence:.0%} intervals over queries" if spread else None
    headings = [name for e in evaluations for name in (_short(e.name), *[""] * spread)]
    table = _table(heading, "measure", *headings, caption=caption)
    for measure in evaluations[0].measures:
        cells = []
        for evaluation in evaluations:
            low, high = evaluation.intervals[evaluation.row(measure)] if measure in evaluation.measures else _NOTHING
            value = evaluation[measure] if measure in evaluation.measures else math.nan
            cells += [number(value, measure), *[f"[dim]{interval(low, high, measure)}[/dim]"] * spread]
        table.add_row(title(measure), *cells)
    return table


def _section(grouping: str, evaluation: Evaluation, report: Report) -> Table:
    parts = evaluation.sections[grouping]
    measures = [m for m in report.headlines if all(m in part.measures for part in parts.values())]
    table = _table(f"By {plain(grouping)}: {plain(evaluation.name)}", plain(grouping), "queries", *map(title, measures))
    for group, part in parts.items():
        values = [number(part[measure], measure) for measure in measures]
        table.add_row(_escape(group), f"{len(part.queries):,}", *values)
    return table


def _captions(report: Report) -> Table:
    cutoffs = list(next(iter(report.captions.values())).recall)
    headings = [*(f"R@{k} %" for k in cutoffs), "median rank", "mean rank", "RSum"]
    table = _table("As papers report it (any right item counts)", "direction", "queries", *headings)
    for direction, scores in report.captions.items():
        shares = [f"{100 * scores.recall[k]:.1f}" for k in cutoffs]
        ranks = [f"{scores.median_rank:g}", f"{scores.mean_rank:.1f}"]
        table.add_row(_escape(direction), f"{scores.queries:,}", *shares, *ranks, f"{scores.rsum:.1f}")
    return table


def _comparison(comparison: Comparison, wide: bool) -> Table:
    before, after = _short(comparison.before), _short(comparison.after)
    headings = ("measure", before, after, "difference", *["interval"] * wide, "p", "better/worse")
    caption = "p: paired randomisation test, adjusted (Holm); * real, p < 0.05. Queries that are better and worse."
    table = _table(f"{before} → {after}, {len(comparison.queries):,} queries", *headings, caption=caption)
    for d in comparison.differences:
        colour = ("green" if (d.difference > 0) != d.measure.lower_is_better else "red") if d.real else ""
        value, earlier, change = (
            number(d.after, d.measure),
            number(d.before, d.measure),
            signed(d.difference, d.measure),
        )
        spread = f"{signed(d.low, d.measure)} to {signed(d.high, d.measure)}" if not math.isnan(d.low) else ""
        table.add_row(
            title(d.measure),
            *(earlier, value, f"[{colour}]{change}[/{colour}]" if colour else change),
            *[f"[dim]{spread}[/dim]"] * wide,
            f"{p_value(d.p_adjusted)}{' *' if d.real else '  '}",
            f"{d.improved:,}/{d.worsened:,}",
        )
    return table


def _single_numbers(report: Report) -> list[RenderableType]:
    tables: list[RenderableType] = []
    if report.moments:
        labels = list(next(iter(report.moments.values())).metrics())
        table = _table("Moments", "", *labels)
        for name, scores in report.moments.items():
            table.add_row(_escape(name), *map(number, scores.metrics().values()))
        tables.append(table)
    if report.reliability:
        table = _table("Confidence", "", "expected error", "largest error", "Brier score", "results")
        for name, curve in report.reliability.items():
            errors = map(number, (curve.expected_error, curve.largest_error, curve.brier))
            table.add_row(_escape(name), *errors, f"{int(curve.counts.sum()):,}")
        tables.append(table)
    if report.no_match:
        table = _table("Queries without a match", "", "ROC area", "equal error", "answered wrongly at 95 % answered")
        for name, roc in report.no_match.items():
            wrong = float(roc.false_accepts[(roc.true_accepts >= 0.95).argmax()])
            table.add_row(_escape(name), number(roc.area), number(roc.equal_error), number(wrong))
        tables.append(table)
    if report.accepts:
        headings = ("without a match: answered", "with a match: answered")
        table = _table("Called a match", "", "confidence from", *headings)
        for name, accepts in report.accepts.items():
            shares = [
                share(accepts.false_accepts, accepts.without_match),
                share(accepts.true_accepts, accepts.with_match),
            ]
            table.add_row(_escape(name), f"{accepts.threshold:g}", *shares)
        tables.append(table)
    if report.ann:
        ks = sorted({k for found in report.ann.values() for k in found.mean})
        table = _table("The index against exact search", "", *(f"recall@{k}" for k in ks))
        for name, found in report.ann.items():
            table.add_row(_escape(name), *(number(found.mean.get(k, math.nan)) for k in ks))
        tables.append(table)
    return tables


def _change(d: Difference) -> tuple[str, str, str]:
    return number(d.before, d.measure), number(d.after, d.measure), signed(d.difference, d.measure)


def _table(heading: str, *columns: str, caption: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=_escape(heading),
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for place, column in enumerate(columns):
        if place == 0:
            table.add_column(_escape(column), justify="left", no_wrap=True, min_width=_FIRST_COLUMN)
        else:
            table.add_column(_escape(column), justify="right", no_wrap=True)
    return table


def _short(name: str) -> str:
    whole = plain(name)
    return whole if len(whole) <= _LONGEST_NAME else f"{whole[: _LONGEST_NAME - 1]}…"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(plain(text))
