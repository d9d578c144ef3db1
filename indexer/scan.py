"""Walk a root and say which of its files are worth opening; what changed is told from size and time alone."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec

from indexer.media import SUFFIXES
from indexer.paths import relative_to
from indexer.records import FOLDER_PROBLEM

IGNORE_FILES = (".gitignore", ".mmsearchignore")
"""Files with ignore patterns, in git's syntax. The later one wins, so it can take a pattern back with "!"."""


_LEADS_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What is said of a name that is gone since it was listed, and of a link to nothing or to itself."""

_LATEST_NS = 2**63 - 1  # what SQLite can hold: the year 2262. Some files are dated beyond it.


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file on disk that is worth opening. `directory` is relative to the root, with "/" between parts."""

    directory: str
    name: str
    path: str
    size: int
    mtime_ns: int


@dataclass(slots=True)
class FoundDirectory:
    """One folder of a walk: its files worth opening, and how many others were left alone.

    `problem` says why the folder could not be read; then nothing is known of what it holds.
    `unreadable` are files that could not even be looked at, each with the reason.
    """

    directory: str
    files: list[FoundFile] = field(default_factory=list)
    ignored: int = 0
    other: int = 0
    problem: str | None = None
    unreadable: list[tuple[FoundFile, str]] = field(default_factory=list)
    folders: int = 0


@dataclass(frozen=True, slots=True)
class ScanRules:
    """What a walk leaves out. `exclude` holds absolute real paths (the library itself, for one)."""

    hidden: bool = False
    ignore_files: bool = True
    exclude: frozenset[str] = frozenset()


_Specs = tuple[tuple[str, GitIgnoreSpec], ...]


def scan(root: str, scope: str = "", rules: ScanRules | None = None) -> Iterator[FoundDirectory]:
    """Walk the folder `scope` of `root` (or the single file `scope`), folder by folder, in a fixed order.

    Symbolic links are followed, but never round a loop, and what a link reaches inside the root is
    left to be found in its own place, so that a file is found once.

    Args:
        root: absolute real path of the root.
        scope: path relative to the root, with "/" between parts; "" for all of it.
        rules: what to leave out.
    """
    rules = rules or ScanRules()
    start = os.path.join(root, *scope.split("/")) if scope else root
    if os.path.isfile(start):
        directory, _, name = scope.rpartition("/")
        found = FoundDirectory(directory)
        _add(found, name, start, os.stat(start))
        yield found
        return
    specs: _Specs = ()
    if rules.ignore_files:
        parts = scope.split("/") if scope else []
        for depth in range(len(parts)):
            above = "/".join(parts[:depth])
            specs += _read_specs(os.path.join(root, above), above)
        if _ignored(scope + "/", specs):  # it was named all the same
            specs = ()
    yield from _Walk(root, rules).walk(start, scope, specs)


def listed(root: str, files: Iterable[str]) -> Iterator[FoundDirectory]:
    """These files of `root` and no others, folder by folder: whatever their names, hidden or ignored or a link.

    Args:
        root: absolute real path of the root.
        files: paths relative to it, with "/" between parts. One that is not there is passed over.
    """
    names: dict[str, list[str]] = defaultdict(list)
    for file in files:
        directory, _, name = file.rpartition("/")
        names[directory].append(name)
    for directory in sorted(names):
        found = FoundDirectory(directory)
        for name in sorted(names[directory]):
            path = os.path.join(root, *directory.split("/"), name) if directory else os.path.join(root, name)
            try:
                status = os.stat(path)
            except OSError as error:
                if error.errno not in _LEADS_NOWHERE:
                    reason = f"it cannot be looked at: {error.strerror or error}"
                    found.unreadable.append((FoundFile(directory, name, path, 0, 0), reason))
                continue
            if stat.S_ISREG(status.st_mode):
                _append(found, name, path, status)
        yield found


