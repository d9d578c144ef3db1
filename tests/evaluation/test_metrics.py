"""Measures of ranked lists: by hand, against plain loops, against ir_measures with pytrec_eval, and against ranx."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings

from indexer.errors import UsageError
from mmsearch.evaluation import DEFAULT_MEASURES, Qrels, Resampling, Run, evaluate, parse_measure, parse_measures
from mmsearch.evaluation.ids import token

from .cases import judgements, random_case, results, scored
from .reference import measure as reference

NO_INTERVALS = Resampling(resamples=0)
RANKED = [
    *(f"{name}@{k}" for name in ("P", "R", "F1", "Success", "AP", "nDCG", "RR") for k in (1, 2, 3, 5, 10, 100)),
    *("AP", "nDCG", "RR", "Rprec", "MedR", "IPrec@0", "IPrec@0.1", "IPrec@0.5", "IPrec@1"),
    *("P(rel=2)@3", "R(rel=2)@5", "AP(rel=2)", "RR(rel=3)", "Rprec(rel=2)", "MedR(rel=2)"),
    *("nDCG(dcg='exp-log2')@3", "nDCG(dcg='exp-log2')"),
]


def per_query(evaluation, name: str) -> dict[str, float]:
    return dict(zip(evaluation.queries, evaluation.values[evaluation.row(name)].tolist(), strict=True))


def check_against_plain_loops(judged, found) -> None:
    evaluation = evaluate(Run.from_mapping(found), Qrels.from_mapping(judged), RANKED, resampling=NO_INTERVALS)
    assert set(evaluation.queries) == set(scored(judged))
    assert set(evaluation.left_out) == set(judged) - set(scored(judged))
    assert set(evaluation.unjudged) == set(found) - set(judged)
    assert set(evaluation.without_results) == {q for q in scored(judged) if not found.get(q)}
    for name in RANKED:
        wanted = parse_measure(name)
        plain = wanted.family.name + ("-exp" if wanted.gain == "exp-log2" else "")
        for query, value in per_query(evaluation, name).items():
            if not any(grade >= wanted.grade for grade in judged[query].values()):
                assert math.isnan(value)
                continue
            expected = reference(plain, wanted.at, found.get(query, {}), judged[query], wanted.grade)
            assert value == pytest.approx(expected, abs=1e-12), (name, query)


@given(judgements(), results())
@settings(max_examples=150, deadline=None)
def test_measures_equal_plain_loops(judged, found):
    check_against_plain_loops(judged, found)


@pytest.mark.parametrize("ties", [True, False])
def test_measures_equal_plain_loops_on_longer_lists(ties: bool):
    check_against_plain_loops(*random_case(1, ties=ties))


def test_a_case_that_fits_on_a_page():
    """Five results; a, b, c and d are relevant, with grades 3, 2, 1 and 1; d was not found.

    rank     1    2    3    4    5
    item     b    x    a    y    c
    grade    2    -    3    -    1
    """
    qrels = Qrels.from_mapping({"q": {"a": 3, "b": 2, "c": 1, "d": 1, "y": 0}, "none": {"a": 1}, "empty": {"x": 0}})
    run = Run.from_mapping({"q": {"b": 0.9, "x": 0.8, "a": 0.7, "y": 0.6, "c": 0.5}, "stray": {"a": 1.0}})
    names = ["P@3", "P@10", "R@3", "F1@3", "Success@1", "RR", "AP", "AP@3", "Rprec", "nDCG@3", "MedR"]
    names += ["microF1@3", "microR@3", "IPrec@0.75"]
    evaluation = evaluate(run, qrels, names, resampling=NO_INTERVALS)
    best = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert evaluation.of("q") == pytest.approx(
        {
            "precision@3": 2 / 3,
            "precision@10": 3 / 10,  # five results, and still divided by ten
            "recall@3": 2 / 4,
            "f1@3": 2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4),
            "hit_rate@1": 1,
            "mrr": 1,
            "map": (1 / 1 + 2 / 3 + 3 / 5) / 4,
            "map@3": (1 / 1 + 2 / 3) / 4,
            "r_precision": 2 / 4,
            "ndcg@3": (2 / math.log2(2) + 3 / math.log2(4)) / best,
            "median_rank": 1,
            "micro_f1@3": 2 * 2 / (3 + 4),
            "micro_recall@3": 2 / 4,
            "interpolated_precision@0.75": 3 / 5,
        }
    )
    # The query without results counts as zero, the one without a relevant item does not count.
    assert evaluation.queries == ("q", "none")
    assert evaluation.without_results == ("none",)
    assert evaluation.left_out == ("empty",)
    assert evaluation.unjudged == ("stray",)
    assert evaluation["map"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 4 / 2)
    assert evaluation["median_rank"] == math.inf
    # Pooled: 2 hits of 2 * 3 places, 5 relevant items; not the mean of the two queries.
    assert evaluation["micro_f1@3"] == pytest.approx(2 * 2 / ((3 + 4) + (3 + 1)))
    assert evaluation["micro_recall@3"] == pytest.approx(2 / 5)


IR_MEASURES = [
    *(f"{name}@{k}" for name in ("P", "R", "Success", "AP", "nDCG") for k in (1, 3, 5, 10, 100)),
    *("AP", "nDCG", "RR", "Rprec", "P(rel=2)@5", "AP(rel=2)", "RR(rel=2)", "Rprec(rel=2)"),
    *(f"IPrec@{level / 10:g}" for level in range(11)),
]


def check_against_ir_measures(judged, found) -> None:
    import ir_measures

    asked = {name: ir_measures.parse_measure(name) for name in IR_MEASURES}
    # pytrec_eval takes ids as bytes, so it gets them as they are written to files.
    qrels = {query: {token(item): grade for item, grade in items.items()} for query, items in scored(judged).items()}
    # An empty list would give 0 / 0 there; without any list the query counts as zero.
    run = {query: {token(item): score for item, score in items.items()} for query, items in found.items() if items}
    theirs = {
        (str(metric.measure), metric.query_id): metric.value
        for metric in ir_measures.pytrec_eval.iter_calc(list(asked.values()), qrels, run)
    }
    ours = evaluate(Run.from_mapping(found), Qrels.from_mapping(judged), IR_MEASURES, resampling=NO_INTERVALS)
    for name, metric in asked.items():
        for query, value in per_query(ours, name).items():
            if math.isnan(value):  # no item of grade 2: left out here, 0 there
                assert theirs[str(metric), query] == 0
            else:
                assert value == pytest.approx(theirs[str(metric), query], abs=1e-9), (name, query)


@given(judgements(), results())
@settings(max_examples=60, deadline=None)
def test_measures_equal_pytrec_eval_through_ir_measures(judged, found):
    """On ties too: trec_eval and we order them alike."""
    check_against_ir_measures(judged, found)


@pytest.mark.parametrize("seed", range(3))
def test_measures_equal_pytrec_eval_on_longer_lists(seed: int):
    check_against_ir_measures(*random_case(seed))


@pytest.fixture(scope="module")
def ranx_metrics():
    """ranx's measures as the Python that they are written in: compiling them would take a minute."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("NUMBA_DISABLE_JIT", "1")
        warnings.simplefilter("ignore")  # of ranx and of what it imports
        import ranx.metrics

        yield ranx.metrics


