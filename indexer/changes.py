"""What differs between the disk and the store: files that are new, changed, gone or back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from indexer.errors import UsageError
from indexer.library import Library
from indexer.records import KnownFile
from indexer.scan import FoundFile, ScanRules, scan
from indexer.schema import FAILED, MISSING, PRESENT
from indexer.store import Store


@dataclass(frozen=True, slots=True)
class Target:
    """One place to index: `scope` is relative to the root at `root`, with "/" between parts."""

    root_id: int
    root: str
    scope: str


@dataclass(frozen=True, slots=True)
class ToOpen:
    """A file that is new or changed."""

    root_id: int
    file: FoundFile
    is_new: bool


@dataclass(frozen=True, slots=True)
class NewState:
    """Files that are gone, or back as they were."""

    file_ids: list[int]
    state: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder that cannot be read; what is known of its files stays as it is."""

    root_id: int
    folder: FoundFile
    reason: str


@dataclass(frozen=True, slots=True)
class Passed:
    """How many files of one folder needed nothing, were left out by rules, or are of no kind that we read."""

    unchanged: int
    ignored: int
    other: int


Change = ToOpen | NewState | Unreadable | Passed


def find_changes(store: Store, target: Target, rules: ScanRules, *, retry_failed: bool = False) -> Iterator[Change]:
    """Walk one target, folder by folder; a file that is unchanged costs one stat, and memory stays flat."""
    only_file = target.scope if os.path.isfile(_path_of(target.root, target.scope)) else None
    visited: set[str] = set()
    unreadable: list[str] = []
    for folder in scan(target.root, target.scope, rules):
        visited.add(folder.directory)
        if folder.problem is not None:
            unreadable.append(folder.directory)
            above, _, name = folder.directory.rpartition("/")
            place = FoundFile(above, name, _path_of(target.root, folder.directory), 0, 0)
            yield Unreadable(target.root_id, place, folder.problem)
            continue
        known = store.known_in(target.root_id, folder.directory)
        unchanged, back = 0, []
        for file in folder.files:
            before = known.pop(file.name, None)
            if before is None or (before.size, before.mtime_ns) != (file.size, file.mtime_ns):
                yield ToOpen(target.root_id, file, is_new=before is None)
            elif before.state == FAILED and retry_failed:
                yield ToOpen(target.root_id, file, is_new=False)
            else:
                unchanged += 1
                if before.state == MISSING:
                    back.append(before.id)
        if back:
            yield NewState(back, PRESENT)
        yield Passed(unchanged, folder.ignored, folder.other)
        if only_file is None:
            yield from _gone(known.values())
    if only_file is None:
        for directory in store.directories(target.root_id, target.scope):
            if directory not in visited and not any(_inside(directory, folder) for folder in unreadable):
                yield from _gone(store.known_in(target.root_id, directory).values())


def find_targets(library: Library, paths: Sequence[str]) -> list[Target]:
    """Where the given paths lie in the library's roots, making new roots for those that lie in none.

    Raises:
        UsageError: a path does not exist, or is the library itself.
    """
    real = []
    for path in paths:
        place = os.path.realpath(os.path.expanduser(path))
        if not os.path.exists(place):
            raise UsageError(f"there is no file or folder at {path}")
        if place == os.path.realpath(library.path):
            raise UsageError(f"{path} is the library itself; name the folder with your media")
        real.append(place)
    places = []
    for place in real:
        folder, name = (place, "") if os.path.isdir(place) else os.path.split(place)
        root_id, scope = library.store.add_root(folder)
        places.append((root_id, "/".join(part for part in (scope, name) if part)))
    # A path given later may have taken the root of an earlier one into its own, and then covers it.
    roots = library.store.roots()
    targets = {Target(root_id, roots[root_id], scope) for root_id, scope in places if root_id in roots}
    return [target for target in sorted(targets, key=_by_place) if not any(_covers(o, target) for o in targets)]


def _by_place(target: Target) -> tuple[int, str]:
    return target.root_id, target.scope


def _covers(one: Target, other: Target) -> bool:
    return one != other and one.root_id == other.root_id and _inside(other.scope, one.scope)


def _inside(directory: str, folder: str) -> bool:
    return not folder or directory == folder or directory.startswith(folder + "/")


def _path_of(root: str, relative: str) -> str:
    return os.path.join(root, *relative.split("/")) if relative else root


def _gone(files: Iterable[KnownFile]) -> Iterator[NewState]:
    gone = [file.id for file in files if file.state != MISSING]
    if gone:
        yield NewState(gone, MISSING)
