"""Plots of a report, as PNG: each for light and for dark pages. matplotlib's figures are used without pyplot."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmsearch.evaluation.report.values import Report, plain, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160
_MOST_SYSTEMS = 6  # lines that can be told apart


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a page, the same as in page.html.jinja."""

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    lines: tuple[str, ...]


LIGHT = Theme(
    *("light", "#ffffff", "#1c2430", "#5b6675", "#e3e7ee"),
    lines=("#2f62d9", "#c2570c", "#0f8a63", "#a3319f", "#b3261e", "#0b7c93"),
)
DARK = Theme(
    *("dark", "#171c24", "#e6eaf0", "#9aa6b5", "#2c3542"),
    lines=("#7ea6ff", "#ffab5e", "#4fd1a1", "#e69be3", "#ff8a80", "#5fd3ea"),
)
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)), (0, (8, 2)), (0, (3, 3)))
Draw = Callable[[Report, "Axes", Theme], None]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of the table below: its file name, what it shows, how large it is in inches, and who draws it."""

    name: str
    title: str
    text: str
    size: tuple[float, float]
    wanted: Callable[[Report], bool]
    draw: Draw


def plots(report: Report) -> Iterator[tuple[Plot, dict[str, bytes]]]:
    """The plots for which a report has something: each with its PNG for "light" and for "dark" pages."""
    for plot in PLOTS:
        if plot.wanted(report):
            yield plot, {theme.name: _png(plot, report, theme) for theme in (LIGHT, DARK)}


def _png(plot: Plot, report: Report, theme: Theme) -> bytes:
    from matplotlib.figure import Figure

    height = plot.size[1] if plot.name != "measures" else 1.1 + 0.42 * len(report.headlines) * _rows(report)
    figure: Figure = Figure(figsize=(plot.size[0], height), dpi=DPI, layout="constrained", facecolor=theme.paper)
    axes = figure.subplots()
    _dress(axes, theme)
    plot.draw(report, axes, theme)
    out = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; it is written right on the page.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(out, format="png")
    return out.getvalue()


def _rows(report: Report) -> float:
    return 0.5 + 0.5 * min(len(report.evaluations), _MOST_SYSTEMS)


def _dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.grid)
    axes.tick_params(colors=theme.faint, labelsize=9, length=0)
    axes.xaxis.label.set_color(theme.faint)
    axes.yaxis.label.set_color(theme.faint)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)


def _legend(axes: Axes, theme: Theme, **where: Any) -> None:
    legend = axes.legend(frameon=False, labelcolor=theme.ink, fontsize=9, **where)
    legend.set_zorder(5)


def _label(name: str) -> str:
    """A name as matplotlib takes it: short, and with no $ to begin a formula."""
    whole = plain(name)
    return (whole if len(whole) <= 32 else whole[:31] + "…").replace("$", r"\$")


def _unit_axes(axes: Axes, across: str, up: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=across, ylabel=up)


def _draw_measures(report: Report, axes: Axes, theme: Theme) -> None:
    measures = report.headlines
    systems = report.evaluations[:_MOST_SYSTEMS]
    step = 0.7 / max(1, len(systems))
    for number, evaluation in enumerate(systems):
        offset = (number - (len(systems) - 1) / 2) * step
        places = [row + offset for row, m in enumerate(measures) if m in evaluation.measures]
        own = [evaluation.row(m) for m in measures if m in evaluation.measures]
        scores, ends = evaluation.scores[own], evaluation.intervals[own]
        colour = theme.lines[number]
        axes.hlines(places, ends[:, 0], ends[:, 1], color=colour, linewidth=3, alpha=0.45)
        axes.scatter(scores, places, s=44, color=colour, zorder=3, label=_label(evaluation.name))
        if len(systems) == 1:
            for place, score, high in zip(places, scores, ends[:, 1], strict=True):
                right = np.nanmax([score, high]) + 0.02
                axes.text(right, place, f"{score:.3f}", va="center", color=theme.ink, fontsize=9)
    axes.set_yticks(range(len(measures)), [title(m) for m in measures], color=theme.ink, fontsize=10)
    axes.set(xlim=(0, 1.0), ylim=(len(measures) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")
    if len(systems) > 1:
        _legend(axes, theme, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(3, len(systems)))


def _draw_precision_recall(report: Report, axes: Axes, theme: Theme) -> None:
    for number, evaluation in enumerate(report.evaluations[:_MOST_SYSTEMS]):
        if evaluation.curve is None:
            continue
        curve, colour = evaluation.curve, theme.lines[number]
        label = _label(evaluation.name)
        axes.plot(curve.recall, curve.precision, color=colour, linestyle=_DASHES[number], linewidth=2, label=label)
        if len(report.evaluations) == 1:
            axes.fill_between(curve.recall, curve.precision, color=colour, alpha=0.12, linewidth=0)
    _unit_axes(axes, "recall", "precision")
    if len(report.evaluations) > 1:
        _legend(axes, theme, loc="best")


def _draw_first_ranks(report: Report, axes: Axes, theme: Theme) -> None:
    finite = [e.first_ranks[np.isfinite(e.first_ranks)] for e in report.evaluations]
    last = max([10.0, *(float(ranks.max()) for ranks in finite if len(ranks))])
    for number, evaluation in enumerate(report.evaluations[:_MOST_SYSTEMS]):
        ranks = np.sort(evaluation.first_ranks)
        at = np.unique(np.concatenate([[1.0], ranks[np.isfinite(ranks)], [last]]))
        share = np.searchsorted(ranks, at, side="right") / max(1, len(ranks))
        style = {"color": theme.lines[number], "linestyle": _DASHES[number], "label": _label(evaluation.name)}
        axes.step(at, share, where="post", linewidth=2, **style)
    axes.set_xscale("log")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 1000, 10_000, 100_000, 1_000_000) if t <= last]
    axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlim=(1, last), ylim=(0, 1.02), xlabel="k", ylabel="queries with a hit in the first k")
    if len(report.evaluations) > 1:
        _legend(axes, theme, loc="lower right")


def _draw_reliability(report: Report, axes: Axes, theme: Theme) -> None:
    axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1, linestyle=(0, (2, 3)), label="perfectly calibrated")
    for number, (name, curve) in enumerate(list(report.reliability.items())[:_MOST_SYSTEMS]):
        colour = theme.lines[number]
        spread = np.abs(np.stack([curve.accuracy - curve.low, curve.high - curve.accuracy]))
        size = 20 + 160 * curve.counts / curve.counts.max()
        axes.errorbar(curve.confidence, curve.accuracy, yerr=spread, fmt="none", ecolor=colour, alpha=0.5)
        axes.plot(curve.confidence, curve.accuracy, color=colour, linewidth=1.5, linestyle=_DASHES[number])
        label = f"{_label(name)}: error {curve.expected_error:.3f}"
        axes.scatter(curve.confidence, curve.accuracy, s=size, color=colour, zorder=3, label=label, linewidth=0)
    _unit_axes(axes, "confidence", "share that is right")
    _legend(axes, theme, loc="upper left", markerscale=0.6)


def _draw_no_match(report: Report, axes: Axes, theme: Theme) -> None:
    axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1, linestyle=(0, (2, 3)))
    for number, (name, curve) in enumerate(list(report.no_match.items())[:_MOST_SYSTEMS]):
        label = f"{_label(name)}: area {curve.area:.3f}"
        style = {"color": theme.lines[number], "linestyle": _DASHES[number], "label": label}
        axes.plot(curve.false_accepts, curve.true_accepts, linewidth=2, **style)
    _unit_axes(axes, "queries without a match that are answered", "queries with a match that are answered")
    _legend(axes, theme, loc="lower right")


def _draw_differences(report: Report, axes: Axes, theme: Theme) -> None:
    comparison = report.comparisons[0]
    change = comparison.of(report.lead)
    heading = f"{_label(comparison.before)} → {_label(comparison.after)}"
    axes.set_title(heading, loc="left", color=theme.ink, fontsize=10)
    values = -change.per_query if change.measure.lower_is_better else change.per_query
    values = np.sort(values[np.isfinite(values)])[::-1]
    places = np.linspace(0, 100, max(2, len(values)))[: len(values)]
    axes.fill_between(places, np.maximum(values, 0), color=theme.lines[2], alpha=0.75, linewidth=0, step="mid")
    axes.fill_between(places, np.minimum(values, 0), color=theme.lines[4], alpha=0.75, linewidth=0, step="mid")
    axes.axhline(0, color=theme.faint, linewidth=1)
    axes.set(xlim=(0, 100), xlabel="queries, from most improved to most worsened (%)", ylabel=f"Δ {title(report.lead)}")


def _has_curve(report: Report) -> bool:
    return any(e.curve is not None and len(e.queries) for e in report.evaluations)


def _has(field: str) -> Callable[[Report], bool]:
    def wanted(report: Report) -> bool:
        value: Mapping[str, Any] = getattr(report, field)
        return bool(value)

    return wanted


def _has_queries(report: Report) -> bool:
    return any(len(evaluation.queries) for evaluation in report.evaluations)


def _comparable(report: Report) -> bool:
    return bool(report.comparisons) and any(d.measure == report.lead for d in report.comparisons[0].differences)


PLOTS: tuple[Plot, ...] = (
    Plot(
        "measures",
        "Measures",
        "Each dot is a system's mean over queries; the bar is its interval.",
        (7.2, 3.0),
        _has_queries,
        _draw_measures,
    ),
    Plot(
        "precision_recall",
        "Precision over recall",
        "Mean over queries of interpolated precision: how clean the list still is when so much has been found.",
        (5.4, 4.0),
        _has_curve,
        _draw_precision_recall,
    ),
    Plot(
        "first_rank",
        "How far down one must look",
        "Share of queries for which something relevant is among the first k results.",
        (5.4, 4.0),
        _has_queries,
        _draw_first_ranks,
    ),
    Plot(
        "reliability",
        "Is the confidence honest?",
        "Of results with a confidence of 0.7, seven in ten should be right. Larger dots stand for more results; "
        "bars are 95 % intervals.",
        (5.4, 4.4),
        _has("reliability"),
        _draw_reliability,
    ),
    Plot(
        "no_match",
        "Saying that nothing matches",
        "Each point is a threshold on the best result's score. Up is good, right is bad.",
        (5.4, 4.4),
        _has("no_match"),
        _draw_no_match,
    ),
    Plot(
        "differences",
        "Where the difference comes from",
        "Every query of the first comparison: green became better, red became worse.",
        (7.2, 3.2),
        _comparable,
        _draw_differences,
    ),
)
