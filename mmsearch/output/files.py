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
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for {noun}")
    if path.exists():
        with path.open("rb") as file:  # the mark is near the beginning; Pillow would take long to import
            ours = f"tEXtSoftware\0{mark}".encode() in file.read(256)
        if not ours:
            raise UsageError(f"{path} is there already, and mmsearch did not draw it; remove it or take another name")


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
    # Beside the file, so that a rename puts it there at once, also over an older one.
    handle, name = tempfile.mkstemp(prefix=".mmsearch-", suffix=path.suffix, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        umask = os.umask(0)  # mkstemp makes files that only their owner may read
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
