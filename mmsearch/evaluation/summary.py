"""From what systems found to what a report shows: measures, calibration, facts and notes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmsearch.evaluation.ann import AnnRecall
from mmsearch.evaluation.cases import EvaluationSet, Skipped
from mmsearch.evaluation.comparison import compare_all
from mmsearch.evaluation.curves import NoMatch, Reliability, no_match, reliability
from mmsearch.evaluation.datasets.folder import kind_of
from mmsearch.evaluation.display import display_of
from mmsearch.evaluation.found import Found
from mmsearch.evaluation.ids import Id
from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.merging import merged_placements, merged_results, merged_runs
from mmsearch.evaluation.metrics.captions import CaptionScores, caption_scores
from mmsearch.evaluation.metrics.moments import MomentScores
from mmsearch.evaluation.options import DEPTH, POOLINGS, RANKINGS, EvaluationOptions, Ranking
from mmsearch.evaluation.placements import Placements, place
from mmsearch.evaluation.report.values import Accepts, Report
from mmsearch.evaluation.results import Evaluation, Resampling, evaluate, evaluate_by_item, with_section
from mmsearch.evaluation.run import Run
from mmsearch.evaluation.systems import System
from mmsearch.rank import CONFIDENT

_FIRST = 10  # results whose confidences are held against the truth
_NAMED = 3  # things named in a sentence about many


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What is evaluated and how.

    `what`: the file of judgements, "" for a data set. `cases`: sets, each with the prefix of its queries. `qrels`: the
    judgements of all of them. `own`: whether one's own files are searched, rather than a data set's.
    """

    what: str
    cases: tuple[tuple[str, EvaluationSet], ...]
    qrels: Qrels
    own: bool
    ranking: Ranking
    options: EvaluationOptions

    @property
    def name(self) -> str:
        """What to call it: "coco test"."""
        case = self.cases[0][1]
        return " ".join(filter(None, (os.path.basename(self.what or case.name), case.split)))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one system reached, over all sets together. `parts`: set by set, with the prefix of its queries."""

    system: System
    parts: tuple[tuple[str, Found], ...]
    run: Run
    placements: Placements
    evaluation: Evaluation

    @property
    def name(self) -> str:
        """The system's."""
        return self.system.name

    @property
    def surest(self) -> dict[str, float]:
        """Query to how sure its best result is."""
        return {prefix + query: value for prefix, found in self.parts for query, value in found.surest.items()}

    @property
    def confidences(self) -> dict[tuple[str, str], float]:
        """(query, item) to the confidence of that result."""
        return merged_results([(prefix, found.confidences) for prefix, found in self.parts])


def outcome_of(system: System, parts: Sequence[tuple[str, Found]], setting: Setting) -> Outcome:
    """Measure what one system found."""
    run = merged_runs([(prefix, found.run) for prefix, found in parts], system.name)
    exact = [(prefix, found.placements) for prefix, found in parts if found.placements is not None]
    placements = merged_placements(exact) if len(exact) == len(parts) else place(run, setting.qrels)
    directions: dict[Id, str] = {
        prefix + query.id: query.direction for prefix, case in setting.cases for query in case.queries
    }
    resampling = Resampling(seed=setting.options.seed)
    evaluation = evaluate(
        placements,
        measures=setting.options.measures,
        name=system.name,
        sections={"direction": directions} if len(set(directions.values())) > 1 else None,
        resampling=resampling,
    )
    if setting.own:
        by_kind = _by_kind(run, parts, setting, resampling)
        evaluation = with_section(evaluation, "kind", by_kind) if len(by_kind) > 1 else evaluation
    return Outcome(system, tuple(parts), run, placements, evaluation)


def _by_kind(
    run: Run, parts: Sequence[tuple[str, Found]], setting: Setting, resampling: Resampling
) -> dict[str, Evaluation]:
    """Each kind of file that is relevant to some query, as if there were no others."""
    qrels = setting.qrels
    kinds: dict[Id, str] = {item: kind for item in qrels.items if (kind := kind_of(item)) is not None}
    for _, found in parts:
        kinds.update((item, kind) for item, kind in found.kinds.items())
    relevant = {kinds.get(qrels.items[code]) for code in np.unique(qrels.codes[qrels.grades >= 1]).tolist()}
    groups = {item: kind for item, kind in kinds.items() if kind in relevant}
    return evaluate_by_item(run, qrels, groups, setting.options.measures, resampling=resampling)


