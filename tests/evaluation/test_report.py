"""Reports: JSON that reads back, tables, plots, and a page that is safe and whole by itself."""

from __future__ import annotations

import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.errors import UsageError
from mmsearch.evaluation import (
    Qrels,
    Resampling,
    Run,
    ann_recall,
    caption_scores,
    compare,
    compare_all,
    evaluate,
    evaluate_by_item,
    gate,
    moment_scores,
    no_match,
    place,
    read_qrels,
    read_run,
    reliability,
    with_section,
)
from mmsearch.evaluation.report import (
    Display,
    Report,
    evaluation_from_json,
    evaluation_json,
    gate_json,
    gate_table,
    report_json,
    report_tables,
    write_report,
)
from mmsearch.evaluation.report.failures import pick_failures
from mmsearch.evaluation.report.thumbnails import SIDE, Thumbnails
from mmsearch.evaluation.report.values import number, p_value, plain, signed

from .cases import random_case

QUICK = Resampling(resamples=200)
NASTY = "<script>alert('x')</script> $x^2 & \x1b[31m\udcff 東京\n[bold]"


def evaluations(count: int = 2):
    judged, _ = random_case(0, queries=30, items=80, depth=40)
    qrels = Qrels.from_mapping(judged)
    runs = {}
    for place_, name in enumerate(["mini", NASTY][:count]):
        _, found = random_case(0, queries=30, items=80, depth=20 + 10 * place_)
        runs[name] = Run.from_mapping(found, name)
    direction = {f"q{n}": "text->image" if n % 2 else "audio->image" for n in range(30)}
    found = tuple(evaluate(run, qrels, sections={"direction": direction}, resampling=QUICK) for run in runs.values())
    return found, runs, qrels


def full_report(**more) -> Report:
    found, runs, qrels = evaluations(2)
    kinds = {item: "image" if n % 2 else "audio" for n, item in enumerate(qrels.items)}
    parts = evaluate_by_item(runs["mini"], qrels, kinds, resampling=QUICK)
    found = (with_section(found[0], "kind", parts), *found[1:])
    rng = np.random.default_rng(0)
    confidence = rng.random(60)
    truth = rng.random(60) < confidence
    given = {
        "facts": {"data set": NASTY},
        "notes": (NASTY,),
        "runs": runs,
        "qrels": qrels,
        "comparisons": tuple(compare_all(found)),
        "captions": {"text->image": caption_scores(place(runs["mini"], qrels))},
        "reliability": {"mini": reliability(confidence, truth)},
        "no_match": {"mini": no_match(confidence, truth)},
        "moments": {NASTY: moment_scores({"q": [("v", 0, 5)]}, {"q": [("v", 1, 5)]})},
        "ann": {"IVF": ann_recall([[1, 2]], [[1, 3]], (1, 2))},
    }
    return Report(NASTY, found, **{**given, **more})


def test_an_evaluation_reads_back_from_its_json():
    names = ["P@5", "microF1@5", "nDCG(dcg='exp-log2')@10", "AP(rel=2)", "MedR", "MedR(rel=3)", "RR"]
    judged, found = random_case(3)
    evaluation = evaluate(Run.from_mapping(found), Qrels.from_mapping(judged), names, name="m", resampling=QUICK)
    again = evaluation_from_json(json.loads(json.dumps(evaluation_json(evaluation), allow_nan=False)))
    for field in ("name", "measures", "queries", "left_out", "without_results", "unjudged", "tied", "resampling"):
        assert getattr(again, field) == getattr(evaluation, field), field
    for field in ("values", "scores", "intervals", "first_ranks"):
        np.testing.assert_array_equal(getattr(again, field), getattr(evaluation, field), err_msg=field)
    counted = ~np.isnan(evaluation.values)
    np.testing.assert_array_equal(again.weights[counted], evaluation.weights[counted])
    assert gate(again, evaluation).passed
    assert all(d.difference == 0 for d in compare(again, evaluation).differences if not np.isnan(d.difference))


