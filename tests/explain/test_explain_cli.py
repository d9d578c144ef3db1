"""`mmsearch explain` and `Engine.explain`: the whole way, with the model that can be worked out by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from indexer.errors import EmptyLibraryError, UsageError
from indexer.testing import FakeEncoder
from mmsearch import Engine, Query

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def media(tmp_path, make, monkeypatch):
    folder = tmp_path / "media"
    make.image(folder / "stripes.png", RED, GREEN, GREEN, GREEN)
    make.image(folder / "green.png", GREEN)
    make.tones(folder / "talk.wav", [None, "dog", "cat", "cat", None, "sea"])
    make.video(folder / "clip.mp4", [BLUE, RED, GREEN, BLUE])
    (folder / "note.txt").write_text("bread and music, at night with rain", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def engine(media, tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(media)
        yield engine


def test_a_picture_is_hot_where_its_colour_is(engine, media):
    why = engine.explain("red", media / "stripes.png")
    (one,) = why.maps
    assert (one.asked, one.method, one.start_seconds) == ("red", "occlusion", None)
    assert one.values.shape == (8, 8)
    assert one.values[:, :2].mean() > 0.6 > 5 * one.values[:, 4:].mean()
    assert one.cosine == pytest.approx(why.cosine, abs=1e-3)


def test_a_hit_explains_itself(engine):
    hit = engine.query("green", k=1)[0]
    assert engine.explain("green", hit).path == hit.path


def test_a_video_is_explained_at_its_frame(engine, media):
    why = engine.explain("green", media / "clip.mp4")
    frames = [stretch for stretch in why.stretches if stretch.channel == "visual"]
    assert [frame.start_seconds for frame in frames] == [0.0, 1.0, 2.0, 3.0]
    best = max(frames, key=lambda frame: frame.score)
    assert best.start_seconds == 2.0
    assert best.part == why.score
    assert [frame.part for frame in frames if frame is not best] == [0.0] * 3
    assert why.maps[0].start_seconds == 2.0


def test_speech_is_explained_line_by_line(engine, media):
    why = engine.explain("a cat", media / "talk.wav")
    spoken = [(stretch.text, stretch.start_seconds, stretch.part > 0) for stretch in why.stretches]
    assert spoken == [("dog", 1.0, False), ("cat", 2.0, True), ("sea", 5.0, False)]
    assert why.lines[0].text == "cat"
    assert [(word.text, word.literal) for word in why.lines[0].words] == [("cat", True)]


def test_words_of_a_text_are_weighed(engine, media):
    why = engine.explain("night rain", media / "note.txt")
    (line,) = why.lines
    drops = {word.text: word.drop for word in line.words}
    assert drops["night"] == pytest.approx(drops["rain"])
    assert drops["night"] > 0 > drops["music"]
    # By hand: counts are bread, music, night, rain and three others; the query has night and rain.
    whole = 2 / (np.sqrt(2) * np.sqrt(4 + 9))
    without = 1 / (np.sqrt(2) * np.sqrt(3 + 9))
    assert line.cosine == pytest.approx(whole, abs=1e-4)
    assert drops["rain"] == pytest.approx(whole - without, abs=1e-4)


def test_several_terms_have_a_map_each(engine, media):
    query = Query.parse("red + 2:green - blue")
    why = engine.explain(query, media / "stripes.png")
    assert [one.asked for one in why.maps] == ["red", "green"]
    assert [term.asked for term in why.terms][:3] == ["red", "green", "blue"]
    assert why.terms[2].weight == -1
    assert why.maps[0].values[:, 0].mean() > why.maps[0].values[:, -1].mean()
    assert why.maps[1].values[:, 0].mean() < why.maps[1].values[:, -1].mean()


def test_filters_that_leave_the_file_out_are_told(engine, media):
    why = engine.explain(Query.of_text("red", name="gr*"), media / "stripes.png")
    assert not why.fits_filters
    assert engine.explain("red", media / "stripes.png").fits_filters


def test_what_cannot_be_explained_says_why(engine, media, tmp_path, make):
    new = make.image(tmp_path / "new.png", RED)
    with pytest.raises(UsageError, match="is not in the library; bring it in with: mmsearch index"):
        engine.explain("red", new)
    with pytest.raises(UsageError, match=r"there is no file at .*, and the library knows of none there"):
        engine.explain("red", tmp_path / "never.png")
    with pytest.raises(UsageError, match="there is no method 'magic'"):
        engine.explain("red", media / "green.png", method="magic")
    with pytest.raises(UsageError, match="the query reaches nothing of"):
        engine.explain(Query.of_text("red", kinds=("text",)), media / "green.png")


def test_an_empty_library_says_so(tmp_path, make):
    picture = make.image(tmp_path / "red.png", RED)
    with Engine.open(tmp_path / "empty", model=FakeEncoder()) as engine, pytest.raises(EmptyLibraryError):
        engine.explain("red", picture)


@pytest.mark.parametrize("name", ["stripes.png", "clip.mp4", "talk.wav", "note.txt"])
def test_every_kind_is_drawn(engine, media, tmp_path, name):
    why = engine.explain("green cat night", media / name)
    place = tmp_path / "why.png"
    why.save(place)
    with Image.open(place) as drawn:
        assert drawn.width == 1080
        assert drawn.height > 104
        assert len(drawn.convert("RGB").resize((108, 60)).getcolors(10_000)) > 5
        assert drawn.text["Software"] == "mmsearch explanation"
    assert not list(tmp_path.glob(".mmsearch-*"))


def test_a_picture_that_went_meanwhile_is_still_explained(engine, media):
    why = engine.explain("green cat", media / "clip.mp4")
    (media / "clip.mp4").unlink()
    assert why.picture().height > 104


def test_the_command_explains(run, media):
    run("index", "media")
    code, out, err = run("explain", "green", "media/clip.mp4")
    assert (code, err) == (0, "")
    assert out.startswith("media/clip.mp4: >99%, score ")
    assert "0:02-0:03    visual" in out
    assert "Picture  green: no part speaks for it" in out or "Picture  green: mostly" in out


def test_json_is_what_the_documentation_says(run, media):
    run("index", "media")
    code, out, _ = run("explain", "red", "media/stripes.png", "--json")
    why = json.loads(out)
    assert code == 0
    assert list(why) == [
        *("version", "query", "path", "kind", "score", "confidence", "cosine", "formula", "fits_filters", "matched"),
        *("terms", "segments", "lines", "maps", "remarks"),
    ]
    assert why["score"] == pytest.approx(sum(term["part"] for term in why["terms"]), abs=1e-5)
    assert set(why["terms"][0]) == {
        *("asked", "weight", "part", "share", "score", "cosine", "channel", "start", "end"),
    }
    assert set(why["segments"][0]) == {"channel", "start", "end", "text", "cosine", "score", "confidence", "part"}
    assert set(why["maps"][0]) == {"asked", "method", "start", "cosine", "box", "values"}
    assert np.array(why["maps"][0]["values"]).shape == (8, 8)


def test_a_picture_of_somebody_else_is_not_overwritten(run, media, make):
    run("index", "media")
    code, _, err = run("explain", "red", "media/stripes.png", "-o", "media/green.png")
    assert code == 2
    assert "is there already, and is not an explanation of mmsearch's" in err
    assert run("explain", "red", "media/stripes.png", "-o", "why.jpg")[0] == 2
    assert run("explain", "red", "media/stripes.png", "-o", "why.png")[0] == 0
    assert run("explain", "green", "media/stripes.png", "-o", "why.png")[0] == 0  # its own may be


def test_a_name_that_is_not_unicode_is_drawn_and_told(run, media, make, tmp_path):
    import os

    odd = os.fsdecode(b"media/r\xffd\xe2\x82\xac.png")
    try:
        make.image(tmp_path / odd, RED)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    run("index", "media")
    code, out, _ = run("explain", "red", odd, "-o", "why.png")
    assert code == 0
    assert "r\\xffd" in out or "r\\udcffd" in out


def test_a_file_with_nothing_to_compare_is_explained_by_its_name(engine, media, make):
    make.tones(media / "moonlight sonata.wav", [None, None])
    engine.index(media)
    (hit,) = [hit for hit in engine.query("sonata") if hit.channel is None]
    why = engine.explain("sonata", hit)
    assert why.confidence == pytest.approx(hit.confidence)
    assert why.score == pytest.approx(sum(term.part for term in why.terms))
    assert (why.cosine, why.stretches, why.maps) == (None, (), ())
    assert why.terms[-1].part > 0
    assert why.remarks
    assert why.picture().height > 104
    with pytest.raises(UsageError, match="the query reaches nothing of"):
        engine.explain("cat", hit)
