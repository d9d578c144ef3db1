"""One query against its judgements, as somebody who searches would want to see it: `mmsearch query --qrels`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from indexer.errors import UsageError
from mmsearch.evaluation.by_engine import names_of, query_of
from mmsearch.evaluation.cases import EvaluationQuery
from mmsearch.evaluation.datasets import load_judgements
from mmsearch.evaluation.datasets.folder import canonical
from mmsearch.evaluation.evaluator import grammar_terms
from mmsearch.evaluation.ids import Id
from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.results import Resampling, evaluate
from mmsearch.evaluation.run import Run
from mmsearch.output.text import many, path
from mmsearch.rank import Hit
from mmsearch.terms import Term

_NAMED = 5  # files that should have been found


@dataclass(frozen=True, slots=True)
class Quality:
    """How good one answer is.

    Attributes:
        id: the query's, in the file of judgements.
        k: how many results count.
        precision: the share of the first k results that are relevant; fewer results than k count as k. NaN, as are the
            others, for a query that should find nothing.
        recall: the share of the relevant files that are among the first k.
        f1: 2 P R / (P + R).
        relevant: how many files are relevant.
        found: which of them are among the first k, best first.
        missed: which are not.
    """

    id: str
    k: int
    precision: float
    recall: float
    f1: float
    relevant: int
    found: tuple[str, ...]
    missed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values: see docs/json.md."""
        numbers = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {
            "id": self.id,
            "k": self.k,
            **{name: None if math.isnan(value) else round(value, 6) for name, value in numbers.items()},
            "relevant": self.relevant,
            "found": list(self.found),
            "missed": list(self.missed),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        if not self.relevant:
            yield f"Judged as {self.id}: nothing should be found."
            return
        k = self.k
        yield f"precision@{k} {self.precision:.3f}  recall@{k} {self.recall:.3f}  F1@{k} {self.f1:.3f}"
        yield f"Judged as {self.id}: {len(self.found)} of {many(self.relevant, 'relevant file')} in the first {k}."
        if self.missed:
            more = f" and {len(self.missed) - _NAMED:,} more" if len(self.missed) > _NAMED else ""
            yield f"Not among them: {', '.join(map(path, self.missed[:_NAMED]))}{more}"


def judged_query(file: str | os.PathLike[str], asked: Sequence[Term] | str) -> EvaluationQuery | None:
    """A query of a file of judgements: by its id when `asked` is text, else by what it asks. None without such a one.

    Raises:
        UsageError: the file cannot be read, or several of its queries ask the same.
    """
    queries = load_judgements(file, parse=grammar_terms).queries
    if isinstance(asked, str):
        return next((query for query in queries if query.id == asked.strip()), None)
    wanted = _same(asked)
    found = [query for query in queries if _same(query_of(query).terms) == wanted]
    if len(found) > 1:
        ids = ", ".join(query.id for query in found)
        raise UsageError(f"several queries of {os.fspath(file)} ask this: {ids}; name one by its id")
    return found[0] if found else None


def ids_of(file: str | os.PathLike[str]) -> list[str]:
    """The ids of all queries of a file of judgements."""
    return [query.id for query in load_judgements(file, parse=grammar_terms).queries]


def quality_of(query: EvaluationQuery, hits: Sequence[Hit], k: int) -> Quality:
    """Hold the first k results against a query's judgements. Files that the query is made of do not count."""
    judged = set(query.relevant)
    scores: dict[Id, float] = {}
    for hit in hits:
        names = [name for name in names_of(hit, judged, None) if name not in query.ignored and name not in scores]
        place = float(-len(scores))
        scores |= dict.fromkeys(names[: k - len(scores)], place)  # copies share a place
    measures = [f"{name}@{k}" for name in ("P", "R", "F1")]
    relevant = [item for item, grade in query.relevant.items() if grade > 0]
    reached = dict.fromkeys(measures, math.nan)
    if relevant:
        qrels = Qrels.from_mapping({query.id: query.relevant})
        made = evaluate(Run.from_mapping({query.id: scores}), qrels, measures, resampling=Resampling(resamples=0))
        reached = {name: made[name] for name in measures}
    found = tuple(str(item) for item in scores if item in set(relevant))
    return Quality(
        id=query.id,
        k=k,
        precision=reached[measures[0]],
        recall=reached[measures[1]],
        f1=reached[measures[2]],
        relevant=len(relevant),
        found=found,
        missed=tuple(item for item in relevant if item not in set(found)),
    )


def _same(terms: Sequence[Term]) -> list[tuple[str, str, float]]:
    """What makes two queries the same: their terms in any order, words without regard to blanks."""
    return sorted(
        (term.kind, " ".join(term.value.split()) if term.kind == "text" else canonical(term.value), term.weight)
        for term in terms
    )
