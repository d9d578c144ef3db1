"""A file's score taken apart: which term adds how much, by which segment.

What is added up is what ranks a file, as `mmsearch.plan` and `mmsearch.search` compute it, and nothing else. With terms
t of weights w_t > 0 (their sum W), scores s_t over chance, negative terms n of weights v_n, whose score over their mean
is a_n, and the evidence e of words that were found literally,

- terms that meet in each segment ("sum"): s = e + max over segments of [sum_t w_t/W s_t - sum_n v_n/W max(a_n, 0)];
- "attention": the same, with softmax weights in place of w_t/W;
- terms that are put together file by file ("mean"): s = e + sum_t w_t/W max s_t - sum_n v_n/W max(a_n, 0), where each
  maximum is taken over segments by itself.

So every part belongs to a term and to a segment, and the parts add up exactly. Ranks ("rrf", "borda") hang on all other
files, bare cosines ("concat") say nothing of chance, and distances are no sums: there, what confidence is made from is
taken apart, which is "mean" for several terms and "sum" for distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mmsearch import fusion
from mmsearch.plan import Plan, Scored

Place = tuple[int, int]
"""Which of the channels' segments, and which row of these."""


@dataclass(slots=True)
class Account:
    """What each term adds, and where: by the number of a term, positive ones first, then negative ones.

    `parts`: what each adds. `places`: the segment that it adds it by; None for a term that does not reach the file.
    `best`: the segment that the file is shown by.
    """

    best: Place
    parts: list[float] = field(default_factory=list)
    places: list[Place | None] = field(default_factory=list)

    @property
    def total(self) -> float:
        """The score, without what was found as words."""
        return float(sum(self.parts))

    def through(self, place: Place) -> float:
        """How much of the score comes from one segment."""
        return float(sum(part for part, at in zip(self.parts, self.places, strict=True) if at == place))


def account_of(plan: Plan, scored: Sequence[Scored]) -> Account:
    """Take a file's score apart.

    Args:
        plan: the query.
        scored: all segments of the file, with their scores; at least one.
    """
    best = _highest([part.key for part in scored])
    if best is None:
        raise ValueError("a file without segments has no score")
    found = Account(best)
    total = sum(plan.weights)
    meets = plan.is_feature_level or plan.query.metric != "cosine"
    meeting = _highest([part.worth for part in scored]) or best
    shares = _attention(plan, scored[meeting[0]], meeting[1]) if plan.fusion == "attention" else None
    for number, weight in enumerate(plan.weights):
        place = meeting if meets else _highest([part.terms[number] for part in scored])
        value = np.nan if place is None else float(scored[place[0]].terms[number, place[1]])
        share = weight / total if shares is None else shares[number]
        found.parts.append(0.0 if shares is not None and np.isnan(value) else share * _or(value, plan.missing))
        found.places.append(None if np.isnan(value) else place)
    for number, weight in enumerate(plan.less):
        above = [part.above[number] for part in scored]
        place = meeting if meets else _highest(above)
        value = np.nan if place is None else float(above[place[0]][place[1]])
        found.parts.append(-abs(weight) / total * max(_or(value, 0.0), 0.0))
        found.places.append(None if np.isnan(value) else place)
    return found


def formula_of(plan: Plan, *, with_words: bool) -> str:
    """How the parts make the score, in a sentence; `with_words`: something was found literally."""
    unit = "scores over chance" if plan.calibrated else "cosines"
    if len(plan.weights) == 1:
        told = f"the term's {'score over chance' if plan.calibrated else 'cosine'} in the best segment"
    elif plan.fusion == "attention":
        told = f"the terms' {unit} in the best segment, each weighed by how well it agrees (softmax)"
    elif plan.is_feature_level:
        told = f"the weighted mean of the terms' {unit} in the best segment"
    else:
        told = f"the weighted mean of the terms' {unit}, each in its own best segment"
    if plan.less:
        told += ", less what negative terms take off"
    told += ", and the evidence of words found literally" if with_words else ""
    if not plan.is_feature_level and plan.fusion != "mean" and plan.query.metric == "cosine":
        told += f" (this makes the confidence; {plan.fusion} ranks)"
    elif plan.query.metric != "cosine":
        told += f" (this makes the confidence; {plan.query.metric} distance ranks)"
    return told


def _attention(plan: Plan, part: Scored, row: int) -> list[float]:
    """The weights that `fusion.attention` gives the terms in one segment: they add up to 1."""
    scores = part.terms[:, row]
    there = ~np.isnan(scores)
    heat = np.exp((scores - np.nanmax(scores)) / fusion.ATTENTION_TEMPERATURE, where=there, out=np.zeros(len(scores)))
    heavy = np.asarray(plan.weights) * heat
    weights: list[float] = (heavy / heavy.sum()).tolist()
    return weights


def _highest(rows: Sequence[fusion.Scores]) -> Place | None:
    """Where the highest of all numbers is; None where there is none but nan."""
    places = [(channel, int(np.nanargmax(row))) for channel, row in enumerate(rows) if not np.isnan(row).all()]
    return max(places, key=lambda at: float(rows[at[0]][at[1]]), default=None)


def _or(value: float, instead: float) -> float:
    return instead if np.isnan(value) else value
