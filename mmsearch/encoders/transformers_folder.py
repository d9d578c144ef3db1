"""Checkpoints in the format of transformers' `save_pretrained`: a folder of one's own, or a repository of the hub.

Reading what a checkpoint is imports neither torch nor transformers. A repository's small files are fetched when
it is opened, and its weights when they are first used; what is in the hub's cache is used without asking
the hub, so that a model stays the same from one day to the next.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from indexer.errors import ModelError, WeightsError
from mmsearch.encoders.checkpoint import check_safetensors
from mmsearch.encoders.files import file_fingerprint, read_json_object
from mmsearch.encoders.hub import Need, require, shards_of

# Small files that say what a checkpoint is and how its inputs are made.
DESCRIPTIONS = ("*.json", "*.txt", "*.model")
# In the order that transformers looks for them: whole or in shards, safetensors before pickle.
SAFETENSORS, SAFETENSORS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# The same, as alternatives that are whole.
WEIGHTS = (
    (SAFETENSORS,),
    (SAFETENSORS_INDEX, "model-*.safetensors"),
    (PICKLE,),
    (PICKLE_INDEX, "pytorch_model-*.bin"),
)
_CONFIG = "config.json"
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint. `revision` is the hub's commit, and None for a local folder; `config` is its config.json.

    `spelling` is how a model is named that lies in a folder: see `Need`.
    """

    source: str
    folder: Path
    revision: str | None
    config: Mapping[str, Any]
    spelling: str = "{folder}"

    @property
    def repository(self) -> str:
        """The hub's name of it, without a branch or tag."""
        return self.source.partition("@")[0]

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; {} when there is none of that name."""
        return read_json_object(self.folder / name) if (self.folder / name).is_file() else {}

    def processor(self, part: str) -> dict[str, Any]:
        """Settings of the "image_processor", the "video_processor" or the "feature_extractor".

        transformers 5 saves them within processor_config.json, and the versions before it in files of their own.
        """
        older = "video_preprocessor_config.json" if part == "video_processor" else "preprocessor_config.json"
        found = self.read(older) or self.read("processor_config.json").get(part)
        if not isinstance(found, dict) or not found:
            raise WeightsError(
                f"{self.source} does not say how its inputs are prepared: {self.folder} has neither"
                f" {older} nor a processor_config.json with {part!r}; copy the file from where the"
                " checkpoint came"
            )
        return found

    def weight_files(self) -> tuple[Path, ...]:
        """Its files of weights, fetched if they have to be, safetensors looked through for what is cut off."""
        if self.revision is not None:
            require(Need(self.repository, self.revision, weights=WEIGHTS, spelling=self.spelling))
        first = _first_weights(self.folder)
        if first is None:
            found = ", ".join(sorted(entry.name for entry in self.folder.iterdir()))
            raise WeightsError(
                f"there are no weights in {self.folder}: expected {SAFETENSORS} or {PICKLE}, found {found}; copy the"
                " whole checkpoint"
            )
        files = (first,) if first.suffix != ".json" else tuple(self.folder / name for name in shards_of(first))
        for path in files:
            if not path.is_file():
                raise WeightsError(f"{path} is missing, and {first.name} names it; copy the whole checkpoint")
            if path.suffix == ".safetensors":
                check_safetensors(path)
        return files

    def fingerprint(self, *parts: str) -> str:
        """16 hexadecimal digits over the checkpoint and `parts`: the commit, or all that lies in a local folder."""
        digest = hashlib.sha256("\n".join(parts).encode())
        if self.revision is not None:
            digest.update(f"{self.repository} {self.revision}".encode())
            return digest.hexdigest()[:16]
        described = {path for pattern in DESCRIPTIONS for path in self.folder.glob(pattern) if path.is_file()}
        for path in sorted(described | set(self.weight_files())):
            digest.update(f"{path.name} {file_fingerprint(path)}\n".encode())
        return digest.hexdigest()[:16]


def open_checkpoint(source: str, model_types: Sequence[str], spelling: str = "{folder}") -> Checkpoint:
    """The checkpoint in a local folder, or of a hub repository "owner/name" or "owner/name@revision".

    Args:
        source: either of them.
        model_types: the architectures of transformers that are taken.
        spelling: how a model is named whose checkpoint lies in "{folder}", for messages.

    Raises:
        ModelError: there is no such folder or repository, or it is of another architecture than `model_types`.
        WeightsError: the repository's files are not on this machine and cannot be fetched.
    """
    folder, revision = Path(source).expanduser(), None
    if not folder.is_dir():
        if folder.exists():
            raise ModelError(f"{source} is a file; expected the folder of a checkpoint, with {_CONFIG} in it")
        if os.path.isabs(folder) or "/" not in source:
            raise ModelError(
                f"there is no folder {source!r}, and it is no name of a hub repository either; expected a folder made"
                " by save_pretrained, or owner/name"
            )
        folder = require(_described(source, spelling))
        revision = folder.name
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json; expected a folder made by transformers' save_pretrained")
    config = read_json_object(folder / "config.json")
    if config.get("model_type") not in model_types:
        raise ModelError(
            f"{source} is a checkpoint of architecture {config.get('model_type')!r}, expected"
            f" {' or '.join(map(repr, model_types))}; name another checkpoint, or the kind of model that this one is"
        )
    return Checkpoint(source, folder, revision, config, spelling)


def needs(source: str, spelling: str) -> tuple[Need, ...]:
    """What is needed of the hub for a checkpoint; nothing for one that lies in a folder."""
    if os.path.isabs(source) or Path(source).expanduser().exists():
        return ()
    return (replace(_described(source, spelling), weights=WEIGHTS),)


def _described(source: str, spelling: str) -> Need:
    """The small files of a repository "owner/name" or "owner/name@revision"."""
    repository, _, revision = source.partition("@")
    return Need(
        repository,
        revision or None,
        required=((_CONFIG,), _PROCESSORS),
        also=DESCRIPTIONS,
        spelling=spelling,
    )


def _first_weights(folder: Path) -> Path | None:
    candidates = (SAFETENSORS, SAFETENSORS_INDEX, PICKLE, PICKLE_INDEX)
    found = [folder / name for name in candidates if (folder / name).is_file()]
    # On the hub, an index is among the small files, and is there before its shards are.
    return next((path for path in found if path.suffix != ".json" or (folder / shards_of(path)[0]).is_file()), None)