def test_json_has_metrics_by_plain_names():
    qrels = Qrels.from_mapping({"q1": ["a"], "q2": ["b"], "q3": []})
    run = Run.from_lists({"q1": ["a"], "q2": ["x", "b"]})
    evaluation = evaluate(run, qrels, ["R@10", "R@1", "RR", "MedR"], resampling=QUICK)
    value = evaluation_json(evaluation, Display(query_title={"q1": "a red kangaroo", "q2": "q2"}.__getitem__))
    assert value["metrics"] == {"recall@10": 1.0, "recall@1": 0.5, "mrr": 0.75, "median_rank": 1.5}
    assert value["intervals"]["recall@10"] == [1.0, 1.0]
    assert value["measures"]["recall@10"] == "R@10"
    assert value["queries"] == {"evaluated": 2, "without_results": [], "left_out": ["q3"], "unjudged": [], "tied": []}
    assert value["per_query"] == [
        {
            "id": "q1",
            "query": "a red kangaroo",
            "first_rank": 1.0,
            "metrics": {"recall@10": 1.0, "recall@1": 1.0, "mrr": 1.0, "median_rank": 1.0},
        },
        {
            "id": "q2",
            "first_rank": 2.0,
            "metrics": {"recall@10": 1.0, "recall@1": 0.0, "mrr": 0.5, "median_rank": 2.0},
        },
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: [], "no evaluation of version 1"),
        (lambda v: {**v, "version": 2}, "no evaluation of version 1"),
        (lambda v: {k: x for k, x in v.items() if k != "per_query"}, "no per_query values"),
        (lambda v: {**v, "per_query": [{"id": "q"}]}, "damaged: KeyError"),
        (lambda v: {**v, "per_query": 5}, "damaged"),
        (lambda v: {**v, "measures": {"x": "nonsense@1"}}, "no measure 'nonsense@1'"),
        (lambda v: {**v, "intervals": {}}, "damaged"),
    ],
)
def test_json_that_is_no_evaluation(spoil, message: str):
    found, _, _ = evaluations(1)
    with pytest.raises(UsageError, match=message):
        evaluation_from_json(spoil(evaluation_json(found[0])))


def test_a_report_of_one_has_its_metrics_at_the_top_and_of_many_in_systems():
    one, _, _ = evaluations(1)
    top = report_json(Report("one", one))
    assert top["metrics"]["map"] == one[0]["map"]
    assert "comparisons" not in top
    many = json.loads(json.dumps(report_json(full_report()), allow_nan=False))
    assert [system["name"] for system in many["systems"]] == ["mini", NASTY]
    assert many["comparisons"][0]["differences"]["map"]["improved"] >= 0
    assert many["captions"]["text->image"]["recall@1"] >= 0
    assert many["reliability"]["mini"]["expected_calibration_error"] > 0
    assert many["no_match"]["mini"]["thresholds"][0] is None
    assert many["moments"][NASTY]["mean_iou"] == 0.8
    assert many["ann"]["IVF"] == {"recall@1": 1.0, "recall@2": 0.5}
    assert many["systems"][0]["sections"]["kind"]["image"]["metrics"]["map"] >= 0


def test_the_gate_as_json_and_as_a_table():
    found, _, _ = evaluations(2)
    checked = gate(found[1], found[0])
    value = gate_json(checked)
    assert value["passed"] is checked.passed
    assert value["checks"]["map"]["before"] == found[1]["map"]
    assert "mAP" in printed([gate_table(checked)])


def printed(parts, width: int = 120) -> str:
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    for part in parts:
        console.print(part)
    return out.getvalue()


