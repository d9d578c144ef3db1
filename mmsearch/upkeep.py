"""What a library is told of files: which to index, which to forget, and where they have gone.

Call these with the writer's lock held.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.advice import NOT_THERE, if_moved
from indexer.errors import UsageError
from indexer.library import Library
from indexer.paths import relative_to
from indexer.records import Removed
from mmsearch.places import spellings

if TYPE_CHECKING:
    from indexer.changes import Target


def targets_of(library: Library, paths: Sequence[str]) -> tuple[list[Target], list[str]]:
    """What an indexing run looks at, and the roots that it cannot reach: some files and folders, or all known roots.

    Raises:
        UsageError: a path does not exist, or there is nothing to index.
    """
    from indexer.changes import find_targets, known_targets

    if paths:
        return find_targets(library, paths), []
    targets, unreachable = known_targets(library)
    if not targets and unreachable:
        raise UsageError(
            f"the library's folders are {NOT_THERE}: {', '.join(unreachable)}",
            f"; {if_moved(*unreachable)}",
            hint="mount their disk again, or say where the server runs where they were moved to",
        )
    if not targets:
        raise UsageError("nothing was indexed yet: name a folder", ", for example: mmsearch index ./media")
    return targets, unreachable


def remove(library: Library, path: str) -> Removed:
    """Forget a file or folder and all below it.

    Raises:
        UsageError: the library holds nothing there.
    """
    removed, known = Removed(0, 0), False
    for place in spellings(path):
        for root_id, root in library.store.roots().items():
            scope = "" if relative_to(root, place) is not None else relative_to(place, root)
            if scope is not None:
                known = known or not scope
                gone = library.store.remove(root_id, scope)
                removed = Removed(removed.files + gone.files, removed.segments + gone.segments)
    if not removed.files and not known:
        raise UsageError(f"the library holds nothing at {path}", "; see what it holds with: mmsearch status")
    library.save_indexes()
    return removed


def move_root(library: Library, old: str, new: str) -> int:
    """Say that a root now lies elsewhere; the number of its files.

    Raises:
        UsageError: `old` is no root, or `new` is no folder, or lies in or around another root.
    """
    old_path = os.path.abspath(os.path.expanduser(old))
    new_path = os.path.realpath(os.path.expanduser(new))
    roots = list(library.store.roots().values())
    if old_path not in roots:
        old_path = os.path.realpath(old_path)
    if old_path not in roots:
        raise UsageError(f"{old} is none of the library's folders, which are: {', '.join(roots) or 'none'}")
    if not os.path.isdir(new_path):
        raise UsageError(f"there is no folder at {new}; move it there first, then say so")
    for other in roots:
        if other != old_path and (relative_to(other, new_path) or relative_to(new_path, other)) is not None:
            raise UsageError(
                f"{new} overlaps with {other}, which the library holds already",
                f"; forget the files that were at the old place with: mmsearch remove {old}",
            )
    return library.store.move_root(old_path, new_path) or 0
