"""Clips whose sound and picture belong together: AVE and VGGSound, for retrieval between sound and picture.

AVE (https://github.com/YapengTian/AVE-ECCV18): `Annotations.txt` with the header
`Category&VideoID&Quality&StartTime&EndTime`, and `trainSet.txt`, `valSet.txt` and `testSet.txt` with such rows, with or
without the header (`Church bell&RUhOCu3LNXM&good&0&10`); clips of ten seconds, `AVE/VIDEOID.mp4`. A clip may have
several rows, and some rows have an empty span. What happens in the span is both seen and heard. No licence is stated.

VGGSound (https://github.com/hche11/VGGSound; CC BY 4.0): `vggsound.csv` without a header,
`---g-f_I2yQ,1,people marching,test` (YouTube id, start in seconds, label, split; labels with a comma are in quotes),
and clips named with six digits for the start, `---g-f_I2yQ_000001.mp4`.

A clip gives three pieces: its sound (an audio file `ID.wav` if there is one, else the clip itself, of which only the
sound is meant), its video, and its picture (`ID.jpg`, a frame that somebody took out, if there is one). By the name
of the data set, a sound should find the video of its own clip (`ave`, `vggsound`), or of any clip of its category
(`ave-classes`, `vggsound-classes`). The category's name is a text that goes with every clip in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from indexer.errors import UsageError
from mmsearch.evaluation.cases import Span
from mmsearch.evaluation.datasets.folder import Folder
from mmsearch.evaluation.datasets.pairing import Key, Pairing
from mmsearch.evaluation.datasets.reading import bad_line, read_lines, read_records

_MOST_PAIRS = 20_000_000

_AVE_HEADER = "category&videoid&quality&starttime&endtime"
_AVE_LISTS = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt", "all": "Annotations.txt"}


@dataclass(frozen=True, slots=True)
class _Event:
    """One row: `name` is the clip's file without its suffix; `span` is None where the row gives none."""

    name: str
    category: str
    span: Span | None = None


def load_ave(folder: Folder, split: str | None) -> Pairing:
    """AVE, where sound and picture of one clip belong together; see the module."""
    return _clips(folder, split or "test", _ave(folder, split or "test"))


def load_ave_classes(folder: Folder, split: str | None) -> Pairing:
    """AVE, where sounds and pictures of one category belong together; see the module."""
    return _clips(folder, split or "test", _ave(folder, split or "test"), by_class=True)


def load_vggsound(folder: Folder, split: str | None) -> Pairing:
    """VGGSound, where sound and picture of one clip belong together; see the module."""
    return _clips(folder, split or "test", _vggsound(folder, split or "test"))


def load_vggsound_classes(folder: Folder, split: str | None) -> Pairing:
    """VGGSound, where sounds and pictures of one category belong together; see the module."""
    return _clips(folder, split or "test", _vggsound(folder, split or "test"), by_class=True)


def _ave(folder: Folder, split: str) -> Iterable[_Event]:
    path = folder.annotation(_AVE_LISTS[split])
    if path is None:
        raise UsageError(f"{_AVE_LISTS[split]} is not there")
    for line, text in read_lines(path):
        fields = text.split("&")
        if text.lower() == _AVE_HEADER:
            continue
        try:
            category, video, _, start, end = fields
            span = float(start), float(end)
        except ValueError:
            raise bad_line(path, line, repr(text[:100]), "Category&VideoID&Quality&StartTime&EndTime") from None
        yield _Event(video, category, span if 0 <= span[0] < span[1] else None)


def _vggsound(folder: Folder, split: str) -> Iterable[_Event]:
    path = folder.annotation("vggsound.csv")
    if path is None:
        raise UsageError("vggsound.csv is not there")
    for line, fields in read_records(path):
        if len(fields) != 4 or not fields[1].strip().isdecimal():
            found = f"{len(fields)} fields: {','.join(fields)[:100]!r}"
            raise bad_line(path, line, found, "four: YouTube id, start in whole seconds, label, split")
        youtube, start, label, of = (field.strip() for field in fields)
        if split in (of, "all"):
            yield _Event(f"{youtube}_{int(start):06d}", label)


def _clips(folder: Folder, split: str, events: Iterable[_Event], *, by_class: bool = False) -> Pairing:
    """The pieces of every clip, and what belongs together."""
    pairing = Pairing(split)
    pieces: dict[str, dict[str, Key]] = {}
    categories: dict[str, list[str]] = defaultdict(list)
    for event in events:
        if event.name not in pieces:
            pieces[event.name] = _pieces(pairing, folder, event.name)
        if event.name not in categories[event.category]:
            categories[event.category].append(event.name)
        for kind, key in pieces[event.name].items():
            moments = [event.span] if event.span and kind != "image" else []
            pairing.label(key, event.category, moments)
    groups = list(categories.values()) if by_class else [[name] for name in pieces]
    pairs = sum(len(group) ** 2 for group in groups)
    if pairs > _MOST_PAIRS:
        raise UsageError(
            f"by category the split {split!r} has {pairs:,} pairs, more than fit into memory; take the test split"
        )
    for group in groups:
        for one, other in product(group, repeat=2):
            for seen in ("video", "image"):
                if "audio" in pieces[one] and seen in pieces[other]:
                    pairing.link(pieces[one]["audio"], pieces[other][seen])
    return pairing


def _pieces(pairing: Pairing, folder: Folder, name: str) -> dict[str, Key]:
    """What there is of one clip."""
    found: dict[str, Key] = {}
    video = folder.with_stem(name, ["video"])
    sound, picture = folder.with_stem(name, ["audio"]) or video, folder.with_stem(name, ["image"])
    if sound is None and picture is None:
        pairing.media(folder, "video", None, name)
    if sound is not None:
        found["audio"] = pairing.add("audio", folder.relative(sound), sound)
    if video is not None:
        found["video"] = pairing.add("video", folder.relative(video), video)
    if picture is not None:
        found["image"] = pairing.add("image", folder.relative(picture), picture)
    return found