def test_tables_say_what_the_numbers_are():
    report = full_report()
    text = printed(report_tables(report, 160), 160)
    first = report.evaluations[0]
    row = next(line for line in text.splitlines() if line.startswith(" Recall@10"))
    low, high = first.interval("R@10")
    assert f"{first['R@10']:.3f}" in row
    assert f"{low:.3f}–{high:.3f}" in row
    for heading in ("By direction", "By kind", "As papers report it", "Confidence", "Moments", "exact search"):
        assert heading in text
    for sentence in ("queries evaluated", "found nothing, and count as zero", "without a relevant item left out"):
        assert sentence in " ".join(text.split())
    assert "\x1b" not in text
    assert "[bold]" in text  # markup in names is text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_tables_keep_the_names_of_measures_whole(width: int):
    text = printed(report_tables(full_report(), width), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert text.count(" Precision@10 ") >= 2


def test_plain_tables_and_json_need_no_extras():
    code = (
        "import sys\n"
        "from mmsearch.evaluation import Qrels, Run, evaluate\n"
        "from mmsearch.evaluation.report import Report, report_json, report_tables\n"
        "e = evaluate(Run.from_lists({'q': ['a']}), Qrels.from_mapping({'q': ['a']}))\n"
        "report_json(Report('t', (e,))); report_tables(Report('t', (e,)))\n"
        "print(sorted({'matplotlib', 'jinja2', 'PIL', 'pandas', 'scipy', 'torch'} & set(sys.modules)))"
    )
    import subprocess

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


class Page(HTMLParser):
    """The parts of a page that could reach outside, and whether its tags close."""

    VOID = ("meta", "img", "source", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href", "srcset", "action", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "new" / "é folder"
    buffer = io.BytesIO()
    Image.new("RGB", (900, 400), (200, 30, 30)).save(buffer, "PNG")
    pictures = {"item-1": buffer.getvalue(), "item-2": b"no picture", "item-3": folder / "missing.png"}
    display = Display(
        query_title=lambda query: f"{query} {NASTY}",
        item_title=lambda item: f"{NASTY} {item}.wav",
        item_thumbnail=lambda item: pictures.get(item, buffer.getvalue() if item.endswith("7") else None),
        query_thumbnail=lambda query: buffer.getvalue() if query == "q1" else None,
    )
    assert write_report(full_report(display=display), folder) == folder / "index.html"
    return folder


def test_the_folder_has_page_plots_json_and_trec_files(written: Path):
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    plots = ("measures", "precision_recall", "first_rank", "reliability", "no_match", "differences")
    runs = {"runs/mini.run", "runs/script_alert_x_script_x_2_31m_bold.run"}
    wanted = {"index.html", "report.json", "qrels.txt", *runs}
    assert names == wanted | {f"plots/{plot}{theme}.png" for plot in plots for theme in ("", "-dark")}
    again = evaluate(read_run(written / "runs" / "mini.run"), read_qrels(written / "qrels.txt"), resampling=QUICK)
    assert again["map"] == json.loads((written / "report.json").read_text())["systems"][0]["metrics"]["map"]


def test_the_page_is_whole_by_itself_and_safe(written: Path):
    text = (written / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert not {"script", "iframe", "object", "link"} & set(page.tags)
    assert all(link.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#")) for link in page.links)
    assert not re.search(r"(src|href)=[\"']?https?:|@import|url\(", text)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(re.findall(r'id="([\w-]+)"', text))
    assert "default-src 'none'" in text
    assert "<script>alert('x')</script> $x^2 & \\x1b[31m\\xff 東京 [bold]" in page.text
    for heading in ("Measures", "Plots", "By direction", "Comparison", "Most improved", "What went wrong"):
        assert heading in page.text
    evaluation = json.loads((written / "report.json").read_text())["systems"][0]
    assert f"{evaluation['metrics']['recall@10']:.3f}" in page.text


def test_plots_show_something_on_both_papers(written: Path):
    for path in (written / "plots").iterdir():
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"), np.float64)
        dark = path.stem.endswith("-dark")
        assert min(pixels.shape) > 400
        assert (pixels[0, 0] < 60) if dark else (pixels[0, 0] > 240)
        assert (np.abs(pixels - pixels[0, 0]) > 60).mean() > 0.005  # ink
        assert pixels[0].std() == pixels[-1].std() == 0  # nothing is cut off at the edges


def test_failures_by_hand():
    qrels = Qrels.from_mapping({"good": ["a"], "bad": {"b": 1, "c": 2, "far": 1}, "worst": ["d"], "empty": ["e"]})
    run = Run.from_lists({"good": ["a", "x"], "bad": ["x", "y", "b", "z", "w", "v", "c"], "worst": ["x"]})
    evaluation = evaluate(run, qrels, ["RR", "MedR"], resampling=QUICK)
    failures = pick_failures(evaluation, run, qrels, evaluation.measures[0], 10)
    assert [failure.query for failure in failures] == ["worst", "empty", "bad"]
    bad = failures[2]
    assert bad.first_rank == 3
    assert [item.id for item in bad.found] == ["x", "y", "b", "z", "w"]
    assert [item.grade for item in bad.found] == [0, 0, 1, 0, 0]
    assert [(item.id, item.rank, item.grade) for item in bad.missed] == [("c", 7, 2), ("far", None, 1)]
    assert (failures[1].found, failures[1].first_rank, failures[1].depth) == ((), None, 0)
    by_rank = pick_failures(evaluation, run, qrels, evaluation.measures[1], 1)
    assert [failure.query for failure in by_rank] == ["worst"]


def test_thumbnails_are_small_and_never_fail(tmp_path: Path):
    import base64

    def png(mode: str, size: tuple[int, int], colour) -> bytes:
        out = io.BytesIO()
        Image.new(mode, size, colour).save(out, "PNG")
        return out.getvalue()

    def boom(id: str) -> bytes:
        raise RuntimeError(id)

    (tmp_path / "a.png").write_bytes(png("RGB", (1000, 500), (1, 2, 3)))
    sources = {"path": tmp_path / "a.png", "clear": png("RGBA", (50, 90), (0, 0, 0, 0)), "deep": png("I;16", (9, 9), 7)}
    sources |= {"cut": sources["clear"][:40], "folder": tmp_path, "gone": tmp_path / "none.png", "empty": b""}
    uris = {name: Thumbnails(sources.get).uri(name) for name in [*sources, "nothing"]}
    assert {name for name, uri in uris.items() if uri} == {"path", "clear", "deep"}
    with Image.open(io.BytesIO(base64.b64decode(uris["path"].partition(",")[2]))) as picture:
        assert picture.size == (SIDE, SIDE // 2)
    with Image.open(io.BytesIO(base64.b64decode(uris["clear"].partition(",")[2]))) as picture:
        assert picture.size == (50, 90)
        assert picture.getpixel((9, 9)) == (255, 255, 255)
    assert Thumbnails(boom).uri("x") is None


def test_reports_of_next_to_nothing(tmp_path: Path):
    for number_, judged in enumerate(({}, {"q": ["a"]}, {"q": ["a"], "p": ["b"]})):
        qrels = Qrels.from_mapping(judged)
        run = Run.from_mapping({}, "r")
        report = Report("nothing", (evaluate(run, qrels, resampling=QUICK),), runs={"r": run}, qrels=qrels)
        page = write_report(report, tmp_path / str(number_)).read_text(encoding="utf-8")
        assert Page(page).open == []
        json.dumps(report_json(report), allow_nan=False)
        assert printed(report_tables(report))


def test_reports_that_cannot_be():
    found, _, _ = evaluations(1)
    with pytest.raises(UsageError, match="different names, and got none"):
        Report("t", ())
    with pytest.raises(UsageError, match="different names, and got mini, mini"):
        Report("t", (*found, *found))


def test_a_folder_that_cannot_be_written_to(tmp_path: Path):
    found, _, _ = evaluations(1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written to"):
        write_report(Report("t", found), tmp_path / "file")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch):
    found, _, _ = evaluations(1)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError, match=r'needs jinja2: pip install "mmsearch\[eval\]"'):
        write_report(Report("t", found), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_numbers_for_people():
    assert [number(v) for v in (0.5, float("nan"), float("inf"))] == ["0.500", "–", "never"]
    assert [signed(v) for v in (0.1, -0.1, 0.0, float("nan"))] == ["+0.100", "−0.100", "±0.000", "–"]
    assert [p_value(p) for p in (0.0001, 0.0314, 0.5, float("nan"))] == ["< 0.001", "0.031", "0.50", "–"]
    assert plain("a\tb\x07\udc80") == "a b\\x07\\x80"
