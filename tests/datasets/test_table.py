"""The table of data sets, what is common to all loaders, and the values that they make."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.errors import UsageError
from mmsearch.evaluation.cases import EvaluationQuery, EvaluationSet, EvaluationTerm, GalleryItem
from mmsearch.evaluation.datasets import DATASETS, load_dataset
from mmsearch.evaluation.datasets.folder import Folder, kind_of
from mmsearch.evaluation.datasets.pairing import LETTERS

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def test_every_data_set_is_documented_with_its_splits_and_directions():
    page = DOCS.read_text(encoding="utf-8")
    for name, row in DATASETS.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        for word in (*row.splits, *row.directions):
            assert f"`{word}`" in line, f"docs/datasets.md does not give {word} for {name}"


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_folder_is_told_what_it_lacks_and_where_to_get_it(name, tmp_path):
    row = DATASETS[name]
    with pytest.raises(UsageError) as error:
        load_dataset(name, tmp_path)
    assert str(tmp_path.resolve()) in str(error.value)
    assert row.source in str(error.value)
    assert row.files in str(error.value)
    assert all(re.fullmatch(f"[{''.join(LETTERS)}]2[{''.join(LETTERS)}]", direction) for direction in row.directions)


def test_what_cannot_be_asked_for(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for call, said in (
        (lambda: load_dataset("imagenet", tmp_path), "there is no data set 'imagenet'; those are: coco, flickr30k"),
        (lambda: load_dataset("coco", tmp_path, split="dev"), "coco has no split 'dev'; its splits are test, val"),
        (lambda: load_dataset("folder", tmp_path, split="dev"), "folder has no split 'dev'; it has no splits"),
        (
            lambda: load_dataset("coco", tmp_path, directions=["t2a"]),
            "coco is not for t2a; its directions are t2i, i2t",
        ),
        (lambda: load_dataset("coco", tmp_path, directions=["text"]), "'text' is no direction; one is written t2i"),
        (lambda: load_dataset("coco", tmp_path / "none"), "none does not exist; name the folder"),
        (lambda: load_dataset("coco", tmp_path / "file"), "file is a file; name the folder"),
    ):
        with pytest.raises(UsageError, match=said):
            call()


def test_a_direction_without_pairs_is_said(lay):
    root = lay({"vggsound.csv": b"---g-f_I2yQ,1,x,test\n"}, ["---g-f_I2yQ_000001.mp4"])
    with pytest.raises(UsageError, match="there are no pairs for a2i, only for a2t, a2v, t2a, t2v, v2a, v2t"):
        load_dataset("vggsound", root, directions=["a2i"])


def test_links_hidden_folders_and_names_of_macos(lay, tmp_path):
    root = lay({}, ["a/x.jpg", ".git/y.jpg", "a/._x.jpg", "Z.JPG"])
    (root / "loop").symlink_to(root)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "o.jpg").write_bytes(b"o")
    (root / "linked").symlink_to(tmp_path / "outside")
    folder = Folder(root)
    assert [folder.relative(path) for path in folder.files] == ["Z.JPG", "a/x.jpg", "linked/o.jpg"]
    assert folder.named("Z.jpg") == str(root.resolve() / "Z.JPG")
    assert folder.named("z.jpg") is None  # ids of YouTube differ in case alone
    assert folder.named("b/x.jpg") == folder.named("x.jpg") == str(root.resolve() / "a/x.jpg")
    assert folder.named("") is None
    assert folder.with_stem("x", ["video"]) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.JPG", "image"), ("a.wav", "audio"), ("a.m4a", "audio"), ("a.opus", "audio"), ("a.mka", "audio"),
        ("a.weba", "audio"), ("a.wma", "audio"), ("a.mp4", "video"), ("a.mkv", "video"), ("a.avi", "video"),
        ("a.ogv", "video"), ("a.mov", "video"), ("a.md", "text"), ("a.pdf", "text"), ("a.xyz", None), ("a", None),
    ],
)  # fmt: skip
def test_kinds_by_suffix(name, kind):
    assert kind_of(f"/x/{name}") == kind


TERM = EvaluationTerm("text", "a dog")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EvaluationTerm("word", "a"), "there is no kind of term 'word'"),
        (lambda: EvaluationTerm("text", " "), "needs words or a path"),
        (lambda: EvaluationTerm("image", "a.jpg"), "absolute path, got 'a.jpg'"),
        (lambda: EvaluationTerm("text", "a", 0), "a weight is a finite number other than 0"),
        (lambda: EvaluationTerm("text", "a", float("nan")), "a weight is a finite number"),
        (lambda: GalleryItem("a.jpg", "image"), "absolute path, got 'a.jpg'"),
        (lambda: GalleryItem("c1", "image", "a dog"), "is of kind 'text'"),
        (lambda: EvaluationQuery("", (TERM,), {}), "not empty"),
        (lambda: EvaluationQuery("q", (), {}), "asks for nothing"),
        (lambda: EvaluationQuery("q", (EvaluationTerm("text", "a", -1),), {}), "only says what is not sought"),
        (lambda: EvaluationQuery("q", (TERM,), {"/a": -1}), "a whole number from 0 up"),
        (lambda: EvaluationQuery("q", (TERM,), {"/a": 1.0}), "a whole number from 0 up"),
        (lambda: EvaluationQuery("q", (TERM,), {}, {"/a": ((0, 1),)}), "not among its relevant items"),
        (lambda: EvaluationQuery("q", (TERM,), {"/a": 1}, {"/a": ((2, 1),)}), "runs forward"),
        (lambda: EvaluationSet("", ()), "a set has a name"),
        (lambda: EvaluationSet("s", (EvaluationQuery("q", (TERM,), {}),) * 2), "two queries of s have the id 'q'"),
        (lambda: EvaluationSet("s", (), (GalleryItem("/a", "image"),) * 2), "two items of the gallery of s"),
        (
            lambda: EvaluationSet("s", (EvaluationQuery("q", (TERM,), {"/b": 1}),), (GalleryItem("/a", "image"),)),
            "query 'q' should find '/b', which is not in the gallery",
        ),
        (lambda: EvaluationSet("s", (EvaluationQuery("q", (TERM,), {}),), direction="text->image"), "in a set for"),
    ],
)
def test_values_are_checked_when_made(make, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        make()


def test_importing_the_table_is_light():
    code = (
        "import sys, mmsearch.evaluation.datasets;"
        "print(sorted({'sqlalchemy', 'torch', 'transformers', 'faiss', 'PIL', 'av', 'pandas'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
