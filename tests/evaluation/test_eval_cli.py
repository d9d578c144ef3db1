"""`mmsearch eval` and `mmsearch query --qrels` as a person meets them."""

from __future__ import annotations

import json
import math
import os
import signal
import sys

import pytest

from indexer.testing import FakeEncoder
from mmsearch.evaluation import evaluate, read_qrels, read_run

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


class Swapped(FakeEncoder):
    """The fake model with red and blue of pictures swapped: a worse one."""

    def prepare(self, tower, sample):
        vector = super().prepare(tower, sample)
        if tower.modality == "image":
            vector[[0, 2]] = vector[[2, 0]]
        return vector


@pytest.fixture
def encoders():
    """Every encoder that was loaded."""
    return []


@pytest.fixture
def run(monkeypatch, capsysbinary, encoders, tmp_path, exit_code):
    """Run `mmsearch ...` in this process with fake models; gives (exit code, standard output, standard error)."""

    def load(name, **how):
        encoders.append(Swapped(name) if name.startswith("swapped") else FakeEncoder(name))
        return encoders[-1]

    monkeypatch.setattr("mmsearch.engine.load_encoder", load)
    monkeypatch.setattr("mmsearch.engine.DEFAULT_MODEL", "fake")
    monkeypatch.setattr("mmsearch.evaluation.systems.load_encoder", load)
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*args):
        code = exit_code(*args)
        out, err = capsysbinary.readouterr()
        return code, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "surrogateescape")

    return run


@pytest.fixture
def shades(tmp_path, make):
    """Thirty-odd pictures with a caption each that its own picture fits best."""
    folder = (tmp_path / "shades").resolve()
    for red in range(4):
        for green in range(4):
            for blue in range(4):
                if math.gcd(red, green, blue) == 1:
                    make.image(folder / f"{red}{green}{blue}.png", (80 * red, 80 * green, 80 * blue))
                    words = ["red"] * red + ["green"] * green + ["blue"] * blue
                    (folder / f"{red}{green}{blue}.txt").write_text(" ".join(words), encoding="utf-8")
    return folder


