"""A folder where each media file has a text beside it: `cat.jpg` and `cat.txt` (or `cat.jpg.txt`).

This is how collections of captioned pictures and sounds for training often lie on disk, and the easiest to make by
hand. Each line of the text that is not blank is a caption. A media file without one is in the gallery all the same,
to be told apart from the others.
"""

from __future__ import annotations

from pathlib import Path

from indexer.errors import UsageError
from mmsearch.evaluation.datasets.folder import Folder, kind_of
from mmsearch.evaluation.datasets.pairing import Pairing
from mmsearch.evaluation.datasets.reading import read_lines


def load_sidecar(folder: Folder, split: str | None) -> Pairing:
    """Media files and the texts beside them; see the module. The n-th caption of a file has the id `FILE#n`, from 0."""
    pairing = Pairing()
    files = set(folder.files)
    bare = 0
    for file in folder.files:
        kind = kind_of(file)
        if kind is None or kind == "text":
            continue
        media = pairing.add(kind, folder.relative(file), file)
        beside = [text for text in (f"{file}.txt", str(Path(file).with_suffix(".txt"))) if text in files]
        bare += not beside
        lines = [text for _, text in read_lines(Path(beside[0]))] if beside else []
        if beside and not lines:
            pairing.skip(folder.relative(beside[0]), "the text is empty")
        for number, text in enumerate(lines):
            pairing.caption(media, f"{folder.relative(file)}#{number}", text)
    if not pairing.links:
        raise UsageError(f"no media file in {folder.path} has a text beside it; write cat.txt beside cat.jpg")
    if bare:
        pairing.notes.append(
            f"{bare} media files have no text beside them; they are in the gallery, and nothing asks for them"
        )
    return pairing
