"""Flickr30k and Flickr8k, in each of the forms in which they go round.

1. Karpathy's JSON, with splits: see `karpathy`.
2. The authors' token file, one caption a line, `1000092795.jpg#0<TAB>Two young guys ...`. Of Flickr30k it is
   `results_20130124.token` (https://shannon.cs.illinois.edu/DenotationGraph/), and the splits are lists of ids without
   a suffix, `train.txt`, `val.txt` and `test.txt` (https://github.com/BryanPlummer/flickr30k_entities). Of Flickr8k it
   is `Flickr8k.token.txt` (https://github.com/jbrownlee/Datasets/releases: Flickr8k_text.zip), and the splits are lists
   of file names, `Flickr_8k.trainImages.txt`, `Flickr_8k.devImages.txt` and `Flickr_8k.testImages.txt`.
3. Kaggle's tables. Of Flickr30k it is `results.csv` (https://www.kaggle.com/datasets/hsankesara/flickr-image-dataset),
   with the header `image_name| comment_number| comment` and no quoting. Of Flickr8k it is `captions.txt`
   (https://www.kaggle.com/datasets/adityajn105/flickr8k), a CSV file with the header `image,caption`.

What is odd in them: one line of results.csv lacks its second bar (`2199200615.jpg| 4   A dog runs across ...`), and
Flickr8k's token file has captions of a picture that was never published (`2258277193_586949ec62.jpg.1`). Of Flickr8k's
8,091 pictures, 8,000 are in a split. The pictures come under the terms of Flickr, for research without profit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from indexer.errors import UsageError
from mmsearch.evaluation.datasets.folder import Folder
from mmsearch.evaluation.datasets.karpathy import read_karpathy
from mmsearch.evaluation.datasets.pairing import Pairing
from mmsearch.evaluation.datasets.reading import bad_line, read_lines, read_table

Captions = Iterator[tuple[str, str, str]]
"""File name, id of the caption, caption."""

_TOKEN = re.compile(r"(?P<name>[^\t]+)#(?P<number>\d+)\t(?P<text>.*)", re.DOTALL)
_BARS = re.compile(r"(?P<name>[^|]+)\|\s*(?P<number>\d+)\s*(?:\||\s{2,})(?P<text>.*)", re.DOTALL)

LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("Flickr_8k.trainImages.txt", "flickr30k_train.txt", "train.txt"),
        "val": ("Flickr_8k.devImages.txt", "flickr30k_val.txt", "val.txt"),
        "test": ("Flickr_8k.testImages.txt", "flickr30k_test.txt", "test.txt"),
    }
)
"""The files that may list the pictures of a split."""


def read_tokens(path: Path) -> Captions:
    """A token file: `NAME#NUMBER<TAB>CAPTION` on each line. A caption may be empty, which is reported later."""
    for line, text in read_lines(path):
        # A line was stripped, so that an empty caption leaves no tab.
        match = _TOKEN.fullmatch(text) or _TOKEN.fullmatch(text + "\t")
        if match is None:
            raise bad_line(path, line, repr(text[:100]), "NAME.jpg#NUMBER, a tab and the caption")
        yield match["name"], f"{match['name']}#{match['number']}", match["text"]


def read_bars(path: Path) -> Captions:
    """Kaggle's results.csv: `NAME| NUMBER| CAPTION` after a header. Quotes are part of the caption."""
    for index, (line, text) in enumerate(read_lines(path)):
        if not index:
            continue  # the header
        match = _BARS.fullmatch(text) or _BARS.fullmatch(text + "|")
        if match is None:
            raise bad_line(path, line, repr(text[:100]), "NAME.jpg| NUMBER| CAPTION")
        yield match["name"].strip(), f"{match['name'].strip()}#{match['number']}", match["text"]


def read_captions_table(path: Path) -> Captions:
    """Kaggle's captions.txt: CSV with the columns image and caption. A picture's captions are numbered as they come."""
    counts: dict[str, int] = {}
    for row in read_table(path, ["image", "caption"]):
        name = row.values["image"].strip()
        counts[name] = counts.get(name, -1) + 1
        yield name, f"{name}#{counts[name]}", row.values["caption"]


_FORMS: Mapping[str, Callable[[Path], Captions]] = MappingProxyType(
    {
        "results_20130124.token": read_tokens,
        "Flickr8k.token.txt": read_tokens,
        "results.csv": read_bars,
        "captions.txt": read_captions_table,
    }
)


def load_flickr30k(folder: Folder, split: str | None) -> Pairing:
    """Flickr30k; see the module."""
    return _load(folder, split, "dataset_flickr30k.json", ("results_20130124.token", "results.csv"))


def load_flickr8k(folder: Folder, split: str | None) -> Pairing:
    """Flickr8k; see the module."""
    return _load(folder, split, "dataset_flickr8k.json", ("Flickr8k.token.txt", "captions.txt"))


def _load(folder: Folder, split: str | None, karpathy: str, others: tuple[str, ...]) -> Pairing:
    if path := folder.annotation(karpathy):
        return read_karpathy(path, folder, split or "test")
    path = folder.annotation(*others)
    if path is None:
        raise UsageError(f"none of {', '.join((karpathy, *others))} is there")
    listed = _listed(folder, split, path, karpathy)
    pairing = Pairing("all" if listed is None else split or "test")
    if listed is None and split is None:
        pairing.notes.append(
            "no split lists were found, so every picture is in the gallery; papers report the test split alone"
        )
    for name, id, text in _FORMS[path.name](path):
        if listed is not None and Path(name).stem not in listed:
            continue
        media = pairing.media(folder, "image", folder.named(name, ["image"]), name)
        if media is not None:
            pairing.caption(media, id, text)
    return pairing


def _listed(folder: Folder, split: str | None, captions: Path, karpathy: str) -> set[str] | None:
    """The stems of the pictures in a split; None for all pictures."""
    if split == "all":
        return None
    names = LISTS[split or "test"]
    path = folder.annotation(*names)
    if path is not None:
        return {Path(line).stem for _, line in read_lines(path)}
    if split is None:
        return None
    raise UsageError(
        f"{captions} says nothing of splits, and none of {', '.join(names)} is in {folder.path}; add one of them or "
        f"{karpathy}, or take every picture with --split all"
    )