@pytest.fixture
def media(tmp_path, make):
    folder = (tmp_path / "media").resolve()
    for name, colour in {"red": RED, "green": GREEN, "blue": BLUE, "yellow": YELLOW}.items():
        make.image(folder / f"{name}.png", colour)
    lines = [
        {"id": "q1", "text": "red", "relevant": {"media/red.png": 2, "media/yellow.png": 1}},
        {"id": "q2", "text": "green", "relevant": ["media/yellow.png"]},
        {"id": "q3", "text": "cat", "relevant": []},
        {"id": "q4", "image": "media/red.png", "relevant": ["media/yellow.png"]},
    ]
    (tmp_path / "qrels.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def test_judgements_on_one_s_own_library(run, media, encoders):
    assert run("eval", "qrels.jsonl")[0] == 3  # there is no library yet
    assert run("index", "media")[0] == 0
    code, out, _ = run("eval", "qrels.jsonl", "-q")
    assert code == 0
    assert out.startswith("fake on qrels.jsonl")
    assert "3 queries evaluated. 1 query without a relevant item left out." in out
    assert "By direction: fake" in out
    assert "Called a match" in out
    encoders.clear()
    code, out, err = run("eval", "qrels.jsonl", "--json", "-q")
    assert (code, err) == (0, "")
    assert sum(sum(encoder.encoded.values()) for encoder in encoders) == 0  # the second time, nothing is encoded
    value = json.loads(out)
    assert out.isascii()
    assert value["metrics"]["recall@5"] == 1.0
    assert [row["id"] for row in value["per_query"]] == ["q1", "q2", "q4"]
    assert value["per_query"][0]["metrics"]["ndcg@10"] == 1.0
    assert value["per_query"][2]["query"] == "[image red.png]"
    assert value["queries"]["left_out"] == ["q3"]
    assert value["accepts"]["fake"]["without_match"] == 1
    assert value["facts"]["ranking"].startswith("the engine")
    assert value["asked"] == {"what": str(media.parent / "qrels.jsonl"), "library": os.environ["MMSEARCH_LIBRARY"]}


def test_a_data_set_in_both_directions(run, shades, encoders):
    command = ("eval", "--dataset", "folder", "shades", "--model", "fake", "--directions", "t2i,i2t", "-q")
    code, out, _ = run(*command)
    assert code == 0
    assert "By direction: fake" in out
    assert "As papers report it (any right item counts)" in out
    count = len(list(shades.glob("*.png")))
    assert sum((encoder.encoded for encoder in encoders), start=type(encoders[0].encoded)()) == {
        "image": count,
        "text": count,
    }
    encoders.clear()
    code, out, _ = run(*command, "--json", "--measures", "recall@1,median_rank,nDCG(dcg='exp-log2')@3")
    assert code == 0
    assert [dict(encoder.encoded) for encoder in encoders] == [{}]
    value = json.loads(out)
    assert value["metrics"] == {"recall@1": 1.0, "median_rank": 1.0, "ndcg(dcg='exp-log2')@3": 1.0}
    assert value["captions"]["image->text"]["recall@1"] == 1.0
    assert value["asked"]["directions"] == ["t2i", "i2t"]


def test_comparing_models_writes_a_report(run, shades, tmp_path):
    code, out, err = run(
        *("eval", "--compare", "swapped,fake", "--dataset", "folder", "shades", "--directions", "t2i"),
        *("--report", "report", "--measures", "R@1,RR"),
    )
    assert code == 0
    assert "swapped → fake" in out
    assert f"Report: {os.path.join('report', 'index.html')}" in err
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Most improved" in page
    assert "data:image/jpeg;base64," in page  # thumbnails of what was found in place of what should have been
    assert "http://" not in page.replace("http://www.w3.org", "")
    value = json.loads((tmp_path / "report" / "report.json").read_text(encoding="ascii"))
    assert value["comparisons"][0]["differences"]["recall@1"]["real"] is True
    assert {file.name for file in (tmp_path / "report" / "runs").iterdir()} == {"swapped.run", "fake.run"}


def test_without_matplotlib_there_is_a_page_without_plots(run, media, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, _ = run("eval", "qrels.jsonl", "--gallery", "media", "--model", "fake", "--report", "report", "-q")
    assert code == 0
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "pip install &#34;mmsearch[eval]&#34;" in page
    assert "<picture" not in page
    assert "Recall@10" in page


def test_other_tools_find_the_same_numbers_in_what_is_exported(run, shades, tmp_path):
    """ir_measures (through pytrec_eval) on the exported files, and our own reader."""
    import ir_measures

    names = ["P@1", "P@5", "R@5", "AP", "RR", "nDCG@10", "nDCG", "Rprec", "Success@5"]
    for number, extra in enumerate(([], ["-k", "7"], ["--ranking", "engine", "--directions", "t2i"])):
        code, out, _ = run(
            *("eval", "--dataset", "folder", "shades", "--model", "swapped", "--json", "-q"),
            *("--measures", ",".join(names), "--trec-run", "out.run", "--trec-qrels", "qrels.txt", *extra),
        )
        assert code == 0
        value = json.loads(out)
        ours = {value["measures"][label]: score for label, score in value["metrics"].items()}
        theirs = ir_measures.calc_aggregate(
            [ir_measures.parse_measure(name) for name in names],
            list(ir_measures.read_trec_qrels(str(tmp_path / "qrels.txt"))),
            list(ir_measures.read_trec_run(str(tmp_path / "out.run"))),
        )
        assert 0 < ours["RR"] < 1, number
        assert ours == pytest.approx({str(measure): score for measure, score in theirs.items()}, abs=1e-9)
        again = evaluate(read_run(tmp_path / "out.run"), read_qrels(tmp_path / "qrels.txt"), names)
        assert {m.name: again[m] for m in again.measures} == pytest.approx(ours, abs=1e-9)


def test_each_of_several_models_has_its_run(run, media, tmp_path):
    command = ("eval", "qrels.jsonl", "--gallery", "media", "--compare", "fake,swapped", "--trec-run", "a.run", "-q")
    assert run(*command)[0] == 0
    assert read_run(tmp_path / "a.fake.run").name == "fake"
    assert read_run(tmp_path / "a.swapped.run").name == "swapped"


# --- the gate ---


def test_the_gate_opens_for_the_same_and_closes_for_worse(run, shades, tmp_path):
    asked = ("eval", "--dataset", "folder", "shades", "--directions", "t2i", "--measures", "R@1,RR,MedR")
    (tmp_path / "baseline.json").write_text(run(*asked, "--model", "fake", "--json", "-q")[1], encoding="utf-8")
    code, out, err = run("eval", "--gate", "baseline.json", "-q")  # what the baseline is of, all over again
    assert (code, err) == (0, "")
    assert "Held against the baseline" in out
    code, out, err = run("eval", "--gate", "baseline.json", "--model", "swapped", "-q")
    assert code == 1
    assert "fell" in out
    assert err == "mmsearch: recall@1, mrr fell by more than chance explains, or than --largest-fall allows\n"
    code, out, err = run(*asked, "--model", "swapped", "--gate", "baseline.json", "--json")
    value = json.loads(out)
    assert code == 1
    assert value["gate"]["passed"] is False
    assert value["gate"]["checks"]["recall@1"]["fell"] is True
    assert list(value["gate"]["checks"]) == ["recall@1", "mrr"]  # a median has no test


def test_a_fall_of_few_queries_is_chance_but_for_a_wall(run, media, tmp_path):
    own = ("eval", "qrels.jsonl", "--gallery", "media", "--ranking", "model", "--measures", "RR", "-q")
    (tmp_path / "baseline.json").write_text(run(*own, "--model", "fake", "--json")[1], encoding="utf-8")
    assert run("eval", "--gate", "baseline.json", "-q", "--model", "swapped")[0] == 0
    assert run("eval", "--gate", "baseline.json", "-q", "--model", "swapped", "--largest-fall", "0.05")[0] == 1
    _, _, err = run(*own[:-1], "--model", "fake", "--gate", "baseline.json", "-k", "3")
    assert "k is" not in err
    _, _, err = run("eval", "qrels.jsonl", "--gallery", "media", "--gate", "baseline.json", "--ranking", "engine")
    assert "ranking is engine now, and was model for the baseline" in err


def test_a_report_is_a_baseline_too(run, media):
    own = ("eval", "qrels.jsonl", "--gallery", "media", "--model", "fake", "-q")
    assert run(*own, "--report", "report")[0] == 0
    code, out, _ = run("eval", "--gate", "report/report.json", "-q")
    assert code == 0
    assert "Held against the baseline" in out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("nonsense", "is not JSON"),
        ("[]", "is no evaluation"),
        ('{"systems": []}', "compares several models"),
        ('{"asked": {"what": "x", "surprise": 1}}', "is none that mmsearch wrote"),
        ("{}", "there is nothing to evaluate"),
    ],
)
def test_baselines_that_are_none(run, media, tmp_path, content, says):
    if content is not None:
        (tmp_path / "baseline.json").write_text(content, encoding="utf-8")
    code, out, err = run("eval", "--gate", "baseline.json")
    assert (code, out) == (2, "")
    assert says in err