def report_of(outcomes: Sequence[Outcome], setting: Setting) -> Report:
    """All of it as a report."""
    first = outcomes[0]
    evaluations = tuple(outcome.evaluation for outcome in outcomes)
    kinds = {item: kind for outcome in outcomes for _, found in outcome.parts for item, kind in found.kinds.items()}
    starts = merged_results([(prefix, found.starts) for prefix, found in first.parts])
    skipped = _skipped(outcomes, setting)
    names = [outcome.name for outcome in outcomes]
    systems = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return Report(
        title=f"{systems} on {setting.name}",
        evaluations=evaluations,
        facts=_facts(outcomes, setting),
        notes=tuple(_notes(outcomes, setting, skipped)),
        runs={outcome.name: outcome.run for outcome in outcomes},
        qrels=setting.qrels,
        display=display_of(setting.cases, kinds, _result_texts(first), starts),
        comparisons=tuple(compare_all(evaluations)) if len(outcomes) > 1 else (),
        captions=_captions(outcomes, setting),
        reliability=dict(pair for outcome in outcomes for pair in _reliabilities(outcome, setting.qrels)),
        no_match=_no_matches(outcomes, setting.qrels),
        moments=_moments(outcomes),
        ann=_recalls(outcomes),
        accepts=_accepts(outcomes, setting.qrels),
        skipped=tuple((item.what, item.reason) for item in skipped),
    )


# --- words ---


def _facts(outcomes: Sequence[Outcome], setting: Setting) -> dict[str, str]:
    facts = {"judgements": setting.what or setting.name}
    cases = [case for _, case in setting.cases]
    directions = list(dict.fromkeys(query.direction for case in cases for query in case.queries if query.direction))
    if directions:
        facts["directions"] = ", ".join(directions)
    sizes = dict.fromkeys(f"{len(case.gallery):,} items" for case in cases if case.gallery)
    facts["gallery"] = ", ".join(sizes) if sizes else f"the library at {outcomes[0].system.library}"
    facts["ranking"] = RANKINGS[setting.ranking]
    k = setting.options.k
    if setting.ranking == "model":
        facts["pooling"] = POOLINGS[setting.options.pooling]
    whole = setting.ranking == "model" and k is None
    facts["results"] = "ranks over the whole gallery" if whole else f"the first {k or DEPTH:,} of each query count"
    for outcome in outcomes:
        spec = outcome.system.encoder.spec
        facts[f"model {outcome.name}"] = f"{spec.name}, fingerprint {spec.fingerprint}"
    return facts


def _prefix(outcome: Outcome, outcomes: Sequence[Outcome], mark: str) -> str:
    return f"{outcome.name}{mark} " if len(outcomes) > 1 else ""


def _skipped(outcomes: Sequence[Outcome], setting: Setting) -> list[Skipped]:
    """All that was left out, each once."""
    found = [item for _, case in setting.cases for item in case.skipped]
    for outcome in outcomes:
        prefix = _prefix(outcome, outcomes, ":")
        found += [replace(item, reason=prefix + item.reason) for _, part in outcome.parts for item in part.unusable]
    return list(dict.fromkeys(found))


def _notes(outcomes: Sequence[Outcome], setting: Setting, skipped: Sequence[Skipped]) -> Iterator[str]:
    yield from dict.fromkeys(note for _, case in setting.cases for note in case.notes)
    if len(setting.cases) > 1:
        yield "Measures are over the queries of all directions together; each direction by itself is below."
    for outcome in outcomes:
        prefix = _prefix(outcome, outcomes, ":")
        yield from dict.fromkeys(prefix + note for _, part in outcome.parts for note in part.notes)
    reasons: dict[str, list[str]] = defaultdict(list)
    for item in skipped:
        reasons[item.reason].append(item.what)
    for reason, names in list(reasons.items())[:_NAMED]:
        shown = ", ".join(map(os.path.basename, names[:_NAMED]))
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        yield f"Not used: {shown}{more}: {reason.rstrip('.')}."
    rest = sum(map(len, list(reasons.values())[_NAMED:]))
    if rest:
        yield f"{rest:,} more were not used, for other reasons: report.json and --json list them all."


