"""Sounds with captions or tags: Clotho, AudioCaps, ESC-50.

Clotho 2.1 (https://zenodo.org/records/4783391): `clotho_captions_{development,validation,evaluation}.csv`, with the
header `file_name,caption_1,caption_2,caption_3,caption_4,caption_5`, and WAV files in a folder for each split
(`development`, ... or `clotho_audio_evaluation`). The captions come under the Tampere University licence
(non-commercial with attribution), the sounds under the Creative Commons licences of their makers on Freesound.

AudioCaps (https://github.com/cdjkim/audiocaps, dataset/ and dataset2.0/; MIT; the sounds are YouTube's): `train.csv`,
`val.csv` and `test.csv`, with the header `audiocap_id,youtube_id,start_time,caption`; one row for each caption, five
a clip in val and test. The sounds are not published: each tool names the ten-second clips in its own way, see
`CLIP_NAMES`. Many are gone from YouTube, so a figure is always of the clips at hand.

ESC-50 (https://github.com/karolpiczak/ESC-50; CC BY-NC 3.0): `meta/esc50.csv`, with the header
`filename,fold,target,category,esc10,src_file,take`, and 2,000 clips in `audio/`. The query is a clip and its tag is
sought among fifty (a2t), or a tag and its forty clips (t2a). Its splits are the five folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from indexer.errors import UsageError
from indexer.names import Kind
from mmsearch.evaluation.datasets.folder import Folder
from mmsearch.evaluation.datasets.pairing import Pairing
from mmsearch.evaluation.datasets.reading import bad_line, read_table

_SOUNDS: Sequence[Kind] = ("audio", "video")  # a clip may have been fetched with its picture

CLIP_NAMES = (
    "{youtube}_{start}",
    "Y{youtube}_{start}",
    "{youtube}_{start}_{end}",
    "{youtube}_{start:06d}",
    "{youtube}",
    "Y{youtube}",
    "{row}",
)
"""How tools name an AudioCaps clip, before its suffix: by YouTube id, with the start (aac-datasets), with start and
end, with six digits for the start as in VGGSound, with a "Y" before it as in AudioSet archives, by the caption's id."""

_CLIP_SECONDS = 10


def load_clotho(folder: Folder, split: str | None) -> Pairing:
    """Clotho; see the module. The n-th caption of `x.wav` has the id `x.wav#n`, from 1."""
    split = split or "evaluation"
    path = folder.annotation(f"clotho_captions_{split}.csv")
    if path is None:
        raise UsageError(f"clotho_captions_{split}.csv is not there")
    columns = [f"caption_{number}" for number in range(1, 6)]
    pairing = Pairing(split)
    for row in read_table(path, ["file_name", *columns]):
        name = row.values["file_name"].strip()
        found = folder.named(name, ["audio"], under=(split, f"clotho_audio_{split}"))
        media = pairing.media(folder, "audio", found, name)
        if media is None:
            continue
        for number, column in enumerate(columns, 1):
            pairing.caption(media, f"{name}#{number}", row.values[column])
    return pairing


def load_audiocaps(folder: Folder, split: str | None) -> Pairing:
    """AudioCaps; see the module. A caption's id is its `audiocap_id`."""
    split = split or "test"
    table = folder.annotation(f"{split}.csv", f"audiocaps_{split}.csv")
    if table is None:
        raise UsageError(f"{split}.csv is not there")
    pairing = Pairing(split)
    for row in read_table(table, ["audiocap_id", "youtube_id", "start_time", "caption"]):
        youtube, start = row.values["youtube_id"].strip(), row.values["start_time"].strip()
        try:
            seconds = int(float(start))
        except (ValueError, OverflowError):
            raise bad_line(table, row.line, f"the start_time {start!r}", "seconds") from None
        names = (
            form.format(
                youtube=youtube, start=seconds, end=seconds + _CLIP_SECONDS, row=row.values["audiocap_id"].strip()
            )
            for form in CLIP_NAMES
        )
        found = next((path for name in names if (path := folder.with_stem(name, _SOUNDS, under=(split,)))), None)
        media = pairing.media(folder, "audio", found, f"{youtube}_{seconds}")
        if media is not None:
            pairing.caption(media, row.values["audiocap_id"].strip(), row.values["caption"])
    return pairing


def load_esc50(folder: Folder, split: str | None) -> Pairing:
    """ESC-50 as tagging; see the module. A tag's words are its category with blanks for underscores."""
    path = folder.annotation("meta/esc50.csv", "esc50.csv")
    if path is None:
        raise UsageError("meta/esc50.csv is not there")
    pairing = Pairing(split or "all")
    for row in read_table(path, ["filename", "fold", "category"]):
        if split in (None, "all") or row.values["fold"].strip() == split:
            name = row.values["filename"].strip()
            media = pairing.media(folder, "audio", folder.named(name, ["audio"]), name)
            if media is not None:
                pairing.label(media, row.values["category"].strip().replace("_", " "))
    return pairing
