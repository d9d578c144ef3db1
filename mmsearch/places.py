"""Where things are: the library when nobody says, and places as people write them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from indexer.errors import UsageError

LIBRARY_VARIABLE = "MMSEARCH_LIBRARY"


def default_library() -> Path:
    """Where the library is when nobody says: `MMSEARCH_LIBRARY`, or the user's data directory."""
    chosen = os.environ.get(LIBRARY_VARIABLE)
    if chosen:
        return expanded(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("mmsearch", appauthor=False)) / "library"


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with "~" resolved.

    Raises:
        UsageError: "~" names nobody.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{os.fspath(path)}: {error}") from error


def spellings(path: str) -> list[str]:
    """A place as it is written, made absolute, and as it really is: files found through a link keep the link's name."""
    if not path:
        raise UsageError('the path is empty; name a file or folder ("." for this one)')
    place = os.path.expanduser(path)
    return list(dict.fromkeys([os.path.abspath(place), os.path.realpath(place)]))


def bytes_of(files: Iterable[Path]) -> int:
    """How much some files hold together; one that is gone meanwhile counts as nothing."""
    total = 0
    for file in files:
        with contextlib.suppress(OSError):  # SQLite's log comes and goes
            total += file.stat().st_size
    return total
