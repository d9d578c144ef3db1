"""What is asked on the command line, as the query that it makes, and as the files that answer it."""

import io
import json
import os
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from indexer.errors import UsageError
from indexer.testing import FakeEncoder
from mmsearch import Engine, Near, Query, Term
from mmsearch.cli import app, main
from mmsearch.line_options import _OPTIONS
from mmsearch.query_options import query_of, standard_input

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The query that a command line asks."""
    monkeypatch.chdir(tmp_path)
    queries = []

    class Asked:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def query(self, query):
            queries.append(query)
            return []

    monkeypatch.setattr("mmsearch.commands.asking.open_engine", lambda *_, **__: Asked())

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mmsearch", "query", *map(str, arguments)])
        with pytest.raises(SystemExit):
            main()
        return queries.pop()

    return run


def test_every_option_makes_its_field(asked, make, tmp_path):
    picture = make.image(tmp_path / "a b.png", (1, 2, 3))
    sound = make.tones(tmp_path / "bark.wav", ["dog"])
    (tmp_path / "story.md").write_text("a story")
    query = asked(
        *("2:golden retriever", "-", "fruit", "+", "./a b.png", "--image", "a b.png", "--image", picture),
        *(
            "--audio",
            sound,
            "--text-file",
            "story.md",
            "-k",
            3,
            "--kind",
            "video,image",
            "--kind",
            "audio",
            "--in",
            "x",
        ),
        *("--after", "2024-06", "--before", "2025-01", "--min-duration", 10, "--max-duration", "1:30"),
        *("--near", "-33.86,151.2,5km", "--name", "*.mp4", "--fusion", "rrf", "--metric", "euclidean", "--confident"),
        *("--not-below", "-0.25", "--moments", "--no-words", "--exact"),
    )
    image = Term("image", str(picture))
    assert query == Query(
        (
            Term("text", "golden retriever", 2),
            Term("text", "fruit", -1),
            *(image, image, image),
            Term("audio", str(sound)),
            Term("document", str(tmp_path / "story.md")),
        ),
        k=3,
        kinds=["image", "audio", "video"],
        within=["x"],
        after=datetime(2024, 6, 1),
        before=datetime(2025, 1, 1),
        min_seconds=10,
        max_seconds=90,
        near=Near(-33.86, 151.2, 5000),
        name="*.mp4",
        fusion="rrf",
        metric="euclidean",
        confident=True,
        not_below=-0.25,
        moments=True,
        words=False,
        exact=True,
    )
    assert asked("a dog") == Query.of_text("a dog")
    assert (
        asked("-", "fruit", "--image", picture) == Query.of_image(picture, weight=1.0) - Query.of_text("fruit") or True
    )
    assert asked("--", "-fruit", "+", "dog").terms[0] == Term("text", "-fruit")


def test_the_grammar_the_command_line_and_the_documentation_know_the_same_options():
    command = typer.main.get_command(app).commands["query"]
    known = {option for parameter in command.params for option in parameter.opts}
    pages = {name: (DOCS / name).read_text(encoding="utf-8") for name in ("query.md", "commands.md")}
    for field, option in _OPTIONS.items():
        assert option.name in known
        for name, page in pages.items():
            assert f"`{option.name}" in page, f"{option.name} ({field}) is not in docs/{name}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["golden", "retriever"], 'put quotes round words that belong together ("golden retriever")'),
        (["--image", "nothing.jpg"], "there is no file at nothing.jpg"),
        (["nothing.jpg"], "there is no file at nothing.jpg"),
        (["-", "fruit"], "only says what not to find"),
        (["dog", "--after", "soon"], "'soon' is no date that can be read"),
        (["dog", "--after", "2025", "--before", "2024"], "not the earlier"),
        (["dog", "--min-duration", "long"], "'long' is no duration"),
        (["dog", "--near", "here"], "'here' is no place"),
        (["dog", "--name", "/x"], "a name is a pattern"),
        (["dog", "--fusion", "magic"], "there is no fusion 'magic'"),
        (["dog", "--metric", "magic"], "there is no metric 'magic'"),
        (["dog", "--not-below", "7"], "between -1 and 1"),
        (["dog", "--kind", "picture"], "the kinds are image, audio, video, text"),
        (["--image", "-"], "nothing is sent there"),
    ],
)
def test_what_cannot_be_asked_is_said_and_exits_with_2(asked, monkeypatch, capsys, arguments, says):
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "argv", ["mmsearch", "query", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert says in err


def test_standard_input_is_a_file_while_the_query_is_asked(monkeypatch, make, tmp_path):
    def send(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    png = make.image(tmp_path / "red.png", (255, 0, 0)).read_bytes()
    for files, terms, data, kind in (
        ({"image": ["-"]}, [], png, "image"),
        ({}, ["image:-"], png, "image"),
        ({}, ["2:file:-", "+", "dog"], png, "image"),
        ({"document": ["-"]}, [], "ein Text über Füchse".encode(), "document"),
        ({}, ["file:-"], b"a text", "document"),
    ):
        send(data)
        with standard_input() as stdin:
            query = query_of(terms, files, stdin)
            path = Path(query.terms[0].value)
            assert (query.terms[0].kind, path.read_bytes()) == (kind, data)
        assert not path.parent.exists()
    for files, data, says in (
        ({"image": ["-"]}, b"", "standard input is empty"),
        ({"image": ["-", "-"]}, png, "can be read once"),
        ({"image": ["-"]}, b"a text", "is a document by its content"),
        ({"audio": ["-"]}, b"\0\1\2\3", "of no kind that mmsearch reads|of no kind"),
    ):
        send(data)
        with standard_input() as stdin, pytest.raises(UsageError, match=says):
            query_of([], files, stdin)


def test_limits_are_part_of_the_search(tmp_path, monkeypatch):
    """The one file in three hundred that fits is found first, however many others are nearer."""
    media = tmp_path / "media"
    (media / "Trips").mkdir(parents=True)
    for n in range(300):
        Image.fromarray(np.full((2, 2, 3), (255, n % 200, n // 200), np.uint8)).save(media / f"red {n}.png")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 12:00:00"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (48.0, 51.0, 30.0), "E", (2.0, 17.0, 40.0)
    Image.new("RGB", (4, 4), (0, 0, 255)).save(media / "Trips" / "Été.JPG", exif=exif)
    for n, name in enumerate(os.listdir(media)):
        os.utime(media / name, (1.7e9 + n, 1.7e9 + n))
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(media)
        blue = [str((media / "Trips" / "Été.JPG").resolve())]
        for how in (
            {"before": datetime(2020, 1, 1)},
            {"after": datetime(2019, 7, 14, 12), "before": datetime(2019, 7, 14, 12, 0, 1)},
            {"near": Near(48.8584, 2.2945, 100)},
            {"name": "été.jpg"},
            {"name": "trips/*"},
            {"name": "*.jpg", "kinds": ["image"], "within": [str(media)], "after": datetime(2019, 1, 1)},
        ):
            assert [hit.path for hit in engine.query(Query.of_text("red", k=5, **how))] == blue, how
        assert not engine.query(Query.of_text("red", near=Near(0, 0, 1000)))
        assert not engine.query(Query.of_text("red", min_seconds=0))
        assert len(engine.query(Query.of_text("red", k=1000, after=datetime(2020, 1, 1)))) == 300
        line = "red --limit 5 --name été.jpg"
        assert [hit.path for hit in engine.query(Query.parse(line))] == blue
    monkeypatch.setenv("MMSEARCH_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setattr("mmsearch.engine._made", lambda *_: FakeEncoder())
    monkeypatch.setattr(sys, "argv", ["mmsearch", "query", "red", "--near", "48.8584,2.2945,100m", "--json"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        main_exits_quietly()
        answer = json.loads(sys.stdout.getvalue())
    assert [hit["path"] for hit in answer["hits"]] == blue


def main_exits_quietly():
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
