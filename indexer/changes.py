"""What differs between the disk and the store: files that are new, changed, gone or back."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from indexer.errors import UsageError
from indexer.library import Library
from indexer.paths import relative_to
from indexer.records import KnownFile
from indexer.scan import FoundDirectory, FoundFile, ScanRules, listed, scan, worth_opening
from indexer.schema import FAILED, MISSING, PRESENT
from indexer.store import Store


@dataclass(frozen=True, slots=True)
class Target:
    """One place to index: `scope` is relative to the root at `root`, with "/" between parts.

    With `files`, also relative to the root, these and no others are looked at, and `scope` is not walked.
    """

    root_id: int
    root: str
    scope: str
    files: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ToOpen:
    """A file that is new or changed; `content_id` is what it held before, if anything."""

    root_id: int
    file: FoundFile
    is_new: bool
    content_id: int | None = None


@dataclass(frozen=True, slots=True)
class NewState:
    """Files that are gone, or back as they were."""

    file_ids: list[int]
    state: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder that cannot be looked at; what is known of its files stays as it is."""

    root_id: int
    place: FoundFile
    reason: str


@dataclass(frozen=True, slots=True)
class Emptied:
    """A root that held files and is empty now: more likely a disk that is not mounted than files that are gone."""

    root: str


@dataclass(frozen=True, slots=True)
class Passed:
    """How many files of one folder needed nothing, were left out by rules, or are of no kind that we read."""

    unchanged: int
    ignored: int
    other: int


Change = ToOpen | NewState | Unreadable | Emptied | Passed


@dataclass(slots=True)
class Walked:
    """What the targets of one run have been through already, so that overlapping ones do nothing twice."""

    folders: set[tuple[int, str]] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)


def find_changes(
    store: Store, target: Target, rules: ScanRules, walked: Walked, *, retry_failed: bool = False
) -> Iterator[Change]:
    """Walk one target, folder by folder; a file that is unchanged costs one stat, and memory stays flat."""
    chosen = target.files is not None
    only_file = chosen or (bool(target.scope) and os.path.isfile(_path_of(target.root, target.scope)))
    unreadable: list[str] = []
    folders = scan(target.root, target.scope, rules) if target.files is None else listed(target.root, target.files)
    for folder in folders:
        place = (target.root_id, folder.directory)
        if place in walked.folders:
            continue
        if folder.problem is not None:
            unreadable.append(folder.directory)
            above, _, name = folder.directory.rpartition("/")
            found = FoundFile(above, name, _path_of(target.root, folder.directory), 0, 0)
            yield Unreadable(target.root_id, found, folder.problem)
            continue
        if not chosen and not folder.directory and _is_empty(folder) and store.directories(target.root_id, ""):
            yield Emptied(target.root)
            return
        if not only_file:
            walked.folders.add(place)
        known = store.known_in(target.root_id, folder.directory)
        yield from _compare(target, folder, known, walked, only_file=only_file, retry_failed=retry_failed)
        if chosen or not only_file:
            yield from _gone(target, folder.directory, known, walked)
    if only_file:
        return
    for directory in store.directories(target.root_id, target.scope):
        if (target.root_id, directory) not in walked.folders and not any(_inside(directory, f) for f in unreadable):
            yield from _gone(target, directory, store.known_in(target.root_id, directory), walked)


def _compare(
    target: Target,
    folder: FoundDirectory,
    known: dict[str, KnownFile],
    walked: Walked,
    *,
    only_file: bool,
    retry_failed: bool,
) -> Iterator[Change]:
    """Hold a folder's files against what is known of it; what is left in `known` was not found."""
    unchanged, back = 0, []
    for file in folder.files:
        before = known.pop(file.name, None)
        if file.path in walked.files:
            continue
        if only_file:
            walked.files.add(file.path)
        if before is None:
            yield ToOpen(target.root_id, file, is_new=True)
        elif (before.size, before.mtime_ns) != (file.size, file.mtime_ns) or (before.state == FAILED and retry_failed):
            yield ToOpen(target.root_id, file, is_new=False, content_id=before.content_id)
        else:
            unchanged += 1
            if before.state == MISSING:
                back.append(before.id)
    if back:
        yield NewState(back, PRESENT)
    for place, reason in folder.unreadable:
        if place.name not in known:
            yield Unreadable(target.root_id, place, reason)
    yield Passed(unchanged, folder.ignored, folder.other)


