"""Pictures with captions, in the JSON files of Andrej Karpathy's splits: COCO, Flickr30k, Flickr8k.

Files: `dataset_coco.json`, `dataset_flickr30k.json`, `dataset_flickr8k.json`, from
https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip, and the pictures anywhere in the folder.

    {"images": [{"filepath": "val2014", "filename": "COCO_val2014_000000391895.jpg", "split": "test", "imgid": 0,
                 "sentids": [770337, ...], "cocoid": 391895,
                 "sentences": [{"tokens": ["a", ...], "raw": "A man ...", "imgid": 0, "sentid": 770337}, ...]},
     ...], "dataset": "coco"}

Only COCO has `filepath` and `cocoid`, and a split `restval` (the rest of val2014, which many train on). COCO's
pictures: https://cocodataset.org/#download
(train2014, val2014); captions CC BY 4.0, pictures under the terms of Flickr's users. The fields are described at
https://huggingface.co/datasets/laicsiifes/coco-captions-pt-br. Some pictures have six or seven captions; all are kept.
"""

from __future__ import annotations

from pathlib import Path

from indexer.errors import UsageError
from mmsearch.evaluation.datasets.folder import Folder
from mmsearch.evaluation.datasets.pairing import Pairing
from mmsearch.evaluation.datasets.reading import field_of, read_json


def load_coco(folder: Folder, split: str | None) -> Pairing:
    """COCO captions; see the module. The text with `sentid` is the caption's id."""
    path = folder.annotation("dataset_coco.json")
    if path is None:
        raise UsageError("dataset_coco.json is not there")
    return read_karpathy(path, folder, split or "test")


def read_karpathy(path: Path, folder: Folder, split: str) -> Pairing:
    """The pictures and captions of one split of a Karpathy JSON file."""
    pairing = Pairing(split)
    seen = set()
    for number, image in enumerate(field_of(read_json(path), "images", list, str(path))):
        where = f"{path}: images[{number}]"
        seen.add(field_of(image, "split", str, where))
        if image["split"] != split:
            continue
        name = field_of(image, "filename", str, where)
        place = "/".join(part for part in (image.get("filepath", ""), name) if part)
        media = pairing.media(folder, "image", folder.named(place, ["image"]), place)
        if media is None:
            continue
        for sentence in field_of(image, "sentences", list, where):
            pairing.caption(media, str(field_of(sentence, "sentid", int, where)), field_of(sentence, "raw", str, where))
    if split not in seen:
        raise UsageError(f"{path} has no split {split!r}; its splits are {', '.join(sorted(seen)) or 'none'}")
    return pairing
