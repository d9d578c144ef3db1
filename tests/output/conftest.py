"""Results made by hand, and the command line in this process."""

import io
from pathlib import Path

import pytest

from mmsearch import Hit, Moment
from mmsearch.output import OutputSettings, Results, write


@pytest.fixture
def run(fake_by_default, exit_code, capsysbinary):
    """Run `mmsearch ...` in this process with the fake model; gives (exit code, output as bytes, errors)."""

    def run(*args):
        code = exit_code(*args)
        out, err = capsysbinary.readouterr()
        return code, out, err.decode("utf-8", "surrogateescape")

    return run


@pytest.fixture(scope="session")
def a_hit():
    """Make a `Hit` of a path and what else matters."""

    def make(path="/media/photos/cup.jpg", **fields):
        whole = {
            "score": 0.5,
            "path": str(path),
            "kind": "image",
            "channel": "visual",
            "start_seconds": None,
            "end_seconds": None,
            "text": None,
            "title": None,
            "moments": (),
            "copies": (),
        }
        return Hit(**(whole | fields))

    return make


@pytest.fixture(scope="session")
def a_moment():
    def make(start, end, score=0.5, **fields):
        return Moment(
            **({"channel": "speech", "text": None} | fields), score=score, start_seconds=start, end_seconds=end
        )

    return make


@pytest.fixture
def written():
    """The bytes that `write` gives for results, to something that is no terminal."""

    def give(hits, query="a cup", matches_well=None, **settings):
        binary = io.BytesIO()
        stream = io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="")
        write(Results(query, tuple(hits), matches_well), OutputSettings(**settings), stream)
        stream.flush()
        return binary.getvalue()

    return give


@pytest.fixture
def media(tmp_path, make, monkeypatch):
    folder = tmp_path / "media"
    make.image(folder / "red.png", (255, 0, 0))
    make.image(folder / "sub" / "green.png", (0, 255, 0))
    make.tones(folder / "talk.wav", [None, None, "cat", "cat"])
    make.video(folder / "clip.mp4", [(0, 0, 255), (255, 0, 0), (0, 255, 0)])
    (folder / "note.txt").write_text("bread, and music at night", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Path(folder).resolve()
