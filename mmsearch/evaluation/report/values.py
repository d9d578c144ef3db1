"""What a report is made of, and how its numbers are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.errors import UsageError
from mmsearch.evaluation.ann import AnnRecall
from mmsearch.evaluation.comparison import Comparison
from mmsearch.evaluation.curves import NoMatch, Reliability
from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.metrics import Measure, parse_measure
from mmsearch.evaluation.metrics.captions import CaptionScores
from mmsearch.evaluation.metrics.moments import MomentScores
from mmsearch.evaluation.results import Evaluation
from mmsearch.evaluation.run import Run

# By which measure failures and improvements are picked, and which are shown large: the first that was evaluated.
LEADING = ("nDCG@10", "AP", "nDCG", "RR", "R@10", "Success@10")
HEADLINES = ("Success@1", "R@10", "nDCG@10", "RR", "AP")


def _as_it_is(id: str) -> str:
    return id


def _no_picture(id: str) -> bytes | Path | None:
    return None


def _no_text(query: str, item: str) -> str | None:
    return None


def _is_no_text(id: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Accepts:
    """What happens at the threshold that the product uses: whether the best result is called a match.

    Attributes:
        threshold: The confidence from which it is.
        without_match: How many queries have no relevant item.
        false_accepts: For how many of these something was called a match.
        with_match: How many queries have a relevant item.
        true_accepts: For how many of these something was called a match.
    """

    threshold: float
    without_match: int
    false_accepts: int
    with_match: int
    true_accepts: int

    @property
    def false_rate(self) -> float:
        """The false-accept rate; NaN when every query has a relevant item."""
        return self.false_accepts / self.without_match if self.without_match else math.nan

    @property
    def true_rate(self) -> float:
        """The share of queries with a relevant item for which something is called a match; NaN without such queries."""
        return self.true_accepts / self.with_match if self.with_match else math.nan


@dataclass(frozen=True, slots=True)
class Display:
    """How queries and items look to people; ids alone say little.

    Attributes:
        query_title: A query's id to what was asked, such as its words.
        item_title: An item's id to its name.
        query_thumbnail: A query's id to a picture of it, for queries that are pictures: the bytes of an image file
            or the path of one; None for none. Large pictures are made small; one that cannot be read is left out.
        item_thumbnail: The same for items.
        item_is_text: Whether an item is a text, whose title is its words, rather than a file with a name.
        result_text: A query's and an item's id to what is written beside that result, such as its confidence; None for
            its score in the run.
        result_thumbnail: A query's and an item's id to a picture of the item as that query found it, such as the frame
            of a video at the moment that was found; without it, the item's.
    """

    query_title: Callable[[str], str] = _as_it_is
    item_title: Callable[[str], str] = _as_it_is
    query_thumbnail: Callable[[str], bytes | Path | None] = _no_picture
    item_thumbnail: Callable[[str], bytes | Path | None] = _no_picture
    item_is_text: Callable[[str], bool] = _is_no_text
    result_text: Callable[[str, str], str | None] = _no_text
    result_thumbnail: Callable[[str, str], bytes | Path | None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything that a report shows. What is not given is not shown.

    Attributes:
        title: Its heading.
        evaluations: One for each system, with different names; the first is the baseline.
        facts: What was evaluated, for the record: "data set" to "coco, test split".
        notes: Sentences that a reader must know, such as what was skipped.
        runs: System to its ranked lists; they are needed for the failures.
        qrels: What should have been found; needed for the failures.
        display: How queries and items look.
        comparisons: Of the systems.
        captions: Direction to what papers on captions report, for the first system.
        reliability: System to its reliability.
        no_match: System to its no-match curve.
        moments: System to its moments.
        ann: Name of an index to its recall.
        accepts: System to how often something is called a match, rightly and wrongly.
        asked: What was asked for, as JSON values, so that the same can be asked again.
        skipped: What was left out, each with the reason.
        leading: The measure that picks failures and improvements.
        failures: How many failures are shown.
    """

    title: str
    evaluations: tuple[Evaluation, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    runs: Mapping[str, Run] = field(default_factory=dict)
    qrels: Qrels | None = None
    display: Display = Display()
    comparisons: tuple[Comparison, ...] = ()
    captions: Mapping[str, CaptionScores] = field(default_factory=dict)
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    no_match: Mapping[str, NoMatch] = field(default_factory=dict)
    moments: Mapping[str, MomentScores] = field(default_factory=dict)
    ann: Mapping[str, AnnRecall] = field(default_factory=dict)
    accepts: Mapping[str, Accepts] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    leading: Measure | None = None
    failures: int = 20

    def __post_init__(self) -> None:
        names = [evaluation.name for evaluation in self.evaluations]
        if not names or len(set(names)) < len(names):
            raise UsageError(f"a report needs evaluations of different names, and got {', '.join(names) or 'none'}")
        if self.leading is not None:
            self.evaluations[0].row(self.leading)

    @property
    def lead(self) -> Measure:
        """The measure that picks failures and improvements."""
        if self.leading is not None:
            return self.leading
        own = self.evaluations[0].measures
        return next((m for m in map(parse_measure, LEADING) if m in own), own[0])

    @property
    def headlines(self) -> tuple[Measure, ...]:
        """Up to five measures to show large."""
        own = self.evaluations[0].measures
        return tuple(m for m in map(parse_measure, HEADLINES) if m in own) or own[:5]


def number(value: float, measure: Measure | None = None) -> str:
    """A measure's value for people: "0.642"; ranks as "3" or "2.5"; a dash for none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "never"
    if measure is not None and measure.lower_is_better:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.3f}"


def interval(low: float, high: float, measure: Measure | None = None) -> str:
    """An interval for people: "0.60–0.68"; "" for none."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"{number(low, measure)}–{number(high, measure)}"


def signed(value: float, measure: Measure | None = None) -> str:
    """A difference for people, with its sign."""
    if math.isnan(value) or math.isinf(value):
        return "–"
    text = number(abs(value), measure)
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{text}"


def p_value(p: float) -> str:
    """A p value for people: "0.03", "< 0.001"; a dash for none."""
    if math.isnan(p):
        return "–"
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def share(some: int, of: int) -> str:
    """A share of a few, with their number: "3 of 12 (25 %)"; a dash for none of none."""
    return f"{some:,} of {of:,} ({some / of:.0%})".replace("%", " %") if of else "–"


def title(measure: Measure) -> str:
    """A measure's name for people: "Recall@10"."""
    at = "" if measure.at is None else f"@{measure.at:g}"
    options = f" (grade {measure.grade}+)" * (measure.grade != 1) + " (exp. gain)" * (measure.gain != "log2")
    return f"{measure.family.title}{at}{options}"


def plain(text: str) -> str:
    """A text that is safe to show and to write as UTF-8: what cannot be printed becomes an escape."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode() for c in whole)


def counts(evaluation: Evaluation) -> list[str]:
    """What a reader must know of the queries, each in a sentence."""
    sentences = [f"{_many(len(evaluation.queries), 'query', 'queries')} evaluated."]
    if evaluation.without_results:
        sentences.append(f"{len(evaluation.without_results):,} of them found nothing, and count as zero.")
    if evaluation.left_out:
        sentences.append(f"{_many(len(evaluation.left_out), 'query', 'queries')} without a relevant item left out.")
    if evaluation.unjudged:
        sentences.append(f"{_many(len(evaluation.unjudged), 'query', 'queries')} without judgements passed over.")
    if evaluation.tied:
        sentences.append(
            f"In {_many(len(evaluation.tied), 'query', 'queries')} a relevant item shares its score with another,"
            " and ids decided between them."
        )
    return sentences


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"
