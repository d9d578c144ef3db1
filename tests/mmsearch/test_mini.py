"""The whole of it with the embedded model: real photographs, real speech, and a video made from them."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mmsearch import Engine, WeightsError

SPEECH = Path(__file__).parents[1] / "data" / "speech"
SCENES = ("coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
SECONDS_EACH = 4


def make_slideshow(path, photographs):
    """Four seconds of each photograph, slowly zoomed so that no two frames are the same."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
        for number, name in enumerate(SCENES):
            photograph = Image.open(photographs / name).convert("RGB")
            for step in range(SECONDS_EACH * 10):
                cut = step * 0.001
                width, height = photograph.size
                box = (width * cut, height * cut, width * (1 - cut), height * (1 - cut))
                picture = np.asarray(photograph.resize((480, 320), box=box))
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number * SECONDS_EACH * 10 + step, Fraction(1, 10)
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def engine(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    make_slideshow(folder / "slideshow.mp4", photographs)
    with Engine.open(folder / "library", model="mini") as engine:
        report = engine.index(photographs, SPEECH, folder / "slideshow.mp4")
        assert report.added > 20
        yield engine


def names(hits):
    return [Path(hit.path).name for hit in hits]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("a cat", ["chelsea.png"]),
        ("a cup of coffee", ["coffee.png"]),
        ("a rocket launch", ["rocket.jpg"]),
        ("a motorcycle", ["motorcycle_left.png", "motorcycle_right.png"]),
    ],
)
def test_words_find_the_photograph(engine, words, wanted):
    assert sorted(names(engine.query(words, k=len(wanted), kinds=["image"]))) == sorted(wanted)


@pytest.mark.parametrize(
    ("words", "scene"),
    [("a cup of coffee", 0), ("a cat", 1), ("a rocket launch", 2), ("a motorcycle", 3)],
)
def test_words_find_the_second_of_a_video(engine, words, scene):
    (hit,) = engine.query(words, kinds=["video"])
    middle = (hit.start_seconds + hit.end_seconds) / 2
    assert scene * SECONDS_EACH <= middle <= (scene + 1) * SECONDS_EACH
    assert hit.start_seconds == pytest.approx(scene * SECONDS_EACH, abs=1.1)


@pytest.mark.parametrize(
    ("words", "name", "start", "said"),
    [
        ("shopping for groceries", "two_lines_with_pauses.flac", 10.3, "milk"),
        ("when does the conference begin?", "meeting.flac", 0.0, "Thursday"),
        ("a jumping animal", "two_lines_with_pauses.flac", 3.0, "fox"),
    ],
)
def test_words_find_a_spoken_sentence_by_its_meaning(engine, words, name, start, said):
    hit = engine.query(words, k=1, kinds=["audio"])[0]
    assert names([hit]) == [name]
    assert said in hit.text
    assert hit.start_seconds == pytest.approx(start, abs=0.7)


def test_a_text_query_imports_no_model_library(engine):
    code = """
import sys, json
from mmsearch.cli import main
sys.argv = ["mmsearch", "query", "a cat", "--library", sys.argv[1], "--json"]
try: main()
except SystemExit as stop: assert not stop.code, stop.code
heavy = {"torch", "transformers", "open_clip", "onnxruntime", "ctranslate2", "faster_whisper", "av", "PIL", "rich"}
print(json.dumps(sorted(heavy & set(sys.modules))), file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", code, str(engine.path)], capture_output=True, text=True, check=True)
    assert json.loads(run.stderr) == []
    assert Path(json.loads(run.stdout)["hits"][0]["path"]).name in {"chelsea.png", "slideshow.mp4"}


def test_help_loads_neither_numpy_nor_sqlalchemy():
    code = """
import sys
from mmsearch.cli import main
sys.argv = ["mmsearch", "--help"]
try: main()
except SystemExit: pass
print(sorted({"numpy", "sqlalchemy", "faiss", "torch", "rich"} & set(sys.modules)), file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]"


def test_a_library_without_vectors_does_not_insist_on_its_model(tmp_path):
    (tmp_path / "empty").mkdir()
    with Engine.open(tmp_path / "library", model="mini") as engine:
        engine.index(tmp_path / "empty")
    with pytest.raises(WeightsError):  # "fast" is looked for, and no hub is in reach of a test
        Engine.open(tmp_path / "library", model="fast")
