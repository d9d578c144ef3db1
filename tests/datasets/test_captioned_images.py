# ruff: noqa: E501 - records are written as they are published
"""COCO, Flickr30k, Flickr8k: files as they are published, written byte by byte."""

from __future__ import annotations

import json

import pytest

from indexer.errors import UsageError
from mmsearch.evaluation.datasets import load_dataset

from .conftest import found, gallery, skipped, texts

# The first picture of the published file, and others like it. Spaces, line breaks and six captions are as published.
COCO = (
    b'{"images": [{"filepath": "val2014", "sentids": [770337, 771687, 772707, 776154, 781998], '
    b'"filename": "COCO_val2014_000000391895.jpg", "imgid": 0, "split": "test", "sentences": ['
    b'{"tokens": ["a", "man", "with", "a", "red", "helmet"], "raw": "A man with a red helmet on a small moped on a dirt '
    b'road. ", "imgid": 0, "sentid": 770337}, '
    b'{"tokens": ["man", "riding"], "raw": "Man riding a motor bike on a dirt road on the countryside.", "imgid": 0, '
    b'"sentid": 771687}, '
    b'{"tokens": ["a", "man", "riding"], "raw": "A man riding on the back of a motorcycle.\\n", "imgid": 0, "sentid": 772707}, '
    b'{"tokens": ["a", "dirt", "path"], "raw": "A dirt path with a young person on a motor bike rests to the foreground '
    b'of a verdant area with a bridge and a background of cloud-wreathed mountains. ", "imgid": 0, "sentid": 776154}, '
    b'{"tokens": ["a", "man"], "raw": "A man in a \\"red\\" shirt and a red hat is on a motorcycle on a hill side.", '
    b'"imgid": 0, "sentid": 781998}], "cocoid": 391895}, '
    b'{"filepath": "val2014", "sentids": [11, 12], "filename": "COCO_val2014_000000060623.jpg", "imgid": 1, '
    b'"split": "test", "sentences": [{"tokens": [], "raw": "A man riding on the back of a motorcycle.", "imgid": 1, '
    b'"sentid": 11}, {"tokens": [], "raw": " ", "imgid": 1, "sentid": 12}], "cocoid": 60623}, '
    b'{"filepath": "val2014", "sentids": [21], "filename": "COCO_val2014_000000483108.jpg", "imgid": 2, "split": "test", '
    b'"sentences": [{"tokens": [], "raw": "A train.", "imgid": 2, "sentid": 21}], "cocoid": 483108}, '
    b'{"filepath": "val2014", "sentids": [31], "filename": "COCO_val2014_000000384029.jpg", "imgid": 3, '
    b'"split": "restval", "sentences": [{"tokens": [], "raw": "Rest.", "imgid": 3, "sentid": 31}], "cocoid": 384029}, '
    b'{"filepath": "train2014", "sentids": [41], "filename": "COCO_train2014_000000057870.jpg", "imgid": 40504, '
    b'"split": "train", "sentences": [{"tokens": [], "raw": "A restaurant.", "imgid": 40504, "sentid": 41}], '
    b'"cocoid": 57870}], "dataset": "coco"}'
)
COCO_IMAGES = ["val2014/COCO_val2014_000000391895.jpg", "val2014/COCO_val2014_000000060623.jpg"]


def test_coco_texts_find_their_picture(lay):
    root = lay({"annotations/dataset_coco.json": COCO}, COCO_IMAGES)
    (case,) = load_dataset("coco", root, directions=["t2i"])
    assert (case.name, case.split, case.direction, case.channels) == ("coco", "test", "text->image", ())
    assert texts(case) == {
        "770337": "A man with a red helmet on a small moped on a dirt road.",
        "771687": "Man riding a motor bike on a dirt road on the countryside.",
        "772707": "A man riding on the back of a motorcycle.",
        "776154": "A dirt path with a young person on a motor bike rests to the foreground of a verdant area with a "
        "bridge and a background of cloud-wreathed mountains.",
        "781998": 'A man in a "red" shirt and a red hat is on a motorcycle on a hill side.',
        "11": "A man riding on the back of a motorcycle.",
    }
    assert gallery(case, root) == COCO_IMAGES
    first, second = COCO_IMAGES
    # The same words twice stay two queries, each for its own picture.
    assert found(case, root) == {
        **{key: {first: 1} for key in ("770337", "771687", "772707", "776154", "781998")},
        "11": {second: 1},
    }
    assert skipped(case) == {"12": "the text is empty", "val2014/COCO_val2014_000000483108.jpg": "the file is missing"}


