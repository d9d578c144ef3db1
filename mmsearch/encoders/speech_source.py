"""Which recogniser of speech a model has, and where its files are. Loads nothing.

What may be named: "off"; a size of faster-whisper's table, such as base; a repository of the hub with a conversion for
CTranslate2, owner/name; a folder with one. A commit may follow all but folders: base@COMMIT.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from indexer.errors import ModelError, UnknownModelError, WeightsError
from mmsearch.encoders.files import file_fingerprint
from mmsearch.encoders.hub import Need, require

EMBEDDED_SPEECH = "tiny.en"
"""What is listened with unless something else is named: it is installed with mmsearch."""

NO_SPEECH = "off"

# faster_whisper.utils._MODELS, which is behind an import of CTranslate2; a test holds this copy against it.
SIZES: dict[str, str] = {
    "tiny": "Systran/faster-whisper-tiny",
    "base.en": "Systran/faster-whisper-base.en",
    "base": "Systran/faster-whisper-base",
    "small.en": "Systran/faster-whisper-small.en",
    "small": "Systran/faster-whisper-small",
    "medium.en": "Systran/faster-whisper-medium.en",
    "medium": "Systran/faster-whisper-medium",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large": "Systran/faster-whisper-large-v3",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}

# What faster_whisper.utils.download_model takes of a repository. Without tokenizer.json it would fetch another at the
# first line that it hears, when there may be no network any more.
WEIGHTS, TOKENIZER, CONFIG = "model.bin", "tokenizer.json", "config.json"
_ALSO = ("preprocessor_config.json", "vocabulary.*")


def canonical_speech(source: str) -> str:
    """The name that means the same from anywhere: a folder's is absolute.

    Raises:
        UnknownModelError: it names nothing that could listen.
    """
    if source in (NO_SPEECH, EMBEDDED_SPEECH):
        return source
    size = source.partition("@")[0]
    if size in SIZES:
        return source
    if source.startswith((".", "~")) or os.path.isabs(source) or os.path.isdir(source):
        return os.path.abspath(os.path.expanduser(source))
    if "/" in source:
        return source
    raise UnknownModelError(
        f"there is no speech recogniser {source!r}; it is off, {EMBEDDED_SPEECH} (installed), one of"
        f" {', '.join(SIZES)}, a repository owner/name or a folder, converted for CTranslate2"
    )


def needs(source: str) -> tuple[Need, ...]:
    """What is needed of the hub for a recogniser; nothing for what is installed, a folder, or none."""
    if source in (NO_SPEECH, EMBEDDED_SPEECH) or os.path.isabs(source):
        return ()
    name, _, revision = source.partition("@")
    return (
        Need(
            SIZES.get(name, name),
            revision or None,
            weights=((WEIGHTS,),),
            required=((TOKENIZER,), (CONFIG,)),
            also=_ALSO,
            spelling="speech:{folder}",
        ),
    )


def folder_of(source: str) -> Path:
    """The folder of a recogniser that is not the installed one; the hub's is fetched when it is not here.

    Raises:
        ModelError: there is no such folder.
        WeightsError: it lacks a file.
    """
    wanted = needs(source)
    if wanted:
        return require(wanted[0])
    folder = Path(source)
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; expected one with {WEIGHTS}, {TOKENIZER} and {CONFIG}")
    missing = [name for name in (WEIGHTS, TOKENIZER, CONFIG) if not (folder / name).is_file()]
    if missing:
        hint = ""
        if (folder / "model.safetensors").is_file() or (folder / "pytorch_model.bin").is_file():
            hint = "; it looks like a checkpoint for transformers: convert it with ct2-transformers-converter"
        raise WeightsError(f"{folder} lacks {', '.join(missing)} of a Whisper for CTranslate2{hint}")
    return folder


def fingerprint_of(source: str) -> str:
    """64 hexadecimal digits that change whenever the recogniser's files do: the commit, or what lies in the folder."""
    folder = folder_of(source)
    digest = hashlib.sha256()
    if needs(source):
        digest.update(f"{needs(source)[0].repository} {folder.name}".encode())
        return digest.hexdigest()
    vocabularies = sorted(path.name for path in folder.glob("vocabulary.*"))
    for name in (WEIGHTS, TOKENIZER, CONFIG, "preprocessor_config.json", *vocabularies):
        if (folder / name).is_file():
            digest.update(f"{name} {file_fingerprint(folder / name)}\n".encode())
    return digest.hexdigest()
