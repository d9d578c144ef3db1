"""Videos with captions: MSR-VTT, MSVD, DiDeMo.

MSR-VTT (Xu et al., CVPR 2016): `train_val_videodatainfo.json` and `test_videodatainfo.json`, or both in one
`MSRVTT_data.json` as in https://github.com/ArrowLuo/CLIP4Clip/releases (msrvtt_data.zip), and `video0.mp4` ...
`video9999.mp4`:

    {"videos": [{"video_id": "video0", "split": "train", "id": 0, "category": 9, "url": ...,
                 "start time": 137.72, "end time": 149.44}, ...],
     "sentences": [{"caption": "a car is shown", "video_id": "video0", "sen_id": 0}, ...]}

Its splits are train, validate and test (2,990 videos, twenty captions each). What papers call the 1k-A split is
`MSRVTT_JSFUSION_test.csv` of the same archive, with the header `key,vid_key,video_id,sentence`: a thousand videos, a
caption each. Some copies have ";" in place of ",".

MSVD (https://www.cs.utexas.edu/~ml/clamp/videoDescription/): `AllVideoDescriptions.txt`, some lines of explanation
and then `-4wsuPCjDBc_5_15 a squirrel is eating a peanut` (YouTube id, start and end in seconds, caption), and
`YouTubeClips/*.avi`. The splits are `train_list.txt`, `val_list.txt` and `test_list.txt` of CLIP4Clip's
msvd_data.zip, one id a line; or follow from `youtube_mapping.txt` (`-4wsuPCjDBc_5_15 vid1`): 1,200, 100 and 670
videos in that order.

DiDeMo (https://github.com/LisaAnne/LocalizingMoments; annotations CC BY-NC-SA 4.0): `train_data.json`,
`val_data.json`, `test_data.json`:

    [{"annotation_id": 15635, "description": "...", "video": "18884893@N00_6162938983_0de25517bd.avi",
      "times": [[3, 3], [2, 3], [3, 3], [3, 3]], "num_segments": 6, "dl_link": ...}, ...]

`times` has an entry for each annotator: the first and the last chunk of five seconds, so that (3, 3) is 15 to 20 s
and (1, 4) is 5 to 25 s. Only the first 30 s of a video were annotated, and its last chunk may be shorter. Some names
end in a dot, and videos are passed on with other suffixes than the annotations name; so a video is found by its name,
with a suffix added, or with another in place of its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from indexer.errors import UsageError
from mmsearch.evaluation.cases import Span
from mmsearch.evaluation.datasets.folder import Folder
from mmsearch.evaluation.datasets.pairing import Key, Pairing
from mmsearch.evaluation.datasets.reading import bad_line, field_of, read_json, read_lines, read_table

_MSRVTT_FILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("train_val_videodatainfo.json", "MSRVTT_data.json", "videodatainfo_2017.json"),
        "validate": ("train_val_videodatainfo.json", "MSRVTT_data.json", "videodatainfo_2017.json"),
        "test": ("test_videodatainfo.json", "MSRVTT_data.json"),
        "1k-a": ("MSRVTT_JSFUSION_test.csv",),
    }
)

_MSVD_LINE = re.compile(r"(?P<video>\S{11}_\d+_\d+)\s+(?P<text>.*)", re.DOTALL)
_MSVD_SPLITS: Mapping[str, range] = MappingProxyType(
    {"train": range(1, 1201), "val": range(1201, 1301), "test": range(1301, 1971)}
)

DIDEMO_CHUNK_SECONDS = 5.0


def _video(pairing: Pairing, folder: Folder, name: str) -> Key | None:
    return pairing.media(folder, "video", folder.with_stem(name, ["video"]), name)


def load_msrvtt(folder: Folder, split: str | None) -> Pairing:
    """MSR-VTT; see the module. Ids: `key` in the 1k-A split ("ret0"), else `sen_id`."""
    if split is None:
        split = "1k-a" if folder.annotation(*_MSRVTT_FILES["1k-a"]) else "test"
    path = folder.annotation(*_MSRVTT_FILES[split])
    if path is None:
        raise UsageError(f"{' or '.join(_MSRVTT_FILES[split])} is not there, which the split {split!r} needs")
    pairing = Pairing(split)
    if split == "1k-a":
        for row in read_table(path, ["key", "video_id", "sentence"]):
            media = _video(pairing, folder, row.values["video_id"].strip())
            if media is not None:
                pairing.caption(media, row.values["key"].strip(), row.values["sentence"])
        return pairing
    table = read_json(path)
    wanted: dict[str, Key | None] = {}
    for number, video in enumerate(field_of(table, "videos", list, str(path))):
        where = f"{path}: videos[{number}]"
        if field_of(video, "split", str, where) == split:
            name = field_of(video, "video_id", str, where)
            wanted[name] = _video(pairing, folder, name)
    for number, sentence in enumerate(field_of(table, "sentences", list, str(path))):
        where = f"{path}: sentences[{number}]"
        media = wanted.get(field_of(sentence, "video_id", str, where))
        if media is not None:
            pairing.caption(
                media, str(field_of(sentence, "sen_id", int, where)), field_of(sentence, "caption", str, where)
            )
    if not wanted:
        raise UsageError(f"{path} has no video of the split {split!r}")
    return pairing


def load_msvd(folder: Folder, split: str | None) -> Pairing:
    """MSVD; see the module. The n-th caption of a video has the id `VIDEO#n`, from 0."""
    path = folder.annotation("AllVideoDescriptions.txt")
    if path is None:
        raise UsageError("AllVideoDescriptions.txt is not there")
    names = _msvd_names(folder)
    listed = _msvd_split(folder, split, names)
    pairing = Pairing("all" if listed is None else split or "test")
    if listed is None and split is None:
        pairing.notes.append(
            "no split lists were found, so every video is in the gallery; papers report the 670 of the test split"
        )
    counts: dict[str, int] = defaultdict(int)
    begun = False
    for line, text in read_lines(path):
        match = _MSVD_LINE.fullmatch(text)
        if match is None:
            if begun:
                pairing.skip(f"{path.name}:{line}", f"no description: {text[:60]!r}")
            continue  # the lines of explanation
        begun = True
        video = match["video"]
        if listed is not None and video not in listed:
            continue
        found = folder.with_stem(video, ["video"]) or folder.with_stem(names.get(video, video), ["video"])
        media = pairing.media(folder, "video", found, video)
        if media is not None:
            pairing.caption(media, f"{video}#{counts[video]}", match["text"])
        counts[video] += 1
    if not begun:
        raise bad_line(path, 1, "no description on any line", "lines such as: -4wsuPCjDBc_5_15 a squirrel is eating")
    return pairing


def _msvd_names(folder: Folder) -> dict[str, str]:
    """The short names of the videos ("vid1") by their long ones, where there is a table of them."""
    path = folder.annotation("youtube_mapping.txt")
    return {} if path is None else dict(_two(path, line, text) for line, text in read_lines(path))


def _two(path: Path, line: int, text: str) -> tuple[str, str]:
    words = text.split()
    if len(words) != 2:
        raise bad_line(path, line, repr(text[:100]), "a video's long name and its short one: -4wsuPCjDBc_5_15 vid1")
    return words[0], words[1]


def _msvd_split(folder: Folder, split: str | None, names: Mapping[str, str]) -> set[str] | None:
    """The videos of a split; None for all of them."""
    if split == "all":
        return None
    wanted = split or "test"
    path = folder.annotation(f"{wanted}_list.txt")
    if path is not None:
        return {Path(line).stem for _, line in read_lines(path)}
    if names:
        numbers = _MSVD_SPLITS[wanted]
        return {video for video, short in names.items() if int(re.sub(r"\D", "", short) or 0) in numbers}
    if split is None:
        return None
    raise UsageError(
        f"neither {wanted}_list.txt nor youtube_mapping.txt is in {folder.path}; add one of them, or take every video "
        "with --split all"
    )


def load_didemo(folder: Folder, split: str | None) -> Pairing:
    """DiDeMo with its moments; see the module. A description's id is its `annotation_id`.

    Every annotator's span is kept, in order: where they agree, it is there several times.
    """
    pairing = Pairing(split or "test")
    for record, media, where in _didemo(folder, pairing):
        spans = [_span(times, where) for times in field_of(record, "times", list, where)]
        pairing.caption(media, str(field_of(record, "annotation_id", int, where)), _description(record, where), spans)
    return pairing


def load_didemo_paragraphs(folder: Folder, split: str | None) -> Pairing:
    """DiDeMo as papers on video retrieval use it: all descriptions of a video, in order, are one query for it."""
    pairing = Pairing(split or "test")
    paragraphs: dict[Key, list[str]] = defaultdict(list)
    for record, media, where in _didemo(folder, pairing):
        paragraphs[media].append(_description(record, where).strip())
    for media, parts in paragraphs.items():
        pairing.caption(media, media[1], " ".join(parts))
    return pairing


def _didemo(folder: Folder, pairing: Pairing) -> Iterator[tuple[Any, Key, str]]:
    """Each annotation whose video is there, with its video, and where it is in the file."""
    name = f"{pairing.split}_data.json"
    path = folder.annotation(name)
    if path is None:
        raise UsageError(f"{name} is not there")
    records = read_json(path)
    if not isinstance(records, list):
        raise UsageError(f"{path}: found a JSON {type(records).__name__}; expected an array of annotations")
    for number, record in enumerate(records):
        where = f"{path}: [{number}]"
        video = field_of(record, "video", str, where)
        bare = video.rpartition(".")[0] or video
        found = (
            folder.named(video, ["video"]) or folder.with_stem(video, ["video"]) or folder.with_stem(bare, ["video"])
        )
        media = pairing.media(folder, "video", found, video)
        if media is not None:
            yield record, media, where


def _description(record: Any, where: str) -> str:
    return field_of(record, "description", str, where)


def _span(times: Any, where: str) -> Span:
    if not (
        isinstance(times, list) and len(times) == 2 and all(type(t) is int for t in times) and 0 <= times[0] <= times[1]
    ):
        raise UsageError(f"{where}: found the times {times!r}; expected the first and the last chunk, such as [1, 4]")
    return times[0] * DIDEMO_CHUNK_SECONDS, (times[1] + 1) * DIDEMO_CHUNK_SECONDS
