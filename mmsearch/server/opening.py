"""Opening files of the library for a client: only what was indexed, as it was indexed, and inside its folders.

An item names bytes, never a place. Its files are looked up in the store, links are resolved, and what they lead to must
lie in a folder of the library. The file is then opened part by part from that folder on, never through a link, so that
a path that changes meanwhile leads nowhere; and what was opened must be the file that was indexed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from indexer.advice import NOT_THERE
from indexer.items import Item, ItemFile, item_of
from indexer.paths import relative_to
from indexer.store import Store
from mmsearch.server.errors import ApiError, not_found

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = _FLAGS | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_FILE = _FLAGS | _NO_LINK | getattr(os, "O_NONBLOCK", 0)  # a pipe that took a file's place is not waited for

OUTSIDE = ApiError(
    403,
    "outside",
    "the file is reached through a link that leads out of the library's folders",
    "index the folder that the link leads to",
)
CHANGED = ApiError(
    409, "changed", "the file was changed or moved since it was indexed", "bring the library up to date: index again"
)

GONE = ApiError(409, CHANGED.error, f"the file is {NOT_THERE}", CHANGED.hint)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file of an item, open. `descriptor`: for reading; `size`: in bytes."""

    item: Item
    file: ItemFile
    descriptor: int
    size: int

    @property
    def path(self) -> Path:
        """A path for decoders that leads to this open file, whatever becomes of its name."""
        for folder in ("/proc/self/fd", "/dev/fd"):
            if os.path.exists(f"{folder}/{self.descriptor}"):
                return Path(f"{folder}/{self.descriptor}")
        return Path(self.file.path)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


def find(store: Store, key: str) -> Item:
    """The item of an id.

    Raises:
        ApiError: the library has none on disk.
    """
    item = item_of(store, key)
    if item is None:
        raise not_found()
    return item


def held_as(store: Store, digest: str, format: str) -> str | None:
    """The id of the item that holds some bytes, if the library has them and their file is there as it was indexed."""
    item = item_of(store, f"{digest}-{format}")
    if item is None:
        return None
    try:
        open_item(store, item).close()
    except ApiError:
        return None
    return item.key


def open_item(store: Store, item: Item) -> Opened:
    """Open the first file of an item that is as it was indexed.

    Raises:
        ApiError: each of them has changed, is gone, or lies outside of the library's folders.
    """
    roots = [os.path.realpath(root) for root in store.roots().values()]
    refused: ApiError = GONE
    for file in item.files:
        try:
            descriptor = open_inside(roots, file.path)
        except ApiError as error:
            refused = error
            continue
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            refused = CHANGED
            continue
        refused = CHANGED
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns):
            return Opened(item, file, descriptor, status.st_size)
        os.close(descriptor)
    raise refused


@contextmanager
def opened(store: Store, item: Item) -> Iterator[Opened]:
    """The same, closed in the end."""
    found = open_item(store, item)
    try:
        yield found
    finally:
        found.close()


def open_inside(roots: Sequence[str], path: str) -> int:
    """Open a file that really lies in one of some folders; its descriptor.

    Args:
        roots: absolute real paths of folders.
        path: absolute; links in it are resolved, and what they lead to is opened without following any.

    Raises:
        ApiError: it lies in none of them.
        OSError: it is not there, may not be read, or changed while it was opened.
    """
    real = os.path.realpath(path)
    for root in roots:
        inside = relative_to(real, root)
        if inside:
            return _open_below(root, inside.split("/"))
    raise OUTSIDE


def _open_below(root: str, parts: Sequence[str]) -> int:
    if os.open not in os.supports_dir_fd:  # Windows
        return os.open(os.path.join(root, *parts), _FILE)
    folder = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
