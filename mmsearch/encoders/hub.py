"""Files from the Hugging Face hub: from its cache where they are there, and fetched where the user named the model.

What lies in the cache is taken without asking the network whether there is something newer: a library
keeps to the revision that made it. HF_HUB_OFFLINE, HF_HOME and the like are the hub library's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import WeightsError


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository, on this disk. `revision` is the commit that it is of."""

    path: Path
    repository: str
    revision: str


def fetch(repository: str, names: Sequence[str], revision: str | None = None) -> HubFile:
    """The first of `names` that the repository has, in the order of preference; at `revision`, or at its main one.

    Raises:
        WeightsError: the repository has none of them, or it cannot be reached and nothing is in the cache.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:
        try:
            cached = try_to_load_from_cache(repository, name, revision=revision)
        except ValueError as error:  # not the form of a repository's name
            raise WeightsError(
                f"{repository!r} is no name of a repository ({error}); it has the form owner/name"
            ) from error
        if isinstance(cached, str):
            return _described(repository, cached)
    for name in names:
        try:
            return _described(repository, hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError as error:  # an EntryNotFoundError too, but of a hub that was not reached
            raise _unreachable(repository, names, error) from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client lets through whatever its HTTP library raises
            raise _unreachable(repository, names, error) from error
    raise WeightsError(f"the repository {repository!r} holds none of: {', '.join(names)}; name another model")


def fetch_folder(repository: str, names: Sequence[str], needed: Sequence[str]) -> Path:
    """The folder of the hub's cache with those of `names` that the repository has, one of `needed` at least.

    Raises:
        WeightsError: there is none, or it cannot be reached and is not in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
        if any((folder / name).is_file() for name in needed):
            return folder
    except (LocalEntryNotFoundError, ValueError):
        pass  # never fetched; a name of another form is refused below
    try:
        folder = Path(snapshot_download(repository, allow_patterns=list(names)))
    except Exception as error:  # as above
        raise _unreachable(repository, needed, error) from error
    if not any((folder / name).is_file() for name in needed):
        raise WeightsError(f"the repository {repository!r} holds none of: {', '.join(needed)}; name another model")
    return folder


def _described(repository: str, path: str) -> HubFile:
    # .../snapshots/COMMIT/FILE, as huggingface_hub's cache is laid out.
    parts = Path(path).parts
    revision = parts[parts.index("snapshots") + 1] if "snapshots" in parts else "unknown"
    return HubFile(Path(path), repository, revision)


def _unreachable(repository: str, names: Sequence[str], error: Exception) -> WeightsError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return WeightsError(
        f"{repository!r} is not in the hub's cache and cannot be fetched ({reason}); connect to the network, or fetch"
        f" {names[0]} of {repository} elsewhere and name its local folder or file as the model"
    )
