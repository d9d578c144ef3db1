"""Pictures that mmsearch draws into files: whole or not at all, and never over what somebody else made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from indexer.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image


def check_png(path: Path, mark: str, noun: str) -> None:
    """Refuse a place where a picture cannot be written, before anything is computed for it.

    Args:
        path: where it is to be.
        mark: the PNG text "Software" of those that may be replaced.
        noun: what it is, with its article: "a contact sheet".

    Raises:
        UsageError: it is no PNG file in a folder that is there, or a file of somebody else's.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{noun} is a PNG file; name one that ends in .png, not {os.fspath(path)!r}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to put {noun} in")
    check_writable(path.parent, noun)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for {noun}")
    if path.exists() and not _is_marked(path, mark):
        raise UsageError(f"{path} is there already, and is not {noun} of mmsearch's; remove it or take another name")


def _is_marked(path: Path, mark: str) -> bool:
    """Whether a file is a picture of ours. The mark is near the beginning; Pillow would take long to import."""
    try:
        with path.open("rb") as file:
            return f"tEXtSoftware\0{mark}".encode() in file.read(256)
    except OSError:  # what may not be looked at is not ours to replace
        return False


def check_writable(folder: Path, noun: str) -> None:
    """Refuse a folder that nothing can be put into, before anything is computed for it.

    Raises:
        UsageError: this user may not write there, or nobody may.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{noun} cannot be written into {folder}: you may not write there; name a place where you may")


def check_folder(folder: Path, noun: str) -> None:
    """The same for a folder that is made where it is not there yet.

    Raises:
        UsageError: a file is in its way, or this user may not make it.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"{noun} is a folder, and {there} is a file; take another name")
    check_writable(there, noun)


def save_png(image: Image.Image, path: Path, mark: str) -> None:
    """Write a picture as a PNG file with this mark, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", mark)
    replace_file(path, lambda file: image.save(file, "PNG", pnginfo=info))


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a file that then is at `path`, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    try:
        # Beside the file, so that a rename puts it there at once, also over an older one.
        handle, name = tempfile.mkstemp(prefix=".mmsearch-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise _of_place(error, path) from error
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        umask = os.umask(0)  # mkstemp makes files that only their owner may read
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):
            raise _of_place(error, path) from error
        raise


def _of_place(error: OSError, path: Path) -> OSError:
    """The same error, of the file that was wanted and not of a temporary one."""
    return OSError(error.errno, f"it cannot be written: {error.strerror or error}", os.fspath(path))