def arrays_for_ranx(judged, found) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(id, grade) and (id, score) of each query, best first; no list may be empty, so a miss stands for no results."""
    qrels, runs = [], []
    for query, grades in judged.items():
        lists = found.get(query) or {"no such item": 0.0}
        names = {item: float(n) for n, item in enumerate({**grades, **lists})}
        qrels.append(np.array([[names[i], float(g)] for i, g in sorted(grades.items(), key=lambda pair: -pair[1])]))
        runs.append(np.array([[names[i], s] for i, s in sorted(lists.items(), key=lambda pair: -pair[1])]))
    return qrels, runs


def test_measures_equal_ranx(ranx_metrics):
    judged, found = random_case(5, ties=False)  # ranx leaves the order of ties to its sort
    asked = {
        **{f"P@{k}": ("precision", k) for k in (1, 5, 10)},
        **{f"R@{k}": ("recall", k) for k in (1, 5, 10)},
        **{f"F1@{k}": ("f1", k) for k in (1, 5, 10)},
        **{f"Success@{k}": ("hit_rate", k) for k in (1, 5)},
        **{f"nDCG@{k}": ("ndcg", k) for k in (5, 10)},
        **{"AP": ("average_precision", 0), "AP@5": ("average_precision", 5), "nDCG": ("ndcg", 0)},
        **{"RR": ("reciprocal_rank", 0), "RR@5": ("reciprocal_rank", 5)},
        **{"nDCG(dcg='exp-log2')@10": ("ndcg_burges", 10)},
    }
    names = [*asked, "Rprec", *(f"IPrec@{level / 10:g}" for level in range(11))]
    ours = evaluate(Run.from_mapping(found), Qrels.from_mapping(judged), names, resampling=NO_INTERVALS)
    assert list(ours.queries) == list(scored(judged))
    qrels, runs = arrays_for_ranx(scored(judged), found)
    for name, (function, k) in asked.items():
        theirs = getattr(ranx_metrics, function)(qrels, runs, k, 1)
        assert ours.values[ours.row(name)] == pytest.approx(theirs), name
    assert ours.values[ours.row("Rprec")] == pytest.approx(ranx_metrics.r_precision(qrels, runs, 1))
    levels = ranx_metrics.interpolated_precision_at_recall(qrels, runs, 1)
    for level in range(11):
        assert ours.values[ours.row(f"IPrec@{level / 10:g}")] == pytest.approx(levels[:, level])


def test_pooled_measures_equal_scikit_learn():
    """Micro-averaged F1 and recall of "the first k are right", over all pairs of query and item."""
    from sklearn.metrics import f1_score, recall_score

    rng = np.random.default_rng(0)
    scores = rng.permuted(np.arange(40.0 * 30).reshape(40, 30), axis=1)
    truth = rng.random((40, 30)) < 0.15
    truth[:, 0] = True
    qrels = Qrels.from_mapping({q: np.flatnonzero(truth[q]).tolist() for q in range(40)})
    run = Run.from_topk(range(40), range(30), np.argsort(-scores), -np.sort(-scores))
    ours = evaluate(run, qrels, ["microF1@7", "microR@7", "F1@7"], resampling=NO_INTERVALS)
    predicted = np.argsort(np.argsort(-scores)) < 7
    assert ours["micro_f1@7"] == pytest.approx(f1_score(truth.ravel(), predicted.ravel()))
    assert ours["micro_recall@7"] == pytest.approx(recall_score(truth.ravel(), predicted.ravel()))
    macro = [f1_score(t, p) for t, p in zip(truth, predicted, strict=True)]
    assert ours["f1@7"] == pytest.approx(np.mean(macro))


def test_the_order_of_what_is_given_changes_nothing():
    judged, found = random_case(9)
    turned = {query: dict(reversed(items.items())) for query, items in reversed(found.items())}
    first = evaluate(Run.from_mapping(found), Qrels.from_mapping(judged), RANKED, resampling=NO_INTERVALS)
    judged_turned = {query: dict(reversed(items.items())) for query, items in judged.items()}
    second = evaluate(Run.from_mapping(turned), Qrels.from_mapping(judged_turned), RANKED, resampling=NO_INTERVALS)
    np.testing.assert_array_equal(first.values, second.values)


@pytest.mark.parametrize(
    ("text", "name", "label"),
    [
        ("recall@10", "R@10", "recall@10"),
        ("Precision@5", "P@5", "precision@5"),
        ("NDCG@10", "nDCG@10", "ndcg@10"),
        ("MAP", "AP", "map"),
        ("map@100", "AP@100", "map@100"),
        ("MRR@10", "RR@10", "mrr@10"),
        ("hits@1", "Success@1", "hit_rate@1"),
        ("R-Precision", "Rprec", "r_precision"),
        ("MdR", "MedR", "median_rank"),
        ("P(rel=2)@5", "P(rel=2)@5", "precision(rel=2)@5"),
        ("nDCG(dcg='exp-log2')@10", "nDCG(dcg='exp-log2')@10", "ndcg(dcg='exp-log2')@10"),
    ],
)
def test_names_of_measures(text: str, name: str, label: str):
    measure = parse_measure(text)
    assert (measure.name, measure.label) == (name, label)
    assert parse_measure(name) == parse_measure(label) == measure


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recal@10", "no measure 'recal@10'; the nearest is recall@10; there are precision@10"),
        ("P", "P takes a cutoff, as in P@10"),
        ("Rprec@5", "Rprec takes no cutoff"),
        ("P@0", "whole number from 1"),
        ("P@2.5", "whole number from 1"),
        ("IPrec@1.5", "from 0 to 1"),
        ("P@1.2.3", "must be a number"),
        ("P(rel=0)@5", "rel=0 does not fit"),
        ("nDCG(rel=2)@5", "rel=2 does not fit"),
        ("P(dcg='exp-log2')@5", "does not fit P"),
        ("P(cut=3)@5", "'cut=3' in"),
        ("", "no measure"),
        ("@5", "no measure"),
    ],
)
def test_a_name_that_is_none_is_refused(text: str, message: str):
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        parse_measure(text)


def test_every_measure_is_asked_for_once():
    assert [m.name for m in parse_measures(["R@10", "recall@10", "AP"])] == ["R@10", "AP"]
    assert len(DEFAULT_MEASURES) == len({m.label for m in DEFAULT_MEASURES}) == len({m.name for m in DEFAULT_MEASURES})


def test_without_any_query_that_counts_measures_are_not_numbers():
    for judged in ({}, {"q": {}}, {"q": {"a": 0, "b": -1}}):
        evaluation = evaluate(Run.from_mapping({"q": {"a": 1.0}}), Qrels.from_mapping(judged))
        assert np.isnan(evaluation.scores).all()
        assert evaluation.left_out == tuple(judged)
        assert evaluation.interval("map") is None