def test_coco_pictures_find_their_texts(lay):
    root = lay({"dataset_coco.json": COCO}, COCO_IMAGES)
    both = load_dataset("coco", root)
    assert [case.direction for case in both] == ["text->image", "image->text"]
    case = both[1]
    first, second = COCO_IMAGES
    assert found(case, root) == {
        first: dict.fromkeys(("770337", "771687", "772707", "776154", "781998"), 1),
        second: {"11": 1},
    }
    assert gallery(case, root) == ["770337", "771687", "772707", "776154", "781998", "11"]
    assert case.gallery[5].text == "A man riding on the back of a motorcycle."
    assert [query.files for query in case.queries] == [(str((root / name).resolve()),) for name in COCO_IMAGES]


@pytest.mark.parametrize(
    ("split", "image"),
    [("restval", "val2014/COCO_val2014_000000384029.jpg"), ("train", "train2014/COCO_train2014_000000057870.jpg")],
)
def test_coco_splits(lay, split, image):
    root = lay({"dataset_coco.json": COCO}, [*COCO_IMAGES, image])
    (case,) = load_dataset("coco", root, split=split, directions=["t2i"])
    assert gallery(case, root) == [image]
    assert case.split == split


def test_coco_pictures_may_lie_anywhere_but_not_in_the_other_folder_of_that_name(lay):
    """The file name alone is enough; where the path's end matches, that file is taken."""
    name = COCO_IMAGES[0].split("/")[1]
    root = lay({"dataset_coco.json": COCO}, [f"images/{name}"])
    (case,) = load_dataset("coco", root, directions=["t2i"])
    assert gallery(case, root) == [f"images/{name}"]
    root = lay({"dataset_coco.json": COCO}, [f"a/{name}", f"b/val2014/{name}"], folder="other")
    (case,) = load_dataset("coco", root, directions=["t2i"])
    assert gallery(case, root) == [f"b/val2014/{name}"]