def _result_texts(outcome: Outcome) -> dict[tuple[str, str], str]:
    """What is written beside results whose scores are only places in an order."""
    sure = outcome.confidences
    cosines = merged_results([(prefix, found.cosines) for prefix, found in outcome.parts])
    return {key: f"{100 * sure[key]:.0f} % sure" if key in sure else f"{cosine:.3f}" for key, cosine in cosines.items()}


# --- numbers ---


def _captions(outcomes: Sequence[Outcome], setting: Setting) -> dict[str, CaptionScores]:
    """The papers' table, for sets whose gallery is of one kind."""
    found = {}
    for outcome in outcomes:
        for prefix, case in setting.cases:
            if not setting.own and case.direction:
                own = {prefix + query.id for query in case.queries}
                wanted = np.array([query in own for query in outcome.placements.queries], bool)
                scores = caption_scores(outcome.placements.select(wanted))
                found[_prefix(outcome, outcomes, ",") + case.direction] = scores
    return found


def _moments(outcomes: Sequence[Outcome]) -> dict[str, MomentScores]:
    return {
        _prefix(outcome, outcomes, ",") + name: scores
        for outcome in outcomes
        for _, found in outcome.parts
        for name, scores in found.moments.items()
    }


def _recalls(outcomes: Sequence[Outcome]) -> dict[str, AnnRecall]:
    return {
        _prefix(outcome, outcomes, ",") + channel: recall
        for outcome in outcomes
        for _, found in outcome.parts
        for channel, recall in found.ann.items()
    }


def _reliabilities(outcome: Outcome, qrels: Qrels) -> Iterator[tuple[str, Reliability]]:
    """Confidences against the truth: of the first result of each query, and of the first ten."""
    known = outcome.confidences
    if not known:
        return
    grades, run = qrels.to_mapping(), outcome.run
    for depth, name in ((1, "first result"), (_FIRST, f"first {_FIRST} results")):
        keys = [
            (query, run.items[code])
            for query, begin, end in zip(run.queries, run.offsets[:-1], run.offsets[1:], strict=True)
            for code in run.codes[begin : min(end, begin + depth)].tolist()
        ]
        keys = [key for key in keys if key in known]
        right = [grades.get(query, {}).get(item, 0) >= 1 for query, item in keys]
        yield f"{outcome.name}, {name}", reliability([known[key] for key in keys], right)


def _matches(qrels: Qrels) -> dict[str, bool]:
    """Query to whether there is something that it should find."""
    return {query: count > 0 for query, count in zip(qrels.queries, qrels.relevant_counts.tolist(), strict=True)}


def _no_matches(outcomes: Sequence[Outcome], qrels: Qrels) -> dict[str, NoMatch]:
    has = _matches(qrels)
    if len(set(has.values())) < 2:
        return {}
    surest = {outcome.name: outcome.surest for outcome in outcomes}
    return {
        name: no_match([own.get(query, -np.inf) for query in has], list(has.values())) for name, own in surest.items()
    }


def _accepts(outcomes: Sequence[Outcome], qrels: Qrels) -> dict[str, Accepts]:
    """How often the product would call the best result a match."""
    has = _matches(qrels)
    found = {}
    for outcome in outcomes:
        if not outcome.confidences:
            continue
        surest = outcome.surest
        accepted = {query: surest.get(query, 0.0) >= CONFIDENT for query in has}
        found[outcome.name] = Accepts(
            CONFIDENT,
            without_match=sum(not match for match in has.values()),
            false_accepts=sum(accepted[query] for query, match in has.items() if not match),
            with_match=sum(has.values()),
            true_accepts=sum(accepted[query] for query, match in has.items() if match),
        )
    return found
