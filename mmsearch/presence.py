"""Which of the files that a library knows are on disk now: one look for each file that is shown, and no more."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from indexer.paths import relative_to
from indexer.store import Store
from mmsearch.rank import Answer, Hit


class Disk:
    """What of a library's files is there. A root that is not there is looked at once, whatever lies in it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lost: list[str] | None = None  # roots that are not there; looked for when a file is not

    def has(self, path: str) -> bool:
        """Whether a file is there; one that may not be looked at is not gone."""
        if self._lost is not None and self.lost_root(path) is not None:  # a look there may wait for a network
            return False
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            self.lost_root(path)
            return False
        except OSError:
            return True
        return True

    def lost_root(self, path: str) -> str | None:
        """The root that a file lies in, where this is not there now: moved, or not mounted."""
        if self._lost is None:
            self._lost = [root for root in self._store.roots().values() if not is_there(root)]
        return next((root for root in self._lost if relative_to(path, root) is not None), None)


def is_there(root: str) -> bool:
    """Whether a root is there. An empty folder is what a disk leaves where it was mounted."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is not None
    except PermissionError:
        return True
    except OSError:
        return False


def there_first(store: Store, paths: Sequence[str]) -> tuple[str, ...]:
    """Files of the same bytes, those that are there before those that are gone."""
    gone = _gone(Disk(store), paths)
    return tuple(sorted(paths, key=lambda path: path in gone))


def as_on_disk(store: Store, answer: Answer) -> Answer:
    """An answer that knows which of its files are gone; of a hit with copies, one that is there comes first."""
    disk = Disk(store)
    return replace(answer, hits=tuple(_as_on_disk(disk, hit) for hit in answer.hits))


def _as_on_disk(disk: Disk, hit: Hit) -> Hit:
    gone = _gone(disk, (hit.path, *hit.copies, *hit.duplicates))
    if not gone:
        return hit
    same = sorted((hit.path, *hit.copies), key=lambda path: path in gone)  # otherwise as they were
    return replace(hit, path=same[0], copies=tuple(same[1:]), gone=gone)


def _gone(disk: Disk, paths: Iterable[str]) -> frozenset[str]:
    return frozenset(path for path in paths if not disk.has(path))