def _gone(target: Target, directory: str, known: Mapping[str, KnownFile], walked: Walked) -> Iterator[NewState]:
    """Those known files of a folder that are not there any more.

    A file that a walk did not find may be there all the same: it was named by itself and is hidden or
    ignored, or may not be looked at just now. It is gone when the system says so.
    """
    folder = _path_of(target.root, directory)
    gone = [
        file.id
        for name, file in known.items()
        if file.state != MISSING and file.id not in walked.gone and not _may_be_there(os.path.join(folder, name))
    ]
    if gone:
        walked.gone.update(gone)
        yield NewState(gone, MISSING)


def _may_be_there(path: str) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def find_targets(library: Library, paths: Sequence[str]) -> list[Target]:
    """Where the given paths lie in the library's roots, making new roots for those that lie in none.

    Raises:
        UsageError: a path does not exist, or is the library itself.
    """
    real = [check_path(library, path) for path in paths]
    for place in real:
        folder, name = (place, "") if os.path.isdir(place) else os.path.split(place)
        root_id, scope = library.store.add_root(folder)
        library.store.add_scope(root_id, "/".join(part for part in (scope, name) if part))
    # Only now: a path given later may have taken the root of an earlier one into its own.
    roots = library.store.roots()
    targets = set()
    for place in real:
        for root_id, root in roots.items():
            scope_in_root = relative_to(place, root)
            if scope_in_root is not None:
                targets.add(Target(root_id, root, scope_in_root))
    return _in_order(targets)


def known_targets(library: Library) -> tuple[list[Target], list[str]]:
    """Every place that was ever named to be indexed, as far as it can be reached; and the roots that cannot."""
    roots = library.store.roots()
    reachable = {root_id: root for root_id, root in roots.items() if os.path.isdir(root)}
    scopes = library.store.scopes()
    targets = {Target(root_id, roots[root_id], scope) for root_id, scope in scopes if root_id in reachable}
    return _in_order(targets), [root for root_id, root in roots.items() if root_id not in reachable]


def check_path(library: Library | None, path: str) -> str:
    """The absolute real path of a place to index.

    Raises:
        UsageError: it does not exist, or is the library itself.
    """
    place = os.path.realpath(os.path.expanduser(path))
    if not path:  # an unset variable in a script, which must not mean the folder that one happens to be in
        raise UsageError('the path is empty; name a file or folder ("." for this one)')
    if not os.path.exists(place):
        raise UsageError(f"there is no file or folder at {path}")
    if not os.path.isdir(place) and not (os.path.isfile(place) and worth_opening(place)):
        raise UsageError(f"{path} is not of a kind that mmsearch reads; see what it reads in the README")
    if library is not None and place == os.path.realpath(library.path):
        raise UsageError(f"{path} is the library itself; name the folder with your media")
    return place


def _in_order(targets: set[Target]) -> list[Target]:
    """Single files first, so that the walks of their folders can pass over them; then wider places before narrower."""
    return sorted(targets, key=lambda t: (not os.path.isfile(_path_of(t.root, t.scope)), t.root_id, t.scope))


def _is_empty(folder: FoundDirectory) -> bool:
    return not (folder.files or folder.folders or folder.ignored or folder.other)


def _inside(directory: str, folder: str) -> bool:
    return not folder or directory == folder or directory.startswith(folder + "/")


def _path_of(root: str, relative: str) -> str:
    return os.path.join(root, *relative.split("/")) if relative else root
