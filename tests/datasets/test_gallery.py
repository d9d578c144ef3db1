"""A gallery as a library: exactly its files, encoded once, kept in step, whole after an interruption."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from pathlib import Path

import pytest

from indexer.errors import UsageError
from indexer.library import Library
from indexer.report import IndexOptions
from indexer.testing import FakeEncoder
from mmsearch import Engine
from mmsearch.evaluation.cache import CachedEncoder, VectorCache, evaluation_directory
from mmsearch.evaluation.cases import EvaluationSet, GalleryItem
from mmsearch.evaluation.datasets import load_dataset
from mmsearch.evaluation.gallery import clear_libraries, gallery_library, library_path

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def case_of(*paths: Path, kind="image", name="some", channels=()) -> EvaluationSet:
    return EvaluationSet(name, (), tuple(GalleryItem(str(path), kind) for path in paths), channels=channels)


def held(path: Path) -> dict[str, str]:
    """What a gallery's library holds: state by path."""
    library = Library.open(path)
    try:
        store = library.store
        return {
            os.path.join(root, directory, name): known.state
            for root_id, root in store.roots().items()
            for directory in store.directories(root_id, "")
            for name, known in store.known_in(root_id, directory).items()
        }
    finally:
        library.close()


def test_a_data_set_is_indexed_once_and_searched_without_encoding_again(tmp_path, make):
    """From files on disk to hits, as an evaluation does it; the second time nothing is encoded at all."""
    root = tmp_path / "data"
    for name, colour in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        make.image(root / f"{name}.png", colour)
        (root / f"{name}.txt").write_text(f"a {name} thing", encoding="utf-8")
    make.image(tmp_path / "other.png", RED)
    (case,) = load_dataset("folder", root, directions=["t2i"])
    folder = tmp_path / "libraries"
    for run in range(2):
        encoder = FakeEncoder()
        with VectorCache(tmp_path / "vectors.sqlite") as cache:
            gallery = gallery_library(case, encoder, folder=folder)
            with Engine.open(gallery.path, model=CachedEncoder(encoder, cache)) as engine:
                for query in case.queries:
                    (hit,) = engine.query(query.terms[0].value, k=1)
                    assert {hit.path: 1.0} == query.relevant
            assert cache.hits == (0 if run == 0 else 3)
        assert dict(encoder.encoded) == ({"image": 3, "text": 3} if run == 0 else {})
        assert (gallery.report.added, gallery.report.unchanged) == ((3, 0) if run == 0 else (0, 3))
        assert gallery.unusable == ()
    assert sorted(held(gallery.path)) == [item.id for item in sorted(case.gallery, key=lambda item: item.id)]


def test_only_the_gallery_is_indexed_whatever_its_files_are_called(tmp_path, make):
    """Not its neighbours. Hidden, ignored and oddly named files are as good as others; so is a link to one of them."""
    root = (tmp_path / "data").resolve()
    (root / "a").mkdir(parents=True)
    (root / ".gitignore").write_text("*.png\n", encoding="utf-8")
    chosen = [
        make.image(root / "a" / "one.png", RED),
        make.image(root / ".hidden" / "two.png", GREEN),
        make.image(root / "three.xyz", BLUE),
        make.image(root / "four.", (9, 9, 9)),
    ]
    make.image(root / "a" / "neighbour.png", RED)
    (root / "a" / "link.png").symlink_to(root / "three.xyz")
    chosen.append(root / "a" / "link.png")
    gallery = gallery_library(case_of(*chosen), FakeEncoder(), folder=tmp_path / "libraries")
    assert held(gallery.path) == {str(path): "present" for path in chosen}
    assert gallery.unusable == ()
    assert (gallery.report.added, gallery.report.linked) == (4, 1)


def test_it_follows_the_gallery(tmp_path, make):
    root = (tmp_path / "data").resolve()
    files = [make.image(root / str(n % 3) / f"{n}.png", (n, 0, 0)) for n in range(9)]
    folder = tmp_path / "libraries"
    gallery_library(case_of(*files[:6]), FakeEncoder(), folder=folder)
    encoder = FakeEncoder()
    gallery = gallery_library(case_of(*files[3:]), encoder, folder=folder)
    assert encoder.encoded["image"] == 3
    assert held(gallery.path) == {str(path): "present" for path in files[3:]}
    with Engine.open(gallery.path, model=encoder) as engine:
        assert engine.verify().problems == []


def test_a_data_set_that_was_moved_is_not_encoded_again(tmp_path, make):
    old = (tmp_path / "old").resolve()
    files = [make.image(old / "deep" / f"{n}.png", (n, 0, 0)) for n in range(4)]
    folder = tmp_path / "libraries"
    gallery_library(case_of(*files), FakeEncoder(), folder=folder)
    new = (tmp_path / "elsewhere" / "new").resolve()
    shutil.move(old, new)
    moved = [new / path.relative_to(old) for path in files]
    encoder = FakeEncoder()
    gallery = gallery_library(case_of(*moved), encoder, folder=folder)
    assert encoder.encoded["image"] == 0
    assert held(gallery.path) == {str(path): "present" for path in moved}