# --- what cannot be done ---


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "there is nothing to evaluate"),
        (["--dataset", "coco"], "name the folder of coco"),
        (["none.jsonl"], "none.jsonl"),
        (["media"], "is a folder"),
        (["qrels.jsonl", "--split", "test"], "--split belong to a data set"),
        (["media", "--dataset", "nonsense"], "there is no data set 'nonsense'; those are: coco"),
        (["media", "--dataset", "folder", "--gallery", "media"], "--gallery is for judgements"),
        (["media", "--dataset", "coco"], "expected dataset_coco.json"),
        (["qrels.jsonl", "--model", "a", "--compare", "a,b"], "give one of the two"),
        (["qrels.jsonl", "--compare", "a"], "takes two models or more"),
        (["qrels.jsonl", "--compare", "a,,b"], "one in 'a,,b' is empty"),
        (["qrels.jsonl", "--compare", "a,a", "--gallery", "media"], "the model a is named twice"),
        (["qrels.jsonl", "--cache-dir", "x", "--no-cache"], "give one"),
        (["qrels.jsonl", "--largest-fall", "0.1"], "belongs to --gate"),
        (["qrels.jsonl", "--ranking", "best"], "there is no ranking 'best'"),
        (["qrels.jsonl", "--measures", "recall"], "R takes a cutoff"),
        (["qrels.jsonl", "--measures", "recall@ten"], "there is no measure"),
        (["qrels.jsonl", "--trec-run", "no/such/a.run"], "there is no folder"),
        (["qrels.jsonl", "--gallery", "nowhere", "--model", "fake"], "does not exist"),
    ],
)
def test_what_cannot_be_done_as_given(run, media, args, says):
    code, out, err = run("eval", *args)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_what_somebody_else_wrote_is_not_overwritten(run, media, tmp_path):
    """The judgements themselves, a picture, a folder with a page; but an older file of the same kind is."""
    judgements = (tmp_path / "qrels.jsonl").read_bytes()
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine", encoding="utf-8")
    common = ("eval", "qrels.jsonl", "--gallery", "media", "--model", "fake", "-q")
    for option, place, says in (
        ("--trec-qrels", "qrels.jsonl", "no such TREC file"),
        ("--trec-run", "photo.png", "no such TREC file"),
        ("--report", "site", "holds other files"),
    ):
        code, out, err = run(*common, option, place)
        assert (code, out) == (2, "")
        assert says in err
    assert (tmp_path / "qrels.jsonl").read_bytes() == judgements
    assert (tmp_path / "photo.png").stat().st_size == 10
    assert (tmp_path / "site" / "index.html").read_text(encoding="utf-8") == "mine"
    for _ in range(2):
        assert run(*common, "--trec-qrels", "q.txt", "--trec-run", "r.txt", "--report", "report")[0] == 0


