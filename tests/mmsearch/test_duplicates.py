"""`mmsearch duplicates` on real photographs: who is grouped with whom, and when."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from indexer.likeness import look_of
from indexer.looks import looking_like, looks_of
from indexer.lookup import Filter
from indexer.testing import FakeEncoder
from mmsearch import Engine, IndexOptions, UsageError

EVERY_FRAME = IndexOptions(frame_similarity=1.5)  # frames are told apart by the fake model's mean colours otherwise


def film(path, pictures, *, size=(320, 240), fps=10):
    """A video that shows each picture for a second."""
    from fractions import Fraction

    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": str(fps), "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(len(pictures) * fps):
            frame = av.VideoFrame.from_ndarray(np.asarray(pictures[number // fps].resize(size)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture
def media(tmp_path, photographs):
    """Two photographs, copies of both, a video that shows both and a third, and files that are like nothing else."""
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    coffee, cat, rocket = (
        Image.open(photographs / name).convert("RGB") for name in ("coffee.png", "chelsea.png", "rocket.jpg")
    )
    coffee.save(folder / "coffee.png")
    coffee.resize((300, 200)).save(folder / "sub" / "coffee é.jpg", quality=60)
    cat.save(folder / "cat.png")
    shutil.copy(folder / "cat.png", folder / "sub" / "cat.png")
    film(folder / "film.mp4", [coffee, rocket, cat, cat, rocket])
    Image.open(photographs / "astronaut.png").convert("RGB").save(folder / "astronaut.jpg")
    for name in ("white.png", "also white.png"):
        Image.new("RGB", (200 + len(name), 100), "white").save(folder / name)
    for name in ("note.txt", "copy of note.txt"):
        (folder / name).write_text("the sea at night")
    return folder


@pytest.fixture
def engine(tmp_path, media):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        assert engine.index(media, options=EVERY_FRAME).failed == 0
        yield engine


def named(groups, folder):
    """Each group as {path within the folder: (spans, copies)}."""
    return [
        {
            file.path[len(str(folder)) + 1 :]: (
                list(file.spans),
                [copy[len(str(folder)) + 1 :] for copy in file.copies],
            )
            for file in group.files
        }
        for group in groups
    ]


def test_copies_small_copies_and_frames_are_grouped_and_nothing_else(engine, media):
    assert named(engine.duplicates(), media.resolve()) == [
        {"cat.png": ([], ["sub/cat.png"]), "film.mp4": ([(2.0, 4.0)], [])},
        {"coffee.png": ([], []), "sub/coffee é.jpg": ([], []), "film.mp4": ([(0.0, 1.0)], [])},
        {"copy of note.txt": ([], ["note.txt"])},
    ]


def test_a_group_says_kind_and_size_the_largest_picture_first(engine, media):
    group = engine.duplicates()[1]
    assert [(file.kind, file.width, file.height) for file in group.files] == [
        ("image", 600, 400),
        ("image", 300, 200),
        ("video", 320, 240),
    ]


def test_only_what_is_in_the_given_places_is_compared(engine, media):
    root = media.resolve()
    assert engine.duplicates([str(media / "sub")]) == []
    places = [str(media / "sub"), str(media / "film.mp4")]
    assert [set(group) for group in named(engine.duplicates(places), root)] == [
        {"sub/cat.png", "film.mp4"},
        {"sub/coffee é.jpg", "film.mp4"},
    ]
    with pytest.raises(UsageError, match="nothing at"):
        engine.duplicates([str(media / "nowhere")])
    with pytest.raises(UsageError, match="within is a list"):
        engine.duplicates(str(media))


def test_files_that_are_gone_are_in_no_group(engine, media):
    (media / "coffee.png").unlink()
    (media / "film.mp4").unlink()
    engine.index(options=EVERY_FRAME)
    assert [set(group) for group in named(engine.duplicates(), media.resolve())] == [{"cat.png"}, {"copy of note.txt"}]


def test_videos_that_run_alike_are_one_group_with_all_their_moments(engine, media, photographs):
    again = [Image.open(photographs / name).convert("RGB") for name in ("rocket.jpg", "brick.png", "rocket.jpg")]
    film(media / "again.mkv", again, size=(640, 360))
    engine.index(options=EVERY_FRAME)
    found = [group for group in named(engine.duplicates(), media.resolve()) if "again.mkv" in group]
    assert found == [{"again.mkv": ([(0.0, 1.0), (2.0, 3.0)], []), "film.mp4": ([(1.0, 2.0), (4.0, 5.0)], [])}]


def test_the_segments_that_look_like_a_picture_from_anywhere(engine, media, photographs):
    store = engine._library.store
    generation_id, _ = store.generation()
    outside = look_of(np.asarray(Image.open(photographs / "coffee.png").convert("RGB").resize((450, 300))))
    everywhere = looking_like(store, generation_id, outside, Filter())
    assert len(everywhere) == 3
    assert len(looking_like(store, generation_id, outside, Filter(kinds=("video",)))) == 1
    found = looks_of(store, generation_id, segment_ids=everywhere.tolist())
    assert found.ids.tolist() == sorted(everywhere.tolist())
    assert np.isnan(found.start_seconds).sum() == 2
    assert np.nanmax(found.end_seconds) == 1.0
    by_content = looks_of(store, generation_id, content_ids=found.content_ids.tolist())
    assert set(found.ids.tolist()) < set(by_content.ids.tolist())
    nothing = looks_of(store, generation_id, content_ids=[])
    assert (nothing.ids.shape, nothing.looks.shape) == ((0,), (0, 128))


def test_pictures_without_a_look_are_in_the_library_all_the_same(engine):
    store = engine._library.store
    generation_id, _ = store.generation()
    assert len(store.segment_ids(generation_id, "visual")) == len(looks_of(store, generation_id).ids) + 2  # the white


def test_the_command_prints_groups_as_lines_and_as_json(run, engine, media, monkeypatch):
    monkeypatch.chdir(media)
    code, out, err = run("duplicates", "--library", engine.path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "image  451x300                 cat.png",
        "                               same bytes: sub/cat.png",
        "video  320x240    0:02-0:04    film.mp4",
        "",
        "image  600x400                 coffee.png",
        "image  300x200                 sub/coffee é.jpg",
        "video  320x240    0:00-0:01    film.mp4",
        "",
        "text                           copy of note.txt",
        "                               same bytes: note.txt",
    ]
    code, out, _ = run("duplicates", "--json", "--library", engine.path, "film.mp4", "cat.png")
    assert code == 0
    assert json.loads(out) == {
        "groups": [
            {
                "files": [
                    {
                        "path": str(media.resolve() / "cat.png"),
                        "kind": "image",
                        "width": 451,
                        "height": 300,
                        "moments": [],
                        "copies": [],
                    },
                    {
                        "path": str(media.resolve() / "film.mp4"),
                        "kind": "video",
                        "width": 320,
                        "height": 240,
                        "moments": [{"start": 2.0, "end": 4.0}],
                        "copies": [],
                    },
                ]
            }
        ]
    }
    assert run("duplicates", "--library", engine.path, "sub") == (1, "", "mmsearch: no two files look alike\n")
    assert run("duplicates", "--library", engine.path, "nowhere")[0] == 2
