"""Data sets, in the files as they are published: a table of them, and `load_dataset`, which reads one.

Each row says which files it expects and where they come from; nothing is downloaded. How each format looks is told in
the module that reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from indexer.errors import UsageError
from mmsearch.evaluation.cases import EvaluationSet
from mmsearch.evaluation.datasets import audio, audiovisual, flickr, karpathy, sidecar, trec, video
from mmsearch.evaluation.datasets.folder import Folder
from mmsearch.evaluation.datasets.judged import Parser, read_jsonl, read_judged_table
from mmsearch.evaluation.datasets.pairing import Pairing, check_direction

__all__ = ["DATASETS", "DataSet", "load_dataset", "load_judgements"]


@dataclass(frozen=True, slots=True)
class DataSet:
    """One row of the table.

    `title`: what it is. `load`: reads it; the split is None when nobody named one. `files`: what the folder must hold,
    media aside. `source`: where these come from. `directions`: those that make sense, such as "t2i" for text to image.
    `splits`: those it has, the one that is usual for evaluation first; empty without any.
    `is_anywhere`: it has no gallery that is the same for everyone, so that it is named by its folder too.
    """

    title: str
    load: Callable[[Folder, str | None], Pairing]
    files: str
    source: str
    directions: tuple[str, ...]
    splits: tuple[str, ...] = ()
    is_anywhere: bool = False


_CAPTIONED = ("t2i", "i2t")
_HEARD = ("t2a", "a2t")
_FILMED = ("t2v", "v2t")
_BOTH = ("a2v", "v2a", "a2i", "i2a", *_HEARD, *_FILMED)
_KARPATHY = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
_AVE = "https://github.com/YapengTian/AVE-ECCV18"
_VGGSOUND = "https://github.com/hche11/VGGSound"
_DIDEMO = "https://github.com/LisaAnne/LocalizingMoments"

DATASETS: Mapping[str, DataSet] = MappingProxyType(
    {
        "coco": DataSet(
            "COCO captions, Karpathy's splits",
            karpathy.load_coco,
            "dataset_coco.json",
            f"{_KARPATHY} and https://cocodataset.org/#download (train2014, val2014)",
            _CAPTIONED,
            ("test", "val", "restval", "train"),
        ),
        "flickr30k": DataSet(
            "Flickr30k",
            flickr.load_flickr30k,
            "dataset_flickr30k.json, or results_20130124.token or results.csv (with train.txt, val.txt, test.txt)",
            f"{_KARPATHY}; https://shannon.cs.illinois.edu/DenotationGraph/; "
            "https://www.kaggle.com/datasets/hsankesara/flickr-image-dataset",
            _CAPTIONED,
            ("test", "val", "train", "all"),
        ),
        "flickr8k": DataSet(
            "Flickr8k",
            flickr.load_flickr8k,
            "dataset_flickr8k.json, or Flickr8k.token.txt or captions.txt (with Flickr_8k.testImages.txt, ...)",
            f"{_KARPATHY}; https://github.com/jbrownlee/Datasets/releases; "
            "https://www.kaggle.com/datasets/adityajn105/flickr8k",
            _CAPTIONED,
            ("test", "val", "train", "all"),
        ),
        "clotho": DataSet(
            "Clotho: sounds with captions",
            audio.load_clotho,
            "clotho_captions_SPLIT.csv",
            "https://zenodo.org/records/4783391",
            _HEARD,
            ("evaluation", "validation", "development"),
        ),
        "audiocaps": DataSet(
            "AudioCaps: sounds with captions",
            audio.load_audiocaps,
            "SPLIT.csv",
            "https://github.com/cdjkim/audiocaps (dataset/); the clips are YouTube's",
            _HEARD,
            ("test", "val", "train"),
        ),
        "esc50": DataSet(
            "ESC-50: sounds with a tag of fifty",
            audio.load_esc50,
            "meta/esc50.csv",
            "https://github.com/karolpiczak/ESC-50",
            ("a2t", "t2a"),
            ("all", "1", "2", "3", "4", "5"),
        ),
        "msrvtt": DataSet(
            "MSR-VTT: videos with captions",
            video.load_msrvtt,
            "MSRVTT_JSFUSION_test.csv (for 1k-a), or test_videodatainfo.json, train_val_videodatainfo.json or "
            "MSRVTT_data.json",
            "https://github.com/ArrowLuo/CLIP4Clip/releases (msrvtt_data.zip)",
            _FILMED,
            ("1k-a", "test", "validate", "train"),
        ),
        "msvd": DataSet(
            "MSVD: videos with captions",
            video.load_msvd,
            "AllVideoDescriptions.txt, with SPLIT_list.txt or youtube_mapping.txt for splits",
            "https://www.cs.utexas.edu/~ml/clamp/videoDescription/ and https://github.com/ArrowLuo/CLIP4Clip/releases "
            "(msvd_data.zip)",
            _FILMED,
            ("test", "val", "train", "all"),
        ),
        "didemo": DataSet(
            "DiDeMo: moments in videos",
            video.load_didemo,
            "SPLIT_data.json",
            _DIDEMO,
            _FILMED,
            ("test", "val", "train"),
        ),
        "didemo-paragraphs": DataSet(
            "DiDeMo: all descriptions of a video as one query",
            video.load_didemo_paragraphs,
            "SPLIT_data.json",
            _DIDEMO,
            _FILMED,
            ("test", "val", "train"),
        ),
        "ave": DataSet(
            "AVE: sound and picture of one clip",
            audiovisual.load_ave,
            "testSet.txt, valSet.txt, trainSet.txt",
            _AVE,
            _BOTH,
            ("test", "val", "train", "all"),
        ),
        "ave-classes": DataSet(
            "AVE: sound and picture of one category",
            audiovisual.load_ave_classes,
            "testSet.txt, valSet.txt, trainSet.txt",
            _AVE,
            _BOTH,
            ("test", "val", "train", "all"),
        ),
        "vggsound": DataSet(
            "VGGSound: sound and picture of one clip",
            audiovisual.load_vggsound,
            "vggsound.csv",
            _VGGSOUND,
            _BOTH,
            ("test", "train", "all"),
        ),
        "vggsound-classes": DataSet(
            "VGGSound: sound and picture of one category",
            audiovisual.load_vggsound_classes,
            "vggsound.csv",
            _VGGSOUND,
            _BOTH,
            ("test", "train", "all"),
        ),
        "trec": DataSet(
            "judgements in TREC's qrels format",
            trec.load_trec,
            "qrels.txt and queries.tsv",
            "https://trec.nist.gov/data/qrels_eng/",
            ("t2i", "t2v", "t2a"),
            is_anywhere=True,
        ),
        "folder": DataSet(
            "a folder where each media file has a .txt beside it",
            sidecar.load_sidecar,
            "cat.txt beside cat.jpg",
            "your own",
            (*_CAPTIONED, *_HEARD, *_FILMED),
            is_anywhere=True,
        ),
    }
)
"""Every data set that can be named."""


def load_dataset(
    name: str, folder: str | os.PathLike[str], *, split: str | None = None, directions: Sequence[str] = ()
) -> tuple[EvaluationSet, ...]:
    """Read a data set from a folder, as one evaluation set for each direction.

    Args:
        name: a row of `DATASETS`.
        folder: where its files are, at any depth.
        split: one of the data set's splits; its usual one for evaluation when None.
        directions: such as "t2i"; all that make sense and for which there are pairs when empty.

    Raises:
        UsageError: there is no such data set, split or direction, or files are missing or damaged. The message names
        the
            file (and line) and says where it comes from.
    """
    row = DATASETS.get(name)
    if row is None:
        raise UsageError(f"there is no data set {name!r}; those are: {', '.join(DATASETS)}")
    if split is not None and split not in row.splits:
        has = f"its splits are {', '.join(row.splits)}" if row.splits else "it has no splits"
        raise UsageError(f"{name} has no split {split!r}; {has}")
    for direction in directions:
        if check_direction(direction) not in row.directions:
            raise UsageError(f"{name} is not for {direction}; its directions are {', '.join(row.directions)}")
    place = Folder(folder)
    try:
        pairing = row.load(place, split)
    except UsageError as error:
        raise UsageError(f"{name} in {place.path}: {error}\n{_expected(row)}") from error
    there = pairing.directions()
    wanted = list(dict.fromkeys(directions)) or [direction for direction in row.directions if direction in there]
    absent = [direction for direction in wanted if direction not in there]
    if not there or absent:
        raise UsageError(f"{name} in {place.path}: {_nothing(pairing, absent)}\n{_expected(row)}")
    title = f"{name}:{place.path}" if row.is_anywhere else name
    return tuple(pairing.to_set(title, direction, row.source) for direction in wanted)


def load_judgements(path: str | os.PathLike[str], *, parse: Parser | None = None) -> EvaluationSet:
    """Read judgements that somebody wrote for their own files: `qrels.jsonl`, or a CSV table by its suffix.

    Args:
        path: the file; a CSV table when its name ends in .csv or .tsv.
        parse: reads strings in the grammar of the command line, and the folder that paths are relative to.

    Raises:
        UsageError: lines cannot be used: each is named, with what was found and what was expected.
    """
    place = Path(os.path.expanduser(os.fspath(path)))
    if place.is_dir():
        raise UsageError(f"{place} is a folder; name the file with the judgements, such as {place / 'qrels.jsonl'}")
    if place.suffix.lower() in (".csv", ".tsv"):
        return read_judged_table(place)
    return read_jsonl(place, parse)


def _expected(row: DataSet) -> str:
    return f"{row.title}: expected {row.files}, and the media. From: {row.source}"


def _nothing(pairing: Pairing, absent: Sequence[str]) -> str:
    """Why there is nothing to evaluate."""
    missing = sorted(pairing.missing)
    gone = f"; {len(missing)} files are missing, such as {', '.join(missing[:3])}" if missing else ""
    if absent and pairing.links:
        return f"there are no pairs for {', '.join(absent)}, only for {', '.join(sorted(pairing.directions()))}{gone}"
    return f"there is nothing to evaluate{gone}"