def test_what_is_missing_is_said_with_where_it_comes_from(lay):
    with pytest.raises(UsageError) as error:
        load_dataset("coco", lay({}, ["val2014/x.jpg"]))
    assert "dataset_coco.json is not there" in str(error.value)
    assert "caption_datasets.zip" in str(error.value)
    assert "cocodataset.org" in str(error.value)
    with pytest.raises(UsageError, match=r"3 files are missing, such as val2014/COCO_val2014_000000060623.jpg, val"):
        load_dataset("coco", lay({"dataset_coco.json": COCO}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"images": [', r"dataset_coco.json:1: found Expecting value \(column 13\); expected JSON"),
        (b'{"images": [\r\n{"split": "test"},\r\n oops]}', r"dataset_coco.json:3: found Expecting value"),
        (b"[" * 100_000, r"dataset_coco.json cannot be read as JSON \("),
        (b"9" * 5000, r"dataset_coco.json cannot be read as JSON \(Exceeds the limit"),
        (b'{"images": {}}', "found 'images' is {}; expected 'images' as a JSON array"),
        (b'{"images": [{"split": "test"}]}', r"images\[0\]: found no field 'filename', only split; expected"),
        (b'{"images": ["x"]}', r"images\[0\]: found a JSON str; expected an object with the field 'split'"),
        (b'{"images": [{"split": "val"}]}', "has no split 'test'; its splits are val"),
        (b'\xff{"images": []}', "dataset_coco.json:1: found the byte 0xff, which is not UTF-8"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(lay, content, said):
    with pytest.raises(UsageError, match=said):
        load_dataset("coco", lay({"dataset_coco.json": content}))


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(lay):
    plain = json.dumps(json.loads(COCO), indent=1).encode()
    windows = b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")
    one = lay({"dataset_coco.json": plain}, COCO_IMAGES)
    two = lay({"dataset_coco.json": windows}, COCO_IMAGES, folder="windows")
    (first,), (second,) = (load_dataset("coco", root, directions=["t2i"]) for root in (one, two))
    assert texts(first) == texts(second)
    assert found(first, one) == found(second, two)


# --- Flickr ---

RESULTS_CSV = (
    b"image_name| comment_number| comment\n"
    b"1000092795.jpg| 0| Two young guys with shaggy hair look at their hands while hanging out in the yard .\n"
    b"1000092795.jpg| 1| Two young , White males are outside near many bushes .\n"
    b"1000092795.jpg| 2| Two men in green shirts are standing in a yard .\n"
    b'1000092795.jpg| 3| A man in a blue shirt says " hi " .\n'
    b"1000092795.jpg| 4| Two friends enjoy time spent together .\n"
    b"2199200615.jpg| 3| A dog is running .\n"
    b"2199200615.jpg| 4   A dog runs across the grass .\n"
)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_flickr30k_from_kaggle(lay, ends):
    """No quoting, and the one line without its second bar."""
    root = lay(
        {"results.csv": RESULTS_CSV.replace(b"\n", ends)},
        ["flickr30k_images/1000092795.jpg", "flickr30k_images/2199200615.jpg"],
    )
    (case,) = load_dataset("flickr30k", root, directions=["t2i"])
    assert texts(case) == {
        "1000092795.jpg#0": "Two young guys with shaggy hair look at their hands while hanging out in the yard .",
        "1000092795.jpg#1": "Two young , White males are outside near many bushes .",
        "1000092795.jpg#2": "Two men in green shirts are standing in a yard .",
        "1000092795.jpg#3": 'A man in a blue shirt says " hi " .',
        "1000092795.jpg#4": "Two friends enjoy time spent together .",
        "2199200615.jpg#3": "A dog is running .",
        "2199200615.jpg#4": "A dog runs across the grass .",
    }
    assert found(case, root)["2199200615.jpg#4"] == {"flickr30k_images/2199200615.jpg": 1}
    assert case.split == "all"
    assert "every picture is in the gallery" in case.notes[0]
    with pytest.raises(UsageError, match=r"says nothing of splits, and none of .*test.txt.* is in"):
        load_dataset("flickr30k", root, split="test")


def test_flickr30k_from_tokens_and_lists(lay):
    """The lists of Flickr30k Entities are ids without a suffix."""
    tokens = (
        b"1000092795.jpg#0\tTwo young guys with shaggy hair .\n"
        b"1000092795.jpg#1\tTwo young , White males # outside .\n"
        b"10002456.jpg#0\tSeveral men in hard hats .\n"
    )
    root = lay(
        {"results_20130124.token": tokens, "val.txt": b"1000092795\n", "test.txt": b"10002456\n"},
        ["flickr30k-images/1000092795.jpg", "flickr30k-images/10002456.jpg"],
    )
    (case,) = load_dataset("flickr30k", root, directions=["t2i"])
    assert (case.split, texts(case)) == ("test", {"10002456.jpg#0": "Several men in hard hats ."})
    (case,) = load_dataset("flickr30k", root, split="val", directions=["t2i"])
    assert texts(case)["1000092795.jpg#1"] == "Two young , White males # outside ."
    (case,) = load_dataset("flickr30k", root, split="all", directions=["t2i"])
    assert len(case.queries) == 3
    assert case.notes == ()


TOKENS_8K = (
    b"1000268201_693b08cb0e.jpg#0\tA child in a pink dress is climbing up a set of stairs in an entry way .\r\n"
    b"1000268201_693b08cb0e.jpg#1\tA girl going into a wooden building .\r\n"
    b"2258277193_586949ec62.jpg.1#0\tpeople waiting for the subway\r\n"
    b"1001773457_577c3a7d70.jpg#0\tA black dog and a spotted dog are fighting\r\n"
    b"1001773457_577c3a7d70.jpg#1\t\r\n"
)


def test_flickr8k_from_tokens_and_lists(lay):
    """A caption of a picture that was never published, an empty caption, Windows line ends."""
    root = lay(
        {
            "Flickr8k_text/Flickr8k.token.txt": TOKENS_8K,
            "Flickr8k_text/Flickr_8k.testImages.txt": b"1001773457_577c3a7d70.jpg\r\n",
        },
        ["Flicker8k_Dataset/1000268201_693b08cb0e.jpg", "Flicker8k_Dataset/1001773457_577c3a7d70.jpg"],
    )
    (case,) = load_dataset("flickr8k", root, directions=["t2i"])
    assert texts(case) == {"1001773457_577c3a7d70.jpg#0": "A black dog and a spotted dog are fighting"}
    assert skipped(case) == {"1001773457_577c3a7d70.jpg#1": "the text is empty"}
    (case,) = load_dataset("flickr8k", root, split="all", directions=["t2i"])
    assert list(texts(case)) == [
        "1000268201_693b08cb0e.jpg#0",
        "1000268201_693b08cb0e.jpg#1",
        "1001773457_577c3a7d70.jpg#0",
    ]
    assert skipped(case)["2258277193_586949ec62.jpg.1"] == "the file is missing"


def test_flickr8k_from_kaggle(lay):
    """CSV with quotes, commas and a line break inside a quoted field."""
    root = lay(
        {
            "captions.txt": b"image,caption\n"
            b"1000268201_693b08cb0e.jpg,A child in a pink dress is climbing up a set of stairs in an entry way .\n"
            b'1000268201_693b08cb0e.jpg,"A ""little"" girl , climbing\ninto a wooden playhouse ."\n'
            b"1001773457_577c3a7d70.jpg,A black dog\n"
        },
        ["Images/1000268201_693b08cb0e.jpg", "Images/1001773457_577c3a7d70.JPG"],
    )
    (case,) = load_dataset("flickr8k", root, directions=["t2i"])
    assert texts(case) == {
        "1000268201_693b08cb0e.jpg#0": "A child in a pink dress is climbing up a set of stairs in an entry way .",
        "1000268201_693b08cb0e.jpg#1": 'A "little" girl , climbing into a wooden playhouse .',
        "1001773457_577c3a7d70.jpg#0": "A black dog",
    }
    assert gallery(case, root) == ["Images/1000268201_693b08cb0e.jpg", "Images/1001773457_577c3a7d70.JPG"]


def test_karpathys_file_goes_before_the_others(lay):
    flickr = (
        b'{"images": [{"sentids": [0], "imgid": 0, "sentences": [{"tokens": ["two"], "raw": "Two young guys.", "imgid": 0, '
        b'"sentid": 0}], "split": "test", "filename": "1000092795.jpg"}], "dataset": "flickr30k"}'
    )
    root = lay({"dataset_flickr30k.json": flickr, "results.csv": RESULTS_CSV}, ["1000092795.jpg"])
    (case,) = load_dataset("flickr30k", root, directions=["t2i"])
    assert texts(case) == {"0": "Two young guys."}


@pytest.mark.parametrize(
    ("name", "file", "content", "said"),
    [
        ("flickr30k", "results.csv", b"image_name| comment_number| comment\n\n\nx.jpg\n", r"results.csv:4: found 'x.jpg'; expected NAME"),
        ("flickr8k", "Flickr8k.token.txt", b"x.jpg#0\tA\nx.jpg A\n", r"token.txt:2: found 'x.jpg A'; expected NAME.jpg#NUMBER"),
        ("flickr8k", "captions.txt", b"file,text\nx.jpg,A\n", r"captions.txt:1: found the header 'file,text'; expected the columns image"),
        ("flickr8k", "captions.txt", b'image,caption\nx.jpg,A\nx.jpg,"B\n', r"captions.txt:3: found a record that cannot be read"),
        ("flickr8k", "captions.txt", b"image,caption\nx.jpg,A,B\n", r"captions.txt:2: found 3 fields; expected 2"),
    ],
)  # fmt: skip
def test_bad_lines_are_named(lay, name, file, content, said):
    with pytest.raises(UsageError, match=said):
        load_dataset(name, lay({file: content}, ["x.jpg"]))
