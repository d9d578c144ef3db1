"""Evaluations, comparisons and the gate."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import mmsearch.evaluation
from indexer.errors import UsageError
from mmsearch.evaluation import (
    Qrels,
    Resampling,
    Run,
    compare,
    compare_all,
    evaluate,
    evaluate_by_item,
    gate,
    place,
    with_section,
)

from .cases import random_case

QUICK = Resampling(resamples=500)


def system(share: float, *, queries: int = 80, seed: int = 0, name: str = "a") -> tuple[Run, Qrels]:
    """One right item for each query, which comes first for a share of them and third for the others."""
    rng = np.random.default_rng(seed)
    right = rng.permutation(queries) < share * queries
    lists = {
        f"q{n}": [f"right{n}", "x", "y"] if first else ["x", "y", f"right{n}"] for n, first in enumerate(right.tolist())
    }
    return Run.from_lists(lists, name), Qrels.from_mapping({f"q{n}": [f"right{n}"] for n in range(queries)})


def test_an_evaluation_answers_by_either_name():
    evaluation = evaluate(*system(0.25, name="mini"), ["P@1", "RR", "MedR"], resampling=QUICK)
    assert evaluation.name == "mini"
    assert evaluation["P@1"] == evaluation["precision@1"] == 0.25
    assert evaluation["mrr"] == pytest.approx(0.25 + 0.75 / 3)
    assert evaluation["median_rank"] == 3
    low, high = evaluation.interval("P@1")
    assert low < 0.25 < high
    assert evaluation.of("q0")["precision@1"] in (0, 1)
    assert evaluation.of("nobody") == {}
    with pytest.raises(UsageError, match="ndcg was not evaluated; precision@1, mrr, median_rank were"):
        _ = evaluation["nDCG"]


def test_the_same_call_gives_the_same_intervals():
    run, qrels = system(0.5)
    np.testing.assert_array_equal(evaluate(run, qrels).intervals, evaluate(run, qrels).intervals)


def test_sections_are_evaluations_of_their_queries():
    judged, found = random_case(8)
    run, qrels = Run.from_mapping(found), Qrels.from_mapping(judged)
    direction = {f"q{n}": "text->image" if n % 2 else "audio->image" for n in range(50)}
    evaluation = evaluate(run, qrels, sections={"direction": direction}, resampling=QUICK)
    parts = evaluation.sections["direction"]
    assert list(parts) == ["audio->image", "text->image"]
    for group, part in parts.items():
        queries = [query for query, own in direction.items() if own == group]
        alone = evaluate(run, qrels.only_queries(queries), resampling=QUICK)
        assert part.queries == alone.queries
        np.testing.assert_array_equal(part.values, alone.values)
        np.testing.assert_array_equal(part.intervals, alone.intervals)


def test_kinds_are_evaluated_as_if_there_were_no_others():
    run = Run.from_mapping({"q1": {"a.png": 0.9, "b.wav": 0.8, "c.png": 0.7}, "q2": {"b.wav": 0.9}})
    qrels = Qrels.from_mapping({"q1": ["b.wav", "c.png"], "q2": ["a.png"]})
    kinds = {"a.png": "image", "b.wav": "audio", "c.png": "image"}
    parts = evaluate_by_item(run, qrels, kinds, ["P@1", "RR"], resampling=QUICK)
    assert parts["audio"].queries == ("q1",)
    assert parts["audio"]["P@1"] == 1
    assert dict(zip(parts["image"].queries, parts["image"].values[1], strict=True)) == {"q1": 0.5, "q2": 0.0}
    whole = with_section(evaluate(run, qrels, ["P@1"], resampling=QUICK), "kind", parts)
    assert whole.sections["kind"]["image"]["RR"] == 0.25


def test_judgements_belong_to_runs():
    run, qrels = system(0.5)
    with pytest.raises(UsageError, match="give qrels"):
        evaluate(run)
    with pytest.raises(UsageError, match="give qrels only with a run"):
        evaluate(place(run, qrels), qrels)


def test_a_comparison_by_hand():
    qrels = Qrels.from_mapping({f"q{n}": ["a"] for n in range(6)})
    before = Run.from_lists({f"q{n}": ["x", "a"] for n in range(5)} | {"q5": ["a"]}, "before")
    after = Run.from_lists({f"q{n}": ["a", "x"] for n in range(4)} | {"q4": ["x", "a"], "q5": ["x", "y", "a"]}, "after")
    comparison = compare(evaluate(before, qrels, ["RR", "MedR"]), evaluate(after, qrels, ["RR", "MedR"]))
    change = comparison.of("mrr")
    assert (change.before, change.after) == pytest.approx(((5 / 2 + 1) / 6, (4 + 1 / 2 + 1 / 3) / 6))
    assert change.difference == pytest.approx((4 * 0.5 - 2 / 3) / 6)
    assert (change.improved, change.worsened) == (4, 1)
    # Five queries differ, by 1/2 four times and by -2/3: of 32 changes of sign, 12 make a sum of 4/3 or more.
    assert change.p == pytest.approx(12 / 32)
    assert change.low < change.difference < change.high
    assert comparison.most_improved("RR", 2) == [("q0", pytest.approx(0.5)), ("q1", pytest.approx(0.5))]
    assert comparison.most_worsened("RR") == [("q5", pytest.approx(-2 / 3))]
    median = comparison.of("MedR")
    assert (median.before, median.after) == (2, 1)
    assert np.isnan(median.p)
    assert not median.real
    assert comparison.most_improved("MedR", 1) == [("q0", -1)]


def test_a_real_difference_is_told_from_none():
    a, b, same = (
        evaluate(*system(share, name=name), resampling=QUICK) for share, name in ((0.3, "a"), (0.8, "b"), (0.3, "same"))
    )
    assert compare(a, b).of("P@1").real
    assert compare(a, b).of("P@1").p < 0.01
    nothing = compare(a, same)
    assert all(d.difference == 0 and not d.real for d in nothing.differences)
    assert nothing.most_improved("P@1") == []


def test_ranks_that_were_never_reached_are_compared_too():
    qrels = Qrels.from_mapping({"q1": ["a"], "q2": ["b"]})
    nothing = evaluate(Run.from_mapping({}), qrels, ["MedR", "MeanR", "RR"], name="nothing", resampling=QUICK)
    some = evaluate(Run.from_lists({"q1": ["a"]}), qrels, ["MedR", "MeanR", "RR"], name="some", resampling=QUICK)
    for measure in ("MedR", "MeanR"):
        assert compare(nothing, nothing).of(measure).difference == 0
        assert compare(nothing, some).of(measure).improved == 1
    assert compare(nothing, some).most_improved("MedR") == [("q1", -np.inf)]


def test_only_shared_queries_are_compared():
    run, qrels = system(0.5)
    whole = evaluate(run, qrels, ["P@1"])
    part = evaluate(run, qrels.only_queries([f"q{n}" for n in range(70, 90)]), ["P@1", "RR"])
    comparison = compare(whole, part)
    assert len(comparison.queries) == 10
    assert (comparison.only_before, comparison.only_after) == (70, 0)
    assert [d.measure.name for d in comparison.differences] == ["P@1"]
    other = evaluate(Run.from_mapping({}), Qrels.from_mapping({"z": ["a"]}), ["P@1"])
    with pytest.raises(UsageError, match="share no query"):
        compare(whole, other)
    with pytest.raises(UsageError, match="share no measure"):
        compare(whole, evaluate(run, qrels, ["AP"]))


def test_many_models_are_compared_in_pairs_with_one_budget_of_false_alarms():
    systems = [
        evaluate(*system(s, seed=n, name=f"m{n}"), ["P@1"], resampling=QUICK) for n, s in enumerate((0.3, 0.45, 0.9))
    ]
    comparisons = compare_all(systems)
    assert [(c.before, c.after) for c in comparisons] == [("m0", "m1"), ("m0", "m2"), ("m1", "m2")]
    for comparison in comparisons:
        assert comparison.of("P@1").p_adjusted >= comparison.of("P@1").p
    assert comparisons[1].of("P@1").real
    assert compare_all(systems[:1]) == []


def test_the_gate_shuts_for_a_real_fall_only():
    good, worse, bit = (evaluate(*system(share), resampling=QUICK) for share in (0.8, 0.5, 0.7875))
    assert gate(good, good).passed
    assert gate(worse, good).passed  # better than the baseline
    assert gate(good, bit).passed  # one query of eighty
    shut = gate(good, worse)
    assert not shut.passed
    assert {check.difference.measure.label for check in shut.checks if check.fell} >= {"precision@1", "mrr", "map"}
    assert all(check.difference.measure.name != "MedR" for check in shut.checks)
    assert not gate(good, bit, largest_fall=0.01).passed
    assert gate(good, worse, ["P@5"]).passed  # the right item is among the first five either way


def test_the_gate_says_when_there_are_too_few_queries_to_tell():
    good, worse = (evaluate(*system(share, queries=4), ["P@1"], resampling=QUICK) for share in (1.0, 0.0))
    checked = gate(good, worse)
    assert checked.passed
    assert checked.checks[0].blind
    assert not gate(good, worse, largest_fall=0.5).passed


def test_the_gate_for_ranks_turns_round():
    good, worse = (evaluate(*system(share), ["MeanR"], resampling=QUICK) for share in (0.8, 0.3))
    assert not gate(good, worse).passed
    assert gate(worse, good).passed


def test_a_gate_rarely_shuts_by_chance():
    """The same system measured twice, each query right or wrong at random: at most one in twenty is stopped."""
    rng = np.random.default_rng(0)
    qrels = Qrels.from_mapping({f"q{n}": ["a"] for n in range(40)})

    def once():
        lists = {f"q{n}": ["a", "x"] if rng.random() < 0.6 else ["x", "a"] for n in range(40)}
        return evaluate(Run.from_lists(lists), qrels, ["P@1", "RR", "R@1", "nDCG@5"], resampling=Resampling(0))

    stopped = sum(not gate(once(), once(), resampling=Resampling(300)).passed for _ in range(120))
    assert stopped <= 12


def test_the_gate_refuses_what_it_cannot_test():
    good = evaluate(*system(0.8), ["MedR", "P@1"], resampling=QUICK)
    with pytest.raises(UsageError, match="no test for median_rank"):
        gate(good, good, ["MedR"])
    with pytest.raises(UsageError, match="ndcg was not compared"):
        gate(good, good, ["nDCG"])
    with pytest.raises(UsageError, match="level must be between 0 and 1"):
        gate(good, good, level=5)


def test_the_package_is_light_and_its_names_are_there():
    code = (
        "import mmsearch.evaluation, sys; print(sorted({'numpy', 'matplotlib', 'rich', 'jinja2'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    for name in mmsearch.evaluation.__all__:
        assert getattr(mmsearch.evaluation, name) is not None
    assert callable(mmsearch.evaluation.evaluate)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mmsearch.evaluation.nonsense
