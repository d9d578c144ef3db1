"""Checkpoints in the format of transformers' `save_pretrained`: a folder of one's own, or a repository of the hub.

Reading what a checkpoint is imports neither torch nor transformers. A repository's small files are fetched when
it is opened, and its weights when they are first used; what is in the hub's cache is used without asking
the hub, so that a model stays the same from one day to the next.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.errors import ModelError, WeightsError
from mmsearch.encoders.checkpoint import check_safetensors
from mmsearch.encoders.files import file_fingerprint, read_json_object

# Small files that say what a checkpoint is and how its inputs are made.
DESCRIPTIONS = ("*.json", "*.txt", "*.model")
# In the order that transformers looks for them: whole or in shards, safetensors before pickle.
SAFETENSORS, SAFETENSORS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint. `revision` is the hub's commit, and None for a local folder; `config` is its config.json."""

    source: str
    folder: Path
    revision: str | None
    config: Mapping[str, Any]

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
        if self.revision is not None and not _first_weights(self.folder):
            fetch(self.repository, self.revision, (SAFETENSORS, "model-*.safetensors"))
            if not _first_weights(self.folder):
                fetch(self.repository, self.revision, (PICKLE, "pytorch_model-*.bin"))
        first = _first_weights(self.folder)
        if first is None:
            found = ", ".join(sorted(entry.name for entry in self.folder.iterdir()))
            raise WeightsError(
                f"there are no weights in {self.folder}: expected {SAFETENSORS} or {PICKLE}, found {found}; copy the"
                " whole checkpoint"
            )
        files = (first,) if first.suffix != ".json" else tuple(self.folder / name for name in _shards(first))
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


def open_checkpoint(source: str, model_types: Sequence[str]) -> Checkpoint:
    """The checkpoint in a local folder, or of a hub repository "owner/name" or "owner/name@revision".

    Raises:
        ModelError: there is no such folder or repository, or it is of another architecture than `model_types`.
        WeightsError: the repository's files are not on this machine and cannot be fetched.
    """
    folder, revision = Path(source).expanduser(), None
    if not folder.is_dir():
        if folder.exists():
            raise ModelError(f"{source} is a file; expected the folder of a checkpoint, with config.json in it")
        if not _REPOSITORY.fullmatch(source):
            raise ModelError(
                f"there is no folder {source!r}, and it is no name of a hub repository either; expected a folder made"
                " by save_pretrained, or owner/name"
            )
        folder = _hub_folder(source)
        revision = folder.name
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json; expected a folder made by transformers' save_pretrained")
    config = read_json_object(folder / "config.json")
    if config.get("model_type") not in model_types:
        raise ModelError(
            f"{source} is a checkpoint of architecture {config.get('model_type')!r}, expected"
            f" {' or '.join(map(repr, model_types))}; name another checkpoint, or the kind of model that this one is"
        )
    return Checkpoint(source, folder, revision, config)


def fetch(repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Files of a repository whose names match, from the hub: the folder of the hub's cache that holds them."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if _is_offline():
        raise _unavailable(repository, "HF_HUB_OFFLINE is set")
    reason = _why_unreachable()
    if reason:
        raise _unavailable(repository, reason)
    try:
        return Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=list(patterns), etag_timeout=_PROBE_SECONDS, max_workers=4
            )
        )
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelError(
            f"the hub has no {repository!r} (revision {revision or 'main'}) that it shows you: check the name, accept"
            " its conditions on its page, or log in with `hf auth login`"
        ) from error
    except Exception as error:  # the hub's client lets through whatever its HTTP library raises
        raise _unavailable(repository, " ".join(str(error).split()) or type(error).__name__) from error


def _hub_folder(source: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, revision = source.partition("@")
    try:
        cached = Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
        # A folder is there as soon as one file is: an interrupted download is taken up again.
        described = (cached / "config.json").is_file() and any((cached / name).is_file() for name in _PROCESSORS)
        if described:
            return cached
    except LocalEntryNotFoundError:
        pass  # never fetched
    except ValueError as error:
        raise ModelError(f"{source!r} is no name of a hub repository: {error}") from error
    return fetch(repository, revision or None, DESCRIPTIONS)


_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def _is_offline() -> bool:
    from huggingface_hub import constants

    # Read again here, because the hub's client reads it only once, when it is imported.
    set_now = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    return set_now or bool(constants.HF_HUB_OFFLINE)


def _why_unreachable() -> str | None:
    """Why the hub does not answer within two seconds; None when it does.

    In a thread of its own that may be left behind: looking up a name takes no timeout, and the hub's client
    tries again and again for up to a minute.
    """
    outcome: list[str | None] = []

    def probe() -> None:
        from huggingface_hub import constants, get_session

        try:
            get_session().head(constants.ENDPOINT, timeout=_PROBE_SECONDS)
            outcome.append(None)
        except Exception as error:  # whatever the HTTP library raises: each means that there is no answer
            outcome.append(" ".join(str(error).split()) or type(error).__name__)

    thread = threading.Thread(target=probe, name="mmsearch-hub-probe", daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS + 0.3)
    return outcome[0] if outcome else "the hub did not answer"


def _unavailable(repository: str, reason: str) -> WeightsError:
    name = repository.rpartition("/")[2]
    return WeightsError(
        f"{repository!r} is not, or not wholly, in the hub's cache and cannot be fetched ({reason}). On a machine with"
        f" a network run `hf download {repository} --local-dir {name}`, copy the folder {name} here, and name its path"
        f" in place of {repository!r}"
    )


def _first_weights(folder: Path) -> Path | None:
    candidates = (SAFETENSORS, SAFETENSORS_INDEX, PICKLE, PICKLE_INDEX)
    found = [folder / name for name in candidates if (folder / name).is_file()]
    # On the hub, an index is among the small files, and is there before its shards are.
    return next((path for path in found if path.suffix != ".json" or (folder / _shards(path)[0]).is_file()), None)


def _shards(index: Path) -> list[str]:
    names = read_json_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise WeightsError(f"{index} names no files of weights under 'weight_map'; copy the whole checkpoint again")
    # An index may come from anywhere, and its names must not lead out of the folder.
    return sorted({Path(str(name)).name for name in names.values()})
