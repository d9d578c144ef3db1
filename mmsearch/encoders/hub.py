"""The Hugging Face hub: what of it is on this machine, whether it answers, and what it says of a repository.

What lies in the hub's cache is taken without asking the network whether there is something newer: a library keeps to
the revision that made it. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what they mean to the
hub's own client, and its cache is ours too. The transfer itself is in download.py.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from indexer.errors import ModelError, WeightsError
from mmsearch.encoders.files import read_json_object
from mmsearch.encoders.models import Licence, licence_of
from mmsearch.encoders.weights import sha256_of

OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")

# In all, from the first import to the answer: without a network nobody waits longer.
PROBE_SECONDS = 2.0

# How long what the probe found is believed.
PROBE_BELIEVED_SECONDS = 30.0

# For an answer of the hub about a repository.
ANSWER_SECONDS = 10.0

MAIN = "main"

COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
_TRUE = {"1", "ON", "YES", "TRUE"}


class UnavailableError(WeightsError):
    """Something is not on this machine and cannot be fetched now. `reason` says why in a few words."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Need:
    """Files that are needed of a repository.

    `required`: of each group of patterns one file at least. `weights`: the first alternative that is there, each a
    group of patterns of which all must match. `also`: whatever matches. `spelling`: the part of a model whose files lie
    in a folder, with "{folder}" for it.
    """

    repository: str
    revision: str | None = None
    weights: tuple[tuple[str, ...], ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    also: tuple[str, ...] = ()
    spelling: str = "{folder}"

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.repository):
            raise WeightsError(
                f"{self.repository!r} is no name of a repository of the hub, and no folder here; it has the form"
                " owner/name"
            )

    def select(self, names: Iterable[str]) -> list[str] | None:
        """Those of `names` that are needed; None when they are not enough."""
        there = list(names)
        wanted = _matching(there, self.also)
        for group in self.required:
            found = _matching(there, group)
            if not found:
                return None
            wanted |= found
        for alternative in self.weights:
            parts = [_matching(there, (pattern,)) for pattern in alternative]
            if all(parts):
                return sorted(wanted.union(*parts))
        return None if self.weights else sorted(wanted)

    def is_met_by(self, folder: Path) -> bool:
        """Whether the files are in a folder, all shards that an index of weights names included."""
        found = self.select(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else None
        if found is None:
            return False
        indexes = [name for name in found if name.endswith(".index.json") and self.weights]
        chosen = [name for name in indexes if any(name in alternative for alternative in self.weights)]
        return all((folder / shard).is_file() for index in chosen for shard in shards_of(folder / index))

    def __str__(self) -> str:
        groups = [", ".join(group) for group in (*self.required, *self.weights)]
        return " or ".join(groups) or ", ".join(self.also)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository on the hub. `sha256` is known of large files, which are kept by it."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository as the hub describes it at one commit, and what is to be fetched of it."""

    need: Need
    commit: str
    files: tuple[RemoteFile, ...]
    licence: Licence

    @property
    def bytes(self) -> int:
        """Size of all files, those that are here already included."""
        return sum(file.size for file in self.files)


# --- what is here ---


def cache_folder() -> Path:
    """Where the hub's client keeps what it fetches."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached(need: Need) -> Path | None:
    """The folder of the hub's cache that holds all that is needed; None when something is not here.

    The layout is that of https://huggingface.co/docs/huggingface_hub/guides/manage-cache; it is read here because
    importing the client takes a quarter of a second.
    """
    folder = _cached_snapshot(need.repository, need.revision)
    return folder if folder is not None and need.is_met_by(folder) else None


def cached_commit(repository: str, revision: str | None = None) -> str | None:
    """The commit that the cache has for a branch, a tag or a commit; None when it has none."""
    folder = _cached_snapshot(repository, revision)
    return None if folder is None else folder.name


def _cached_snapshot(repository: str, revision: str | None) -> Path | None:
    place = place_of(repository)
    commit = revision or MAIN
    if not COMMIT.fullmatch(commit):
        try:
            commit = (place / "refs" / commit).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
    folder = place / "snapshots" / commit
    return folder if commit and folder.is_dir() else None


def place_of(repository: str) -> Path:
    """The folder of the hub's cache for a repository."""
    return cache_folder() / f"models--{repository.replace('/', '--')}"


def damaged(folder: Path) -> list[Path]:
    """Files of a cached snapshot whose bytes are not those that their SHA-256, by which they are kept, promises."""
    wrong = []
    for path in sorted(folder.iterdir()):
        blob = path.resolve()
        if re.fullmatch(r"[0-9a-f]{64}", blob.name) and sha256_of(blob) != blob.name:
            wrong.append(path)
    return wrong


def forget(files: Sequence[Path]) -> None:
    """Take files of a cached snapshot away, so that they are fetched again."""
    for path in files:
        blob = path.resolve()
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)


# --- whether the hub answers ---


