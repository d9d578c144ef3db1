"""The table of measures, and their names.

Each measure has the name that ir_measures gives it (`R@10`, `nDCG@10`, `AP`) and a plain one (`recall@10`, `ndcg@10`,
`map`), which is the key in JSON. Either may be asked for, in capitals or not. `P(rel=2)@5` counts only grades of 2 and
more as relevant; `nDCG(dcg='exp-log2')@10` takes 2^grade - 1 as the gain. Both are ir_measures' notation.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.metrics import ranking
from mmsearch.evaluation.placements import Placements

Values = NDArray[np.float64]
Parameter = Literal["required", "optional", "none", "recall"]


@dataclass(frozen=True, slots=True)
class Family:
    """A row of the table: a measure without its cutoff.

    Attributes:
        name: As in ir_measures; for those that ir_measures does not have, as in the papers.
        label: The plain name, and the key in JSON.
        title: A heading for people.
        function: Placements, and the cutoff if there is one, to one value for each query.
        parameter: Whether a cutoff k follows the "@", or a recall level.
        weights: For measures pooled over queries: the weight of each query's value.
        median: The value of many queries is the median, not the mean.
        lower_is_better: So it is for ranks.
        aliases: Other names that people use.
    """

    name: str
    label: str
    title: str
    function: Callable[..., Values]
    parameter: Parameter = "none"
    weights: Callable[..., Values] | None = None
    median: bool = False
    lower_is_better: bool = False
    aliases: tuple[str, ...] = ()


FAMILIES: tuple[Family, ...] = (
    Family("P", "precision", "Precision", ranking.precision, "required"),
    Family("R", "recall", "Recall", ranking.recall, "required"),
    Family("F1", "f1", "F1", ranking.f1, "required", aliases=("macro_f1",)),
    Family("microR", "micro_recall", "Micro recall", ranking.recall, "required", ranking.recall_weights),
    Family("microF1", "micro_f1", "Micro F1", ranking.f1, "required", ranking.f1_weights),
    Family("Rprec", "r_precision", "R-precision", ranking.r_precision, aliases=("r-precision",)),
    Family("Success", "hit_rate", "Hit rate", ranking.success, "required", aliases=("hits", "hit")),
    Family("RR", "mrr", "MRR", ranking.reciprocal_rank, "optional", aliases=("reciprocal_rank",)),
    Family("AP", "map", "mAP", ranking.average_precision, "optional", aliases=("average_precision",)),
    Family("nDCG", "ndcg", "nDCG", ranking.ndcg, "optional"),
    Family("IPrec", "interpolated_precision", "Interpolated precision", ranking.interpolated_precision, "recall"),
    Family(
        *("MedR", "median_rank", "Median rank", ranking.first_rank),
        median=True,
        lower_is_better=True,
        aliases=("MdR",),
    ),
    Family("MeanR", "mean_rank", "Mean rank", ranking.first_rank, lower_is_better=True, aliases=("MnR",)),
)
_FAMILY_OF = {name.casefold(): row for row in FAMILIES for name in (row.name, row.label, *row.aliases)}
_FORM = re.compile(r"(?P<name>[A-Za-z_][\w-]*?)(\((?P<options>[^)]*)\))?(@(?P<at>[\d.]+))?")
_GAINS = ("log2", "exp-log2")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure with its cutoff and its options, such as nDCG@10. `parse_measure` makes one from its name.

    Attributes:
        family: Its row of the table.
        at: The cutoff k (whole), or the recall level in [0, 1]; None for the whole list.
        grade: The lowest grade that counts as relevant. nDCG goes by the grades themselves, and has none.
        gain: How nDCG makes a gain from a grade: "log2" or "exp-log2".
    """

    family: Family
    at: float | None = None
    grade: int = 1
    gain: str = "log2"

    def __post_init__(self) -> None:
        row = self.family
        if (self.at is None) != (row.parameter == "none") and row.parameter != "optional":
            wants = (
                "no cutoff" if row.parameter == "none" else "a cutoff" if row.parameter == "required" else "a recall"
            )
            example = row.name if row.parameter == "none" else f"{row.name}@{0.5 if row.parameter == 'recall' else 10}"
            raise UsageError(f"{row.name} takes {wants}, as in {example}")
        if (
            row.parameter in ("required", "optional")
            and self.at is not None
            and (self.at < 1 or self.at != int(self.at))
        ):
            raise UsageError(f"the cutoff of {row.name} is {self.at:g}, and must be a whole number from 1")
        if row.parameter == "recall" and self.at is not None and not 0 <= self.at <= 1:
            raise UsageError(f"the recall level of {row.name} is {self.at:g}, and must be from 0 to 1")
        if self.grade < 1 or (self.grade != 1 and row.name == "nDCG"):
            raise UsageError(f"rel={self.grade} does not fit {row.name}: 1 and more, and none for nDCG")
        if self.gain not in _GAINS or (self.gain != "log2" and row.name != "nDCG"):
            raise UsageError(f"dcg={self.gain!r} does not fit {row.name}: for nDCG only, one of {', '.join(_GAINS)}")

    @property
    def name(self) -> str:
        """The name as in ir_measures: "R@10"."""
        return self._written(self.family.name)

    @property
    def label(self) -> str:
        """The plain name, which is the key in JSON: "recall@10"."""
        return self._written(self.family.label)

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value is the better one, as for ranks."""
        return self.family.lower_is_better

    def _written(self, name: str) -> str:
        options = [f"rel={self.grade}"] * (self.grade != 1) + [f"dcg='{self.gain}'"] * (self.gain != "log2")
        at = "" if self.at is None else f"@{self.at:g}"
        return f"{name}({','.join(options)}){at}" if options else f"{name}{at}"

    def values(self, placements: Placements) -> tuple[Values, Values]:
        """The measure for each query, and each query's weight in the mean of them all.

        Returns:
            values: (Q,) float64; NaN for a query without an item of the grade that counts. Ranks may be infinite.
            weights: (Q,) float64, 0 where the value is NaN.
        """
        if self.grade == 1:
            return self._values(placements)
        part, some = placements.at_least(self.grade)
        values, weights = np.full(len(some), np.nan), np.zeros(len(some))
        values[some], weights[some] = self._values(part)
        return values, weights

    def _values(self, placements: Placements) -> tuple[Values, Values]:
        row = self.family
        arguments: list[Any] = []
        if row.parameter == "recall":
            arguments = [self.at]
        elif row.parameter != "none":
            arguments = [None if self.at is None else int(self.at)]
        options = {"gain": self.gain} if row.name == "nDCG" else {}
        values = row.function(placements, *arguments, **options)
        weights = np.ones(len(values)) if row.weights is None else row.weights(placements, *arguments)
        return values, weights


def parse_measure(name: str) -> Measure:
    """The measure of that name, in ir_measures' notation or in plain words.

    Raises:
        UsageError: There is none, or its cutoff or options do not fit.
    """
    form = _FORM.fullmatch(name.strip())
    row = _FAMILY_OF.get(form["name"].casefold()) if form else None
    if form is None or row is None:
        raise UsageError(
            f"there is no measure {name!r}; {_nearest(form)}there are {', '.join(map(_example, FAMILIES))}"
        )
    grade, gain = 1, "log2"
    for option in filter(None, (form["options"] or "").replace(" ", "").split(",")):
        key, _, value = option.partition("=")
        value = value.strip("'\"")
        if key == "rel" and value.isdecimal():
            grade = int(value)
        elif key == "dcg":
            gain = value
        else:
            raise UsageError(f"{option!r} in {name!r} is not understood; there are rel=GRADE and dcg='exp-log2'")
    try:
        at = None if form["at"] is None else float(form["at"])
    except ValueError:
        raise UsageError(f"what follows the @ of {name!r} must be a number") from None
    return Measure(row, at, grade, gain)


def parse_measures(names: Iterable[str | Measure]) -> tuple[Measure, ...]:
    """Measures from their names, each once, in the order in which they were asked for."""
    return tuple(dict.fromkeys(name if isinstance(name, Measure) else parse_measure(name) for name in names))


def _example(row: Family) -> str:
    return {"required": f"{row.label}@10", "recall": f"{row.label}@0.5"}.get(row.parameter, row.label)


def _nearest(form: re.Match[str] | None) -> str:
    """What was probably meant, if anything comes near."""
    found = difflib.get_close_matches(form["name"].casefold(), _FAMILY_OF, 1) if form else []
    return f"the nearest is {_example(_FAMILY_OF[found[0]])}; " if found else ""


DEFAULT_MEASURES: tuple[Measure, ...] = parse_measures(
    [f"{name}@{k}" for name in ("P", "R", "F1", "Success") for k in (1, 5, 10)]
    + ["microF1@10", "nDCG@10", "nDCG", "AP@10", "AP", "RR", "Rprec", "MedR"]
)
