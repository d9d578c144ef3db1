"""Runs, judgements, ids, and TREC files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import UsageError
from mmsearch.evaluation import Qrels, Resampling, Run, evaluate, read_qrels, read_run, write_qrels, write_run
from mmsearch.evaluation.ids import from_token, sort_keys, token

from .cases import judgements, random_case, results, scored
from .reference import ranked


@given(st.text(min_size=1))
def test_a_token_is_one_printable_word_and_reads_back(id: str):
    word = token(id)
    assert word.split() == [word]
    assert from_token(word) == id
    word.encode("utf-8")


def test_tokens_change_only_what_they_must():
    assert token("photos/été 1.jpg") == "photos/été%201.jpg"
    assert token("100%") == "100%25"
    assert from_token("doc%41%zz") == "doc%41%zz"  # not written here, so not ours to read


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2))
def test_keys_order_as_scores_do(scores: list[float]):
    values = np.array(scores, np.float32)
    keys = sort_keys(values, np.arange(len(values)))
    expected = sorted(range(len(values)), key=lambda n: (float(values[n]), n))
    assert np.argsort(keys).tolist() == expected


@given(results())
@settings(max_examples=100, deadline=None)
def test_lists_are_ordered_by_score_and_then_by_id_as_trec_eval_orders_them(found):
    run = Run.from_mapping(found)
    for query, items in found.items():
        assert [item for item, _ in run.of(query)] == ranked(items)


@given(results(), judgements())
@settings(max_examples=50, deadline=None)
def test_files_read_back_and_give_other_tools_the_same_numbers(found, judged):
    import tempfile

    import ir_measures

    run, qrels = Run.from_mapping(found, name="my model"), Qrels.from_mapping(scored(judged))
    with tempfile.TemporaryDirectory() as folder:
        run_path, qrels_path = Path(folder, "run.txt"), Path(folder, "qrels.txt")
        write_run(run, run_path)
        write_qrels(qrels, qrels_path)
        again, judged_again = read_run(run_path), read_qrels(qrels_path)
        theirs = {
            metric.query_id: metric.value
            for metric in ir_measures.pytrec_eval.iter_calc(
                [ir_measures.AP],
                list(ir_measures.read_trec_qrels(str(qrels_path))),
                list(ir_measures.read_trec_run(str(run_path))),
            )
        }
    assert {q: again.of(q) for q in again.queries} == {q: run.of(q) for q in run.queries if run.of(q)}
    assert judged_again.to_mapping() == {q: items for q, items in qrels.to_mapping().items() if items}
    assert again.name == ("my model" if again.queries else "run")
    ours = evaluate(again, judged_again, ["AP"], resampling=Resampling(0))
    assert dict(zip(ours.queries, ours.values[0], strict=True)) == pytest.approx(theirs)


def test_a_file_has_the_six_columns_that_trec_eval_reads(tmp_path: Path):
    run = Run.from_mapping({"q 1": {"a.png": 0.1, "b c.png": 1 / 3}, "q2": {}}, name="mini")
    write_run(run, tmp_path / "run.txt")
    lines = (tmp_path / "run.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["q%201 Q0 b%20c.png 1 0.333333343 mini", "q%201 Q0 a.png 2 0.100000001 mini"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 Q0 a 1 0.5\n", r"run.txt:1: 5 columns, and 6 are expected: query Q0 item rank score tag"),
        ("\n\nq1 Q0 a 1 high t\n", r"run.txt:3: the score is 'high'"),
        ("q1 Q0 a 1 nan t\n", "a score is nan"),
        ("q1 Q0 a 1 1e99 t\n", "a score is 1e[+]99"),
        ("q1 Q0 a 1 2 t\nq1 Q0 a 2 1 t\n", "item 'a' is found twice for query 'q1'"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "run.txt").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_run(tmp_path / "run.txt")


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_run(tmp_path / "none.txt")
    (tmp_path / "latin").write_bytes(b"q 0 \xe9 1\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_qrels(tmp_path / "latin")
    (tmp_path / "half").write_text("q 0 a 0.5\n")
    with pytest.raises(UsageError, match=r"0.5 is not a whole number"):
        read_qrels(tmp_path / "half")
    (tmp_path / "windows").write_bytes(b"\xef\xbb\xbfq 0 a 1\r\n\r\nq 0 b 0\r\n")
    assert read_qrels(tmp_path / "windows").to_mapping() == {"q": {"a": 1, "b": 0}}


def test_all_ways_to_make_a_run_agree():
    _, found = random_case(3, ties=False)
    found = {query: items for query, items in found.items() if items}
    by_mapping = Run.from_mapping(found)
    rows = [(q, item, score) for q, items in reversed(found.items()) for item, score in items.items()]
    by_rows = Run.from_rows(*map(list, zip(*rows, strict=True)))
    by_lists = Run.from_lists({q: [item for item, _ in by_mapping.of(q)] for q in found})
    items = sorted({item for lists in found.values() for item in lists})
    width = max(map(len, found.values()))
    indices, scores = np.full((len(found), width), -1), np.full((len(found), width), np.nan)
    for row, lists in enumerate(found.values()):
        indices[row, : len(lists)] = [items.index(item) for item in lists]
        scores[row, : len(lists)] = list(lists.values())
    by_topk = Run.from_topk(list(found), items, indices, scores)
    for query in found:
        assert by_mapping.of(query) == by_rows.of(query) == by_topk.of(query)
        assert [item for item, _ in by_lists.of(query)] == [item for item, _ in by_mapping.of(query)]
    assert by_mapping.of("nobody asked") == []
    assert by_mapping.cut(3).lengths.max() == 3
    assert by_mapping.cut(3).of("q0") == by_mapping.of("q0", limit=3)


def test_numbers_are_ids_too():
    run = Run.from_mapping({1: {10: 0.5, np.int64(9): 0.5}})
    assert run.of(1) == run.of("1") == [("9", 0.5), ("10", 0.5)]  # as text: that is how trec_eval compares
    assert Qrels.from_mapping({1: [9]}).of("1") == {"9": 1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Run.from_mapping({"q": {"a": math.nan}}), "a score is nan"),
        (lambda: Run.from_mapping({"q": {"a": math.inf}}), "a score is inf"),
        (lambda: Run.from_mapping({"q": {"a": "high"}}), "column of numbers"),
        (lambda: Run.from_mapping({"q": {"": 1.0}}), "an id is empty"),
        (lambda: Run.from_mapping({True: {"a": 1.0}}), "not True"),
        (lambda: Run.from_mapping({"q": {1.5: 1.0}}), "not 1.5"),
        (lambda: Run.from_mapping({"1": {}, 1: {}}), "the query '1' is listed twice"),
        (lambda: Run.from_mapping({"q": {"1": 1.0, 1: 2.0}}), "item '1' is found twice for query 'q'"),
        (lambda: Run.from_lists({"q": ["a", "b", "a"]}), "item 'a' is found twice for query 'q'"),
        (lambda: Run.from_rows(["q"], ["a", "b"], [1.0, 2.0]), "columns of one length"),
        (lambda: Run.from_topk(["q"], ["a"], [[0, 1]], [[1.0, 0.5]]), "less than 1"),
        (lambda: Run.from_topk(["q"], ["a"], [[0, 0]], [[1.0, 0.5]]), "found twice"),
        (lambda: Run.from_topk(["q"], ["a"], [0], [1.0]), "a row for each query"),
        (lambda: Qrels.from_mapping({"q": ["a", "a"]}), "item 'a' is judged twice for query 'q'"),
        (lambda: Qrels.from_mapping({"q": "abc"}), "are the text 'abc'; give a list"),
        (lambda: Qrels.from_mapping({"q": {"a": 0.5}}), "the grade 0.5 is not a whole number"),
        (lambda: Qrels.from_mapping({"q": {"a": "1"}}), "the grade '1' is not a whole number"),
        (lambda: Qrels.from_mapping({"q": {"a": None}}), "the grade None is not a whole number"),
        (lambda: Qrels.from_mapping({"q": {"a": math.nan}}), "the grade nan is not a whole number"),
        (lambda: Qrels.from_mapping({"q": {"a": 10**6}}), "grades go up to 1000"),
        (lambda: Qrels.from_rows(["q"], ["a", "b"]), "columns of one length"),
    ],
)
def test_what_does_not_make_sense_is_refused(make, message: str):
    with pytest.raises(UsageError, match=message):
        make()


def test_parts_of_judgements_and_runs():
    qrels = Qrels.from_mapping({"q1": {"a.png": 1, "b.wav": 2}, "q2": {"b.wav": 1}, "q3": ["a.png"]})
    assert qrels.only_queries(["q3", "q1"]).to_mapping() == {"q1": {"a.png": 1, "b.wav": 2}, "q3": {"a.png": 1}}
    assert qrels.only_items(["b.wav"]).to_mapping() == {"q1": {"b.wav": 2}, "q2": {"b.wav": 1}, "q3": {}}
    assert qrels.relevant_counts.tolist() == [2, 1, 1]
    run = Run.from_mapping({"q1": {"a.png": 0.5, "b.wav": 0.9}, "q2": {"a.png": 1.0}})
    assert run.only_items(["a.png"]).of("q1") == [("a.png", 0.5)]
    assert Qrels.from_mapping({}).to_mapping() == {}
    assert Run.from_mapping({}).only_items([]).lengths.tolist() == []