def test_a_library_that_holds_none_of_the_judged_files_is_an_error(run, media, tmp_path, make):
    make.image(tmp_path / "elsewhere" / "other.png", (0, 0, 255))
    assert run("index", "elsewhere", "--library", "lib")[0] == 0
    code, out, err = run("eval", "qrels.jsonl", "--library", "lib")
    assert (code, out) == (2, "")
    assert "holds none of the" in err


def test_lines_that_cannot_be_used_are_named(run, media, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\nnonsense\n', encoding="utf-8")
    code, _, err = run("eval", "bad.jsonl")
    assert code == 2
    assert "bad.jsonl:1" in err
    assert "bad.jsonl:2" in err


class Interrupting(FakeEncoder):
    """Presses Ctrl-C when it is first put to work."""

    def encode(self, tower, prepared):
        if not self.encoded:
            os.kill(os.getpid(), signal.SIGINT)
        return super().encode(tower, prepared)


def test_ctrl_c_ends_it_and_what_was_encoded_is_kept(run, media, monkeypatch):
    first, second = Interrupting(), FakeEncoder()
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("mmsearch.evaluation.systems.load_encoder", lambda name: first)
    code, out, err = run("eval", "qrels.jsonl", "--gallery", "media", "--model", "fake")
    assert (code, out) == (130, "")
    assert "finishing what is in hand" in err
    assert "what was encoded is kept; the same command goes on from there" in err
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr("mmsearch.evaluation.systems.load_encoder", lambda name: second)
    assert run("eval", "qrels.jsonl", "--gallery", "media", "--model", "fake", "-q")[0] == 0
    assert first.encoded["image"] + second.encoded["image"] == 4


# --- one query ---


def test_one_query_with_its_precision_recall_and_f1(run, media):
    run("index", "media")
    code, out, _ = run("query", "red", "--qrels", "qrels.jsonl", "-k", "3")
    assert code == 0
    assert out.splitlines()[-2:] == [
        "precision@3 0.667  recall@3 1.000  F1@3 0.800",
        "Judged as q1: 2 of 2 relevant files in the first 3.",
    ]
    code, out, _ = run("query", "red", "--qrels", "qrels.jsonl", "-k", "1")
    assert out.splitlines()[-3:] == [
        "precision@1 1.000  recall@1 0.500  F1@1 0.667",
        "Judged as q1: 1 of 2 relevant files in the first 1.",
        "Not among them: media/yellow.png",
    ]


def test_a_query_may_be_named_by_its_id(run, media):
    run("index", "media")
    code, out, _ = run("query", "q4", "--qrels", "qrels.jsonl", "-k", "1", "--json")
    value = json.loads(out)
    assert code == 0
    assert value["query"].endswith("red.png")
    assert [hit["path"] for hit in value["hits"]] == [str(media / "yellow.png")]  # not the file that it asks with
    assert value["quality"] == {
        "id": "q4",
        "k": 1,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "relevant": 1,
        "found": [str(media / "yellow.png")],
        "missed": [],
    }
    code, out, _ = run("query", "--image", "media/red.png", "--qrels", "qrels.jsonl", "-k", "1", "--json")
    assert json.loads(out) == value


def test_beside_other_formats_the_numbers_go_to_standard_error(run, media):
    run("index", "media")
    code, out, err = run("query", "green", "--qrels", "qrels.jsonl", "-k", "1", "--paths")
    assert (code, out) == (0, f"{media}/green.png\n")
    assert "mmsearch: precision@1 0.000  recall@1 0.000  F1@1 0.000" in err
    _, out, _ = run("query", "cat", "--qrels", "qrels.jsonl", "-k", "1", "--json")
    assert json.loads(out)["quality"]["precision"] is None
    _, out, _ = run("query", "cat", "--qrels", "qrels.jsonl", "-k", "1")
    assert out.splitlines()[-1] == "Judged as q3: nothing should be found."


def test_a_query_that_nobody_judged(run, media, tmp_path):
    run("index", "media")
    code, out, err = run("query", "sea", "--qrels", "qrels.jsonl")
    assert (code, out) == (2, "")
    assert "no query in qrels.jsonl asks sea, or has this id" in err
    (tmp_path / "twice.jsonl").write_text('{"text": "red", "relevant": []}\n{"text": " red ", "relevant": []}')
    code, _, err = run("query", "red", "--qrels", "twice.jsonl")
    assert code == 2
    assert "several queries of twice.jsonl ask this: 1, 2" in err
