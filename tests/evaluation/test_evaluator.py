"""From files on disk to a report, with a model whose vectors can be worked out by hand."""

from __future__ import annotations

import json
import math
import shutil
import threading

import numpy as np
import pytest

from indexer.errors import CancelledError, EmptyLibraryError, LibraryNotFoundError, UsageError
from indexer.testing import FakeEncoder
from mmsearch import Engine, EvaluationOptions, evaluate
from mmsearch.evaluation import load_dataset, place
from mmsearch.evaluation.cases import EvaluationQuery, EvaluationSet, EvaluationTerm, GalleryItem
from mmsearch.evaluation.report import report_json

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


class Swapped(FakeEncoder):
    """The fake model with red and blue of pictures swapped: a worse one."""

    def __init__(self):
        super().__init__("swapped")

    def prepare(self, tower, sample):
        vector = super().prepare(tower, sample)
        if tower.modality == "image":
            vector[[0, 2]] = vector[[2, 0]]
        return vector


@pytest.fixture
def options(tmp_path):
    """Options with a cache of the test's own."""

    def make(**fields):
        return EvaluationOptions(cache=tmp_path / "cache", **fields)

    return make


@pytest.fixture
def pictures(tmp_path, make):
    folder = (tmp_path / "data").resolve()
    for name, colour in {"red": RED, "green": GREEN, "blue": BLUE, "yellow": YELLOW}.items():
        make.image(folder / f"{name}.png", colour)
    return folder


