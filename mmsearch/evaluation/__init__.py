"""How good search is: measures, intervals, tests and reports, for any run and any judgements.

    from mmsearch.evaluation import Qrels, Run, evaluate

    qrels = Qrels.from_mapping({"q1": ["kangaroo.png"], "q2": {"cat.png": 2, "kitten.png": 1}})
    run = Run.from_mapping({"q1": {"kangaroo.png": 0.31, "cat.png": 0.12}, "q2": {"kitten.png": 0.4}})
    evaluation = evaluate(run, qrels)
    print(evaluation["recall@10"], evaluation.interval("recall@10"))

That is for runs that are there already. To make one, from judgements or a data set, with a library or some models:

    from mmsearch import evaluate
    from mmsearch.evaluation import load_dataset

    report = evaluate("qrels.jsonl")
    report = evaluate(load_dataset("clotho", "data/clotho"), ["fast", "mini"])

The names below are loaded when they are first used, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmsearch.lazy import loaded_late

if TYPE_CHECKING:
    from mmsearch.evaluation.ann import AnnRecall, ann_recall
    from mmsearch.evaluation.comparison import Comparison, Difference, compare, compare_all
    from mmsearch.evaluation.curves import NoMatch, PrecisionRecall, Reliability, no_match, reliability
    from mmsearch.evaluation.datasets import load_dataset, load_judgements
    from mmsearch.evaluation.dense import rank_scores, score_blocks
    from mmsearch.evaluation.gating import Gate, gate
    from mmsearch.evaluation.judgements import Qrels
    from mmsearch.evaluation.metrics import DEFAULT_MEASURES, Measure, parse_measure, parse_measures
    from mmsearch.evaluation.metrics.captions import CaptionScores, caption_scores
    from mmsearch.evaluation.metrics.moments import MomentScores, moment_scores
    from mmsearch.evaluation.options import EvaluationOptions, EvaluationProgress
    from mmsearch.evaluation.placements import Placements, place
    from mmsearch.evaluation.results import Evaluation, Resampling, evaluate, evaluate_by_item, with_section
    from mmsearch.evaluation.run import Run
    from mmsearch.evaluation.trec import read_qrels, read_run, write_qrels, write_run

_HOMES = {
    "ann": ("AnnRecall", "ann_recall"),
    "comparison": ("Comparison", "Difference", "compare", "compare_all"),
    "curves": ("NoMatch", "PrecisionRecall", "Reliability", "no_match", "reliability"),
    "datasets": ("load_dataset", "load_judgements"),
    "dense": ("rank_scores", "score_blocks"),
    "results": ("Evaluation", "Resampling", "evaluate", "evaluate_by_item", "with_section"),
    "gating": ("Gate", "gate"),
    "judgements": ("Qrels",),
    "metrics": ("DEFAULT_MEASURES", "Measure", "parse_measure", "parse_measures"),
    "metrics.captions": ("CaptionScores", "caption_scores"),
    "metrics.moments": ("MomentScores", "moment_scores"),
    "options": ("EvaluationOptions", "EvaluationProgress"),
    "placements": ("Placements", "place"),
    "run": ("Run",),
    "trec": ("read_qrels", "read_run", "write_qrels", "write_run"),
}
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "DEFAULT_MEASURES",
    "AnnRecall",
    "CaptionScores",
    "Comparison",
    "Difference",
    "Evaluation",
    "EvaluationOptions",
    "EvaluationProgress",
    "Gate",
    "Measure",
    "MomentScores",
    "NoMatch",
    "Placements",
    "PrecisionRecall",
    "Qrels",
    "Reliability",
    "Resampling",
    "Run",
    "ann_recall",
    "caption_scores",
    "compare",
    "compare_all",
    "evaluate",
    "evaluate_by_item",
    "gate",
    "load_dataset",
    "load_judgements",
    "moment_scores",
    "no_match",
    "parse_measure",
    "parse_measures",
    "place",
    "rank_scores",
    "read_qrels",
    "read_run",
    "reliability",
    "score_blocks",
    "with_section",
    "write_qrels",
    "write_run",
]

__getattr__, __dir__ = loaded_late(__name__, _HOME_OF)