def offline_reason() -> str | None:
    """Why the hub may not be asked at all; None when it may."""
    for variable in OFFLINE_VARIABLES:
        # Read again here, because the hub's client reads it only once, when it is imported.
        if os.environ.get(variable, "").upper() in _TRUE:
            return f"{variable} is set"
    from huggingface_hub import constants

    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else None


_probed: dict[str, tuple[float, str | None]] = {}
"""When an endpoint was asked, and what came of it."""


def why_unreachable() -> str | None:
    """Why the hub does not answer within `PROBE_SECONDS`; None when it does. One question for all that is wanted.

    In a thread of its own that may be left behind: looking up a name takes no timeout, and the hub's client tries
    again and again for up to a minute.
    """
    from huggingface_hub import constants

    endpoint = str(constants.ENDPOINT)
    asked, known = _probed.get(endpoint, (-PROBE_BELIEVED_SECONDS, None))
    if endpoint in _probed and time.monotonic() - asked < PROBE_BELIEVED_SECONDS:
        return known
    outcome: list[str | None] = []

    def probe() -> None:
        try:
            from huggingface_hub import get_session

            get_session().head(endpoint, timeout=PROBE_SECONDS)
            outcome.append(None)
        except Exception as error:  # whatever the HTTP library raises: each means that there is no answer
            outcome.append(f"{endpoint}: {_brief(error)}")

    thread = threading.Thread(target=probe, name="mmsearch-hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    reason = outcome[0] if outcome else f"{endpoint} did not answer within {PROBE_SECONDS:.0f} seconds"
    _probed[endpoint] = (time.monotonic(), reason)
    return reason


# --- what it says of a repository ---


def require(need: Need) -> Path:
    """The folder with all that is needed: from the cache, or else fetched.

    Raises:
        UnavailableError: it is not here and cannot be fetched.
        ModelError: the hub has no such repository, or does not show it.
        WeightsError: the repository does not hold what is needed.
    """
    from mmsearch.encoders.download import fetch

    return cached(need) or fetch(look_up(need))


def look_up(need: Need) -> Remote:
    """Ask the hub for the commit, the files and the licence of what is needed.

    Raises:
        UnavailableError: the hub may not be asked, or does not answer.
        ModelError: it has no such repository, or does not show it.
        WeightsError: the repository does not hold what is needed.
    """
    reason = offline_reason() or why_unreachable()
    if reason:
        raise unavailable(need, reason)
    from huggingface_hub import HfApi, constants

    with told_plainly(need):
        info = HfApi(endpoint=constants.ENDPOINT).model_info(
            need.repository, revision=need.revision, files_metadata=True, timeout=ANSWER_SECONDS
        )
    by_name = {entry.rfilename: entry for entry in info.siblings or ()}
    names = need.select(by_name)
    if names is None or info.sha is None:
        raise WeightsError(
            f"the repository {need.repository!r} holds none of: {need}; it holds"
            f" {', '.join(sorted(by_name)[:20]) or 'nothing'}; name another model"
        )
    files = tuple(RemoteFile(name, by_name[name].size or 0, _sha256(by_name[name])) for name in names)
    card: Any = info.card_data or {}
    licence = licence_of(_text(card.get("license")), _text(card.get("license_name")), _text(card.get("license_link")))
    return Remote(need, info.sha, files, licence)


# --- errors ---


def unavailable(need: Need, reason: str) -> UnavailableError:
    """The error for what is not here and cannot be fetched, with what to do without a network."""
    folder = need.repository.rpartition("/")[2]
    place = place_of(need.repository)
    return UnavailableError(
        f"{need.repository!r} is not, or not wholly, in the hub's cache and cannot be fetched ({reason}). On a machine"
        f" with a network run `hf download {need.repository} --local-dir {folder}`, copy that folder here, and name"
        f" its local folder in the model: {need.spelling.format(folder=f'/path/to/{folder}')}; or copy {place.name}"
        f" out of that machine's hub cache into {place.parent} (HF_HOME says where that is)",
        reason,
    )


@contextmanager
def told_plainly(need: Need) -> Iterator[None]:
    """Turn what the hub's client raises into our errors."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except ModelError:
        raise
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelError(
            f"the hub has no {need.repository!r} (revision {need.revision or MAIN}) that it shows you: check the name,"
            " accept its conditions on its page, or log in with `hf auth login`"
        ) from error
    except Exception as error:  # the hub's client lets through whatever its HTTP library raises
        raise unavailable(need, _brief(error)) from error


def shards_of(index: Path) -> list[str]:
    """The files of weights that a model.safetensors.index.json or its like names."""
    names = read_json_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise WeightsError(f"{index} names no files of weights under 'weight_map'; copy the whole checkpoint again")
    # An index may come from anywhere, and its names must not lead out of the folder.
    return sorted({Path(str(name)).name for name in names.values()})


def _matching(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Names that match, in no folder of the repository unless a pattern names it."""
    return {name for name in names if any(name == p or ("/" not in name and fnmatchcase(name, p)) for p in patterns)}


def _sha256(entry: Any) -> str | None:
    return str(entry.lfs.sha256) if entry.lfs is not None else None


def _text(value: Any) -> str | None:
    return ", ".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value)


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."