@pytest.fixture
def qrels(tmp_path, pictures):
    """Four queries whose answers fit on a page.

    red:      red 1.00, yellow 0.71                 relevant at ranks 1 and 2
    green:    green 1.00, yellow 0.71               relevant at rank 2
    blue red: red 0.71 = blue 0.71, yellow 0.50     a tie, which the later id wins: blue at rank 2
    cat:      nothing should be found
    """
    path = tmp_path / "qrels.jsonl"
    lines = [
        {"id": "q1", "text": "red", "relevant": {"data/red.png": 2, "data/yellow.png": 1}},
        {"id": "q2", "text": "green", "relevant": ["data/yellow.png"]},
        {"id": "q3", "text": "blue red", "relevant": {"data/blue.png": 1, "data/red.png": 0}},
        {"id": "q4", "text": "cat", "relevant": []},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def shades(folder, make):
    """Thirty pictures with a caption each that only its own picture fits best."""
    for red in range(4):
        for green in range(4):
            for blue in range(4):
                if math.gcd(red, green, blue) == 1:
                    name = f"{red}{green}{blue}"
                    make.image(folder / f"{name}.png", (80 * red, 80 * green, 80 * blue))
                    words = ["red"] * red + ["green"] * green + ["blue"] * blue
                    (folder / f"{name}.txt").write_text(" ".join(words), encoding="utf-8")
    return folder


# --- by hand ---


def test_judgements_by_the_model_alone_are_what_one_works_out_by_hand(qrels, pictures, options):
    report = evaluate(qrels, [FakeEncoder()], gallery=pictures, options=options(ranking="model"))
    (found,) = report.evaluations
    log3 = math.log2(3)
    assert found.queries == ("q1", "q2", "q3")
    assert found.left_out == ("q4",)
    assert found.tied == ("q3",)
    assert found["P@1"] == pytest.approx(1 / 3)
    assert found["recall@1"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert found["recall@5"] == 1
    assert found["F1@5"] == pytest.approx((2 * 2 / (5 + 2) + 2 / 6 + 2 / 6) / 3)
    assert found["mrr"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found["map"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found["ndcg@10"] == pytest.approx((1 + 1 / log3 + 1 / log3) / 3)
    assert found["median_rank"] == 2
    root_half = 1 / math.sqrt(2)
    assert [
        (item.rpartition("/")[2], pytest.approx(score, abs=1e-3)) for item, score in report.runs["fake"].of("q3")
    ] == [
        ("red.png", root_half),
        ("blue.png", root_half),
        ("yellow.png", 0.5),
        ("green.png", 0),
    ]
    curve = report.no_match["fake"]
    assert (curve.with_match, curve.without_match, curve.area) == (3, 1, 1.0)
    assert {name: found.mean for name, found in report.ann.items()} == {"visual": {1: 1.0}}


def test_one_s_own_library_is_asked_as_any_query_is(qrels, pictures, options, tmp_path):
    """The same order as the engine's, its confidences, and a note on what the library does not hold."""
    make_extra = pictures.parent / "elsewhere.png"
    shutil.copy(pictures / "green.png", make_extra)
    with qrels.open("a", encoding="utf-8") as file:
        file.write('\n{"id": "q5", "text": "green blue", "relevant": ["elsewhere.png"]}')
    encoder = FakeEncoder()
    with Engine.open(tmp_path / "own", model=encoder) as engine:
        engine.index(pictures)
        report = evaluate(qrels, [encoder], library=tmp_path / "own", options=options())
        for query, words in (("q1", "red"), ("q3", "blue red"), ("q4", "cat")):
            hits = engine.query(words, k=100, fold=False)
            assert [item for item, _ in report.runs["fake"].of(query)] == [hit.path for hit in hits]
            shown = report.display.result_text(query, hits[0].path)
            assert shown == f"{100 * hits[0].confidence:.0f} % sure"
        accepted = sum(engine.query(words).matches_well for words in ("red", "green", "blue red", "green blue"))
        wrongly = engine.query("cat").matches_well
    assert report.facts["gallery"] == f"the library at {tmp_path / 'own'}"
    accepts = report.accepts["fake"]
    assert (accepts.threshold, accepts.without_match, accepts.with_match) == (0.5, 1, 4)
    assert (accepts.true_accepts, accepts.false_accepts) == (accepted, int(wrongly))
    assert report.evaluations[0].of("q5")["recall@10"] == 0
    assert report.skipped == ((str(make_extra), f"the library at {tmp_path / 'own'} does not hold it"),)
    assert report.reliability["fake, first result"].counts.sum() == 5
    assert not (tmp_path / "cache" / "libraries").exists()


def test_the_library_s_own_model_is_taken_when_none_is_named(qrels, pictures, options, tmp_path, monkeypatch):
    monkeypatch.setattr("mmsearch.engine.load_encoder", lambda name, **how: FakeEncoder(name))
    with Engine.open(tmp_path / "own", model=FakeEncoder("mine")) as engine:
        engine.index(pictures)
    report = evaluate(qrels, library=tmp_path / "own", options=options())
    assert [found.name for found in report.evaluations] == ["mine"]
    assert report.evaluations[0]["recall@5"] == 1


def test_a_text_finds_pictures_and_a_picture_finds_texts(pictures, options):
    """Both directions at once: as one, and each by itself. Several captions for a picture, as papers count them."""
    for name in ("red", "green", "blue"):
        (pictures / f"{name}.txt").write_text(f"{name}\na {name} {name} thing\n", encoding="utf-8")
    sets = load_dataset("folder", pictures, directions=["t2i", "i2t"])
    report = evaluate(sets, [FakeEncoder()], options=options(measures=("R@1", "R@5", "Success@1", "MedR")))
    (found,) = report.evaluations
    assert len(found.queries) == 9
    parts = found.sections["direction"]
    assert parts["text->image"]["R@1"] == 1
    # "a red red thing" scores 2 / sqrt(6) against red, less than "red": each picture has its two captions first.
    assert (parts["image->text"]["R@1"], parts["image->text"]["Success@1"], parts["image->text"]["R@5"]) == (0.5, 1, 1)
    captions = report.captions["image->text"]
    assert (captions.recall[1], captions.median_rank, captions.queries) == (1, 1, 3)
    titles = {report.display.query_title(query) for query in found.queries}
    assert titles >= {"red", "a red red thing", "[image red.png]"}
    value = report_json(report)
    assert value["captions"]["text->image"]["recall@1"] == 1
    assert {row["id"].partition(":")[0] for row in value["per_query"]} == {"text->image", "image->text"}


def test_sounds_by_what_is_said_in_them(tmp_path, make, options):
    folder = tmp_path / "sounds"
    for name, words in {"one": ["cat", "dog"], "two": ["bird", "bird"], "three": ["sea", "rain"]}.items():
        make.tones(folder / f"{name}.wav", words)
        (folder / f"{name}.txt").write_text(words[0], encoding="utf-8")
    sets = load_dataset("folder", folder)
    assert {case.direction for case in sets} == {"text->audio", "audio->text"}
    for run in range(2):
        encoder = FakeEncoder()
        report = evaluate(sets, [encoder], options=options())
        # "one" is two lines, "cat" and "dog": its mean is nearer to "cat" than to any other caption.
        assert {name: part["R@1"] for name, part in report.evaluations[0].sections["direction"].items()} == {
            "text->audio": 1,
            "audio->text": 1,
        }
        assert bool(encoder.encoded) == (run == 0), dict(encoder.encoded)


def test_moments_overlap_in_time_with_what_was_judged(tmp_path, make, options):
    make.video(tmp_path / "films" / "a.mp4", [RED, RED, GREEN, GREEN, BLUE, BLUE])
    make.video(tmp_path / "films" / "b.mp4", [BLUE, BLUE, BLUE, YELLOW])
    path = tmp_path / "qrels.jsonl"
    lines = [
        {"id": "exact", "text": "green", "relevant": ["films/a.mp4"], "start": 2, "end": 4},
        {"id": "half", "text": "red", "relevant": ["films/a.mp4"], "start": 0, "end": 4},
        {"id": "other", "text": "blue", "relevant": ["films/a.mp4"], "start": 4, "end": 6},
        {"id": "whole", "text": "yellow", "relevant": ["films/b.mp4"]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    report = evaluate(path, [FakeEncoder()], gallery=tmp_path / "films", options=options())
    inside, anywhere = report.moments["in the right file"], report.moments["among all files"]
    assert inside.queries == anywhere.queries == ("exact", "half", "other")
    assert inside.iou.tolist() == pytest.approx([1, 0.5, 1], abs=0.05)
    assert inside.recall(1, 0.7) == pytest.approx(2 / 3)
    # "blue" is as blue for longer in the other film, or not: either way it is no more than inside the right one.
    assert (anywhere.iou <= inside.iou + 1e-9).all()
    assert anywhere.iou[:2].tolist() == pytest.approx([1, 0.5], abs=0.05)


# --- several models ---


def test_the_better_of_two_models_is_found_out(tmp_path, make, options):
    sets = load_dataset("folder", shades(tmp_path / "shades", make), directions=["t2i"])
    report = evaluate(sets, [Swapped(), FakeEncoder()], options=options(measures=("R@1", "RR")))
    worse, better = report.evaluations
    assert (worse.name, better.name) == ("swapped", "fake")
    assert better["R@1"] == 1
    assert worse["R@1"] < 0.5
    (comparison,) = report.comparisons
    change = comparison.of("R@1")
    assert change.real
    assert change.difference == better["R@1"] - worse["R@1"]
    assert change.worsened == 0
    assert set(report.runs) == {"swapped", "fake"}
    assert set(report.captions) == {"swapped, text->image", "fake, text->image"}


def test_models_are_compared_on_the_files_of_a_library(qrels, pictures, options, tmp_path):
    """The library's own model on the library itself, another one on the same files, indexed for it."""
    with Engine.open(tmp_path / "own", model=FakeEncoder()) as engine:
        engine.index(pictures)
    own, other = FakeEncoder(), Swapped()
    report = evaluate(qrels, [own, other], library=tmp_path / "own", options=options())
    assert own.encoded["image"] == 0
    assert other.encoded["image"] == 4
    assert report.evaluations[0].of("q1")["ndcg@10"] == 1 > report.evaluations[1].of("q1")["ndcg@10"]
    assert report.facts["gallery"] == "4 items"


def test_names_of_models_must_differ(qrels, pictures, options):
    with pytest.raises(UsageError, match="the model fake is named twice"):
        evaluate(qrels, [FakeEncoder(), FakeEncoder()], gallery=pictures, options=options())


# --- nothing twice ---


def test_a_second_evaluation_encodes_nothing_whatever_is_measured(tmp_path, make, options):
    folder = shades(tmp_path / "shades", make)
    for run in range(3):
        encoder = FakeEncoder()
        ranking, measures = (("model", ("R@1",)), ("model", ("nDCG@3", "AP")), ("engine", ("R@1",)))[run]
        directions = ["t2i", "i2t"] if ranking == "model" else ["t2i"]
        sets = load_dataset("folder", folder, directions=directions)
        evaluate(sets, [encoder], options=options(ranking=ranking, measures=measures))
        count = len(sets[0].gallery)
        if run == 0:
            assert dict(encoder.encoded) == {"image": count, "text": count}
        elif run == 1:
            assert dict(encoder.encoded) == {}
        else:  # the engine wants to know what chance scores, and asks the background's texts once
            assert encoder.encoded["image"] == 0
    encoder = FakeEncoder()
    evaluate(load_dataset("folder", folder, directions=["t2i"]), [encoder], options=options(ranking="engine"))
    assert dict(encoder.encoded) == {}


def test_a_query_file_that_no_gallery_holds_is_encoded_once(tmp_path, make, pictures, options):
    path = tmp_path / "qrels.jsonl"
    make.image(tmp_path / "asked.png", (250, 250, 0))
    path.write_text('{"image": "asked.png", "relevant": ["data/yellow.png"]}', encoding="utf-8")
    for run in range(2):
        encoder = FakeEncoder()
        report = evaluate(path, [encoder], gallery=pictures, options=options(ranking="model"))
        assert report.evaluations[0]["R@1"] == 1
        assert encoder.encoded["image"] == (5 if run == 0 else 0)


def test_nothing_is_kept_when_nothing_is_to_be_kept(qrels, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "user-cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    for _ in range(2):
        encoder = FakeEncoder()
        evaluate(qrels, [encoder], gallery=pictures, options=EvaluationOptions(keep=False))
        assert encoder.encoded["image"] == 4
    assert not (tmp_path / "user-cache").exists()
    assert not list((tmp_path / "tmp").iterdir())


def test_a_stopped_evaluation_goes_on_where_it_was(tmp_path, make, options):
    sets = load_dataset("folder", shades(tmp_path / "shades", make), directions=["t2i"])
    cancel, first, stages = threading.Event(), FakeEncoder(), []

    def stop(progress):
        stages.append(progress.stage)
        if progress.stage == "Encoding queries":
            cancel.set()

    with pytest.raises(CancelledError):
        evaluate(sets, [first], options=options(), on_progress=stop, cancel=cancel)
    assert stages[0] == "Indexing for fake"
    second = FakeEncoder()
    report = evaluate(sets, [second], options=options())
    assert first.encoded["image"] == len(sets[0].gallery)
    assert second.encoded["image"] == 0
    assert report.evaluations[0]["R@1"] == 1


# --- rules ---


def test_a_file_does_not_find_itself_unless_it_is_judged(tmp_path, pictures, options):
    path = tmp_path / "qrels.jsonl"
    lines = [
        {"id": "other", "image": "data/red.png", "relevant": ["data/yellow.png"]},
        {"id": "self", "image": "data/red.png", "relevant": ["data/red.png", "data/yellow.png"]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    for ranking in ("model", "engine"):
        report = evaluate(path, [FakeEncoder()], gallery=pictures, options=options(ranking=ranking))
        run = report.runs["fake"]
        assert [item.rpartition("/")[2] for item, _ in run.of("other")][:1] == ["yellow.png"]
        assert str(pictures / "red.png") not in dict(run.of("other"))
        assert [item.rpartition("/")[2] for item, _ in run.of("self")][:2] == ["red.png", "yellow.png"]


def test_near_identical_files_are_not_folded_and_copies_are_one_result(tmp_path, photographs, options):
    from PIL import Image

    folder = (tmp_path / "media").resolve()
    folder.mkdir()
    coffee = Image.open(photographs / "coffee.png").convert("RGB")
    coffee.save(folder / "a.png")
    coffee.resize((300, 200)).save(folder / "smaller.jpg", quality=80)
    shutil.copy(folder / "a.png", folder / "z copy.png")
    path = tmp_path / "qrels.jsonl"
    path.write_text('{"id": "q", "text": "red", "relevant": ["media/z copy.png"]}', encoding="utf-8")
    with Engine.open(tmp_path / "own", model=FakeEncoder()) as engine:
        engine.index(folder)
        assert len(engine.query("red")) == 1
        assert len(engine.query("red", fold=False)) == 2
    for ranking in ("model", "engine"):
        report = evaluate(path, [FakeEncoder()], library=tmp_path / "own", options=options(ranking=ranking))
        items = {item.rpartition("/")[2] for item, _ in report.runs["fake"].of("q")}
        assert items == {"z copy.png", "smaller.jpg"}  # the copy that was judged stands for both


def test_k_is_how_many_results_count(qrels, pictures, options):
    whole = evaluate(qrels, [FakeEncoder()], gallery=pictures, options=options(ranking="model"))
    for ranking in ("model", "engine"):
        report = evaluate(qrels, [FakeEncoder()], gallery=pictures, options=options(ranking=ranking, k=1))
        (found,) = report.evaluations
        assert report.runs["fake"].lengths.max() == 1
        assert found["recall@10"] == found["recall@1"] == whole.evaluations[0]["recall@1"]
        assert found.of("q2")["median_rank"] == math.inf
        assert place(report.runs["fake"], report.qrels).ranks.min() == 1


def test_terms_add_up_and_negative_ones_take_away(tmp_path, pictures, options):
    path = tmp_path / "qrels.jsonl"
    lines = [
        {"id": "sum", "terms": ["red", {"text": "green", "weight": 1}], "relevant": ["data/yellow.png"]},
        {
            "id": "less",
            "terms": [{"image": "data/yellow.png"}, {"text": "green", "weight": -0.7}],
            "relevant": ["data/red.png"],
        },
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    report = evaluate(path, [FakeEncoder()], gallery=pictures, options=options(ranking="model"))
    assert report.evaluations[0]["R@1"] == 1
    assert report.display.query_title("less") == "[image yellow.png] − 0.7 × green"


def test_a_video_scores_by_its_best_frame_or_by_the_mean_of_them(tmp_path, make, options):
    folder = tmp_path / "films"
    make.video(folder / "flash.mp4", [RED, BLUE, BLUE, BLUE])
    make.video(folder / "reddish.mp4", [(255, 60, 0)] * 4)
    for name, words in (("flash", "red"), ("reddish", "red green")):
        (folder / f"{name}.txt").write_text(words, encoding="utf-8")
    (case,) = load_dataset("folder", folder, directions=["t2v"])
    first = {}
    for pooling in ("best", "mean"):
        report = evaluate(case, [FakeEncoder()], options=options(pooling=pooling))
        (query,) = [query.id for query in case.queries if query.terms[0].value == "red"]
        first[pooling] = report.runs["fake"].of(query)[0][0].rpartition("/")[2]
    assert first == {"best": "flash.mp4", "mean": "reddish.mp4"}


def test_by_kind_when_files_are_of_several_kinds(tmp_path, make, options):
    folder = tmp_path / "mixed"
    make.image(folder / "red.png", RED)
    make.tones(folder / "cat.wav", ["cat", "cat"])
    (folder / "dog.txt").write_text("dog", encoding="utf-8")
    path = tmp_path / "qrels.jsonl"
    lines = [
        {"text": "red", "relevant": ["mixed/red.png"]},
        {"text": "cat", "relevant": ["mixed/cat.wav"]},
        {"text": "dog", "relevant": ["mixed/dog.txt"]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    for ranking in ("model", "engine"):
        report = evaluate(path, [FakeEncoder()], gallery=folder, options=options(ranking=ranking))
        sections = report.evaluations[0].sections
        assert set(sections["kind"]) == {"audio", "image", "text"}
        assert all(len(part.queries) == 1 and part["R@1"] == 1 for part in sections["kind"].values())
        assert set(sections["direction"]) == {"text->image", "text->audio", "text->text"}


def test_what_cannot_be_used_is_named_with_its_reason(tmp_path, pictures, options):
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "broken too.jpg").write_bytes(b"\xff\xd8\xff")
    path = tmp_path / "qrels.jsonl"
    lines = [
        {"id": "q1", "text": "red", "relevant": ["data/broken.jpg", "data/red.png", "data/gone.png"]},
        {"id": "q2", "image": "broken too.jpg", "relevant": ["data/red.png"]},
        {"id": "q3", "text": "red " * 40, "relevant": ["data/red.png"]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    report = evaluate(path, [FakeEncoder()], gallery=pictures, options=options(ranking="model"))
    (found,) = report.evaluations
    assert found.of("q1")["recall@10"] == 0.5  # the broken one can never be found, and counts
    assert found.of("q2")["recall@10"] == 0
    assert found.without_results == ("q2",)
    reasons = dict(report.skipped)
    assert "damaged" in reasons[str(pictures / "broken.jpg")]
    assert "cannot be asked with" in reasons["query q2"]
    assert "the file is missing" in reasons[str(pictures / "gone.png")]
    assert any(note.startswith("1 of 2 texts are longer than the 32 tokens") for note in report.notes)
    engine = evaluate(path, [FakeEncoder()], gallery=pictures, options=options())
    assert engine.evaluations[0].without_results == ("q2", "q3")
    assert "the query has 42 tokens" in dict(engine.skipped)["query q3"]


# --- what cannot be done ---


def test_what_cannot_be_done_is_said_before_anything_is_encoded(tmp_path, make, qrels, pictures, options):
    (pictures / "red.txt").write_text("red", encoding="utf-8")
    encoder = FakeEncoder()
    (texts,) = load_dataset("folder", pictures, directions=["i2t"])
    with pytest.raises(UsageError, match="are texts that are no files; use --ranking model"):
        evaluate(texts, [encoder], options=options(ranking="engine"))
    film = make.video(tmp_path / "film.mp4", [RED]).resolve()
    sound = EvaluationSet(
        "clips",
        (EvaluationQuery("q", (EvaluationTerm("audio", str(film)),), {str(film): 1}, direction="audio->video"),),
        (GalleryItem(str(film), "video"),),
        channels=("visual",),
    )
    with pytest.raises(UsageError, match=r"only visual may answer.*use --ranking model"):
        evaluate(sound, [encoder], options=options(ranking="engine"))
    with pytest.raises(UsageError, match="makes no vectors of what is sought: video"):
        evaluate(EvaluationSet("x", sound.queries, sound.gallery, channels=("sound",)), [encoder], options=options())
    with pytest.raises(UsageError, match="a data set has a gallery of its own"):
        evaluate(texts, [encoder], gallery=pictures, options=options())
    with pytest.raises(UsageError, match="there is nothing to evaluate"):
        evaluate([], [encoder], options=options())
    with pytest.raises(UsageError, match="cannot be evaluated together"):
        evaluate([texts, EvaluationSet("own", sound.queries)], [encoder], options=options())
    with pytest.raises(LibraryNotFoundError):
        evaluate(qrels, library=tmp_path / "none", options=options())
    Engine.open(tmp_path / "empty", model=encoder).close()
    with pytest.raises(EmptyLibraryError):
        evaluate(qrels, library=tmp_path / "empty", options=options())
    (tmp_path / "bare").mkdir()
    nothing = tmp_path / "nothing.jsonl"
    nothing.write_text('{"text": "red", "relevant": []}', encoding="utf-8")
    with pytest.raises(UsageError, match="there is nothing in"):
        evaluate(nothing, [encoder], gallery=tmp_path / "bare", options=options())
    assert dict(encoder.encoded) == {}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"ranking": "fancy"}, "there is no ranking 'fancy'"),
        ({"pooling": "max"}, "there is no pooling 'max'"),
        ({"k": 0}, "a whole number from 1"),
        ({"k": 2.0}, "a whole number from 1"),
        ({"seed": -1}, "a whole number from 0"),
        ({"measures": ()}, "at least one measure"),
        ({"measures": ("nonsense@5",)}, "there is no measure 'nonsense@5'"),
    ],
)
def test_options_that_make_no_sense(fields, says):
    with pytest.raises(UsageError, match=says):
        EvaluationOptions(**fields)


def test_queries_that_all_should_find_nothing_still_say_how_often_something_is_called_a_match(
    tmp_path, pictures, options
):
    path = tmp_path / "qrels.jsonl"
    path.write_text('{"text": "music", "relevant": []}\n{"text": "night", "relevant": []}', encoding="utf-8")
    report = evaluate(path, [FakeEncoder()], gallery=pictures, options=options())
    assert report.evaluations[0].queries == ()
    assert math.isnan(report.evaluations[0]["recall@10"])
    assert report.accepts["fake"].without_match == 2
    assert report_json(report)["metrics"]["recall@10"] is None


# --- shelves ---


@pytest.mark.parametrize("pooling", ["best", "mean"])
def test_scores_of_a_shelf_equal_plain_loops(pooling):
    from mmsearch.evaluation.shelf import ChannelVectors, Shelf

    rng = np.random.default_rng(7)

    def unit(*shape):
        drawn = rng.normal(size=shape).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)

    seen = ChannelVectors(unit(23, 5), np.sort(rng.choice([0, 2, 3, 6], 23)))
    heard = ChannelVectors(unit(9, 3), np.sort(rng.choice([1, 5], 9)))
    shelf = Shelf(tuple("abcdefg"), ("x",) * 7, {"visual": seen.pooled(pooling), "sound": heard.pooled(pooling)})
    asked = {"visual": unit(11, 5), "sound": unit(11, 3)}
    asked["visual"][4] = asked["sound"][[4, 7]] = np.nan
    blocks = list(shelf.scores(asked, block_bytes=23 * 4 * 3))
    assert len(blocks) > 1
    for row, scores in enumerate(np.concatenate(blocks)):
        for item, score in enumerate(scores.tolist()):
            best = -math.inf
            for held, query in ((seen, asked["visual"][row]), (heard, asked["sound"][row])):
                own = held.vectors[held.items == item]
                if len(own) and not np.isnan(query).any():
                    if pooling == "mean":
                        own = own.mean(axis=0, keepdims=True)
                        own = own / np.linalg.norm(own)
                    best = max(best, *(float(vector @ query) for vector in own), -2)
            assert score == pytest.approx(best, abs=1e-5)