class _Walk:
    """What one walk has to remember: which places links have already led to."""

    def __init__(self, root: str, rules: ScanRules) -> None:
        self._root = root
        self._rules = rules
        self._linked: set[tuple[int, int]] = set()  # folders and files that were reached through a link

    def walk(self, start: str, scope: str, specs: _Specs) -> Iterator[FoundDirectory]:
        """Depth first with a stack of its own, so that no folder is too deep."""
        stack = [(start, scope, specs, False)]
        while stack:
            path, directory, specs, through_link = stack.pop()
            found = FoundDirectory(directory)
            try:
                with os.scandir(path) as entries:
                    children = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                found.problem = f"{FOLDER_PROBLEM}: {error.strerror or error}"
                yield found
                continue
            if self._rules.ignore_files:
                specs += _read_specs(path, directory)
            below = []
            for entry in children:
                relative = f"{directory}/{entry.name}" if directory else entry.name
                if entry.name.startswith(".") and not self._rules.hidden:
                    found.ignored += entry.name not in IGNORE_FILES
                    continue
                try:
                    is_directory = entry.is_dir()
                    if specs and _ignored(relative + "/" * is_directory, specs):
                        found.ignored += 1
                        continue
                    linked = through_link or entry.is_symlink()
                    if linked and self._seen_before(entry):
                        continue
                    if is_directory:
                        found.folders += 1
                        if os.path.realpath(entry.path) not in self._rules.exclude:
                            below.append((entry.path, relative, specs, linked))
                    elif entry.is_file():
                        _add(found, entry.name, entry.path, entry.stat())
                except OSError as error:
                    found.other += 1
                    if error.errno not in _LEADS_NOWHERE and worth_opening(entry.name):
                        reason = f"it cannot be looked at: {error.strerror or error}"
                        found.unreadable.append((FoundFile(directory, entry.name, entry.path, 0, 0), reason))
            yield found
            stack.extend(reversed(below))

    def _seen_before(self, entry: os.DirEntry[str]) -> bool:
        """Whether what a link reached is found elsewhere in this walk, or was already reached by another link."""
        real = os.path.realpath(entry.path)
        inside = relative_to(real, self._root)
        if inside is not None:
            # A hidden place (git-annex keeps files in one) is not walked, so the link is the way to it.
            return self._rules.hidden or not any(part.startswith(".") for part in inside.split("/"))
        status = entry.stat()
        place = (status.st_dev, status.st_ino)
        if place in self._linked or self._root.startswith(real.rstrip(os.sep) + os.sep):
            return True
        self._linked.add(place)
        return False


def _add(found: FoundDirectory, name: str, path: str, status: os.stat_result) -> None:
    """Put a file into its folder's list when it is worth opening: a suffix that we read, or none at all."""
    if stat.S_ISREG(status.st_mode) and worth_opening(name):
        _append(found, name, path, status)
    else:
        found.other += 1


def _append(found: FoundDirectory, name: str, path: str, status: os.stat_result) -> None:
    mtime_ns = max(-_LATEST_NS, min(status.st_mtime_ns, _LATEST_NS))
    found.files.append(FoundFile(found.directory, name, path, status.st_size, mtime_ns))


def worth_opening(name: str) -> bool:
    """Whether a name promises something that we read: by its suffix, or by having none."""
    dot = name.rfind(".")
    return dot < 1 or name[dot:].lower() in SUFFIXES or not name[:dot].strip(".")  # as os.path.splitext, and quicker


def _read_specs(path: str, directory: str) -> _Specs:
    """The ignore files of one folder, each with the folder that its patterns are relative to."""
    specs = []
    for name in IGNORE_FILES:
        try:
            with open(os.path.join(path, name), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        specs.append((directory, GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))))
    return tuple(specs)


def _is_pattern(line: str) -> bool:
    """Whether a line of an ignore file can be used; git passes over the others, and so do we."""
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


def _ignored(relative: str, specs: _Specs) -> bool:
    """Whether the innermost ignore file that says anything of this path leaves it out."""
    for directory, spec in reversed(specs):
        inside = relative[len(directory) + 1 :] if directory else relative
        verdict = spec.check_file(inside).include
        if verdict is not None:
            return verdict
    return False