def test_what_cannot_be_found_is_reported_with_the_reason(tmp_path, make):
    root = (tmp_path / "data").resolve()
    good = make.image(root / "good.png", RED)
    broken = root / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff")
    gone = make.image(root / "gone.png", RED)
    gone.unlink()
    odd = root / "odd.xyz"
    odd.write_bytes(b"\0\1\2")
    gallery = gallery_library(case_of(good, broken, gone, odd), FakeEncoder(), folder=tmp_path / "libraries")
    reasons = {item.what: item.reason for item in gallery.unusable}
    assert set(reasons) == {str(broken), str(gone), str(odd)}
    assert reasons[str(gone)] == "it is not there now"
    assert "the JPEG file is damaged" in reasons[str(broken)]
    assert "of no kind that mmsearch reads" in reasons[str(odd)]


def test_a_file_without_a_vector_in_the_channels_that_may_answer_is_reported(tmp_path, make):
    """A silent sound is indexed without fault, and no words can find it."""
    loud = make.tones(tmp_path / "loud.wav", ["cat", "cat"])
    silent = make.tones(tmp_path / "silent.wav", [None, None])
    case = case_of(loud, silent, kind="audio", channels=("sound", "speech"))
    gallery = gallery_library(case, FakeEncoder(), folder=tmp_path / "libraries")
    assert [(item.what, item.reason) for item in gallery.unusable] == [
        (str(silent), "the model makes no vector of it that could answer")
    ]


def test_a_file_that_vanished_since_is_found_out(tmp_path, make):
    files = [make.image(tmp_path / "data" / f"{n}.png", (n, 0, 0)) for n in range(2)]
    folder = tmp_path / "libraries"
    gallery_library(case_of(*files), FakeEncoder(), folder=folder)
    files[0].unlink()
    gallery = gallery_library(case_of(*files), FakeEncoder(), folder=folder)
    assert [(Path(item.what).name, item.reason) for item in gallery.unusable] == [("0.png", "it is not there now")]
    with Engine.open(gallery.path, model=FakeEncoder()) as engine:
        assert [Path(hit.path).name for hit in engine.query("red", k=5)] == ["1.png"]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, make):
    files = [make.image(tmp_path / "data" / f"{n:02}.png", (n, 255 - n, 0)) for n in range(40)]
    folder = tmp_path / "libraries"
    cancel = threading.Event()
    first = FakeEncoder(seconds_per_batch=0.02)
    options = IndexOptions(batch_size=2, commit_files=2, workers=1)

    def stop(progress) -> None:
        if progress.done >= 6:
            cancel.set()

    gallery = gallery_library(case_of(*files), first, folder=folder, options=options, on_progress=stop, cancel=cancel)
    assert gallery.report.interrupted
    done = first.encoded["image"]
    assert 6 <= done < 40
    second = FakeEncoder()
    gallery = gallery_library(case_of(*files), second, folder=folder)
    assert not gallery.report.interrupted
    assert len(held(gallery.path)) == 40
    assert second.encoded["image"] <= 40 - 6


def test_a_library_for_each_set_split_kind_and_model(tmp_path, make):
    image = make.image(tmp_path / "a.png", RED)
    one, other = FakeEncoder().spec, FakeEncoder("other").spec
    case = case_of(image)
    paths = [
        library_path(case, one),
        library_path(case, other),
        library_path(case_of(image, name="else"), one),
        library_path(EvaluationSet("some", (), case.gallery, split="val"), one),
        library_path(case_of(image, kind="video"), one),
    ]
    assert len(set(paths)) == 5
    assert paths[0] == library_path(case_of(image, image.with_name("b.png")), one)
    assert all(path.parent == evaluation_directory() / "libraries" for path in paths)
    long = library_path(case_of(image, name="csv:/ä b/" + "x" * 300), one).name
    assert len(os.fsencode(long)) < 200


def test_galleries_that_are_no_files(tmp_path):
    texts = EvaluationSet("captions", (), (GalleryItem("c1", "text", "a dog"),))
    with pytest.raises(UsageError, match="the gallery of captions holds texts that are no files: encode these"):
        gallery_library(texts, FakeEncoder(), folder=tmp_path)
    with pytest.raises(UsageError, match="the gallery of mine is empty: name a library to search"):
        gallery_library(EvaluationSet("mine", ()), FakeEncoder(), folder=tmp_path)


def test_libraries_are_removed_but_for_one_that_is_being_written(tmp_path, make, caplog):
    image = make.image(tmp_path / "a.png", RED)
    folder = tmp_path / "libraries"
    kept = gallery_library(case_of(image, name="kept"), FakeEncoder(), folder=folder).path
    gone = gallery_library(case_of(image, name="gone"), FakeEncoder(), folder=folder).path
    library = Library.open(kept)
    with library.writing(), caplog.at_level(logging.WARNING):
        freed = clear_libraries(folder)
    library.close()
    assert freed > 0
    assert kept.exists()
    assert not gone.exists()
    assert "is left as it is" in caplog.text
    assert clear_libraries(folder) > 0
    assert clear_libraries(tmp_path / "none") == 0
