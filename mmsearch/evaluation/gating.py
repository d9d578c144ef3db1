"""The gate of a build: did a measure fall by more than chance explains?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from indexer.errors import UsageError
from mmsearch.evaluation.comparison import LEVEL, Comparison, Difference, compare
from mmsearch.evaluation.metrics import Measure, parse_measures
from mmsearch.evaluation.results import Evaluation, Resampling
from mmsearch.evaluation.statistics import holm


@dataclass(frozen=True, slots=True, eq=False)
class GateCheck:
    """One measure at the gate.

    Attributes:
        difference: Before and after.
        p: One-sided p of the fall, raised for the number of measures at the gate (Holm).
        fell: Whether it fell by more than chance explains, or by more than was allowed.
        blind: Whether so few queries differ that no fall could be told from chance.
    """

    difference: Difference
    p: float
    fell: bool
    blind: bool


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """What the gate found. `passed` is False when a measure fell."""

    comparison: Comparison
    checks: tuple[GateCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether no measure fell."""
        return not any(check.fell for check in self.checks)


def gate(
    baseline: Evaluation,
    now: Evaluation,
    measures: Iterable[str | Measure] | None = None,
    *,
    level: float = LEVEL,
    largest_fall: float | None = None,
    resampling: Resampling | None = None,
) -> Gate:
    """Hold an evaluation against an earlier one, query by query.

    A measure fell when it is worse and a one-sided paired randomisation test gives a p below `level` after Holm's
    adjustment for all measures at the gate: so an unchanged system fails with a probability of at most `level`,
    however many measures are looked at. The means of two runs over different queries say nothing here: only queries
    that both have are compared.

    Args:
        baseline: The earlier one, usually read back from its JSON.
        now: The present one.
        measures: Which ones; without it, all that both have and that can be tested (medians cannot).
        level: In (0, 1).
        largest_fall: A fall by more than this fails whether or not chance explains it; a wall for few queries.
        resampling: How p values are made.

    Raises:
        UsageError: They share no query, a measure is missing or cannot be tested, or `level` is out of range.
    """
    if not 0 < level < 1 or (largest_fall is not None and not largest_fall >= 0):
        raise UsageError(f"level must be between 0 and 1, and the largest fall 0 or more: {level}, {largest_fall}")
    comparison = compare(baseline, now, resampling=resampling)
    if measures is None:
        wanted = [d for d in comparison.differences if not np.isnan(d.p_fall)]
    else:
        wanted = [comparison.of(measure) for measure in parse_measures(measures)]
        untested = [d.measure.label for d in wanted if np.isnan(d.p_fall)]
        if untested:
            raise UsageError(f"no test for {', '.join(untested)}: choose measures that are means of finite values")
    if not wanted:
        raise UsageError("there is no measure to test: both evaluations need one that is a mean of finite values")
    adjusted = holm(np.array([d.p_fall for d in wanted]))
    checks = []
    for difference, p in zip(wanted, adjusted, strict=True):
        fall = -difference.difference if not difference.measure.lower_is_better else difference.difference
        too_far = largest_fall is not None and fall > largest_fall
        blind = difference.worsened > 0 and difference.p_smallest * len(wanted) >= level
        checks.append(GateCheck(difference, float(p), bool((fall > 0 and p < level) or too_far), blind))
    return Gate(comparison, tuple(checks))
