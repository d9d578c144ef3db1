"""Finding a data set's files in a folder, however somebody has unpacked them."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from indexer.errors import UsageError
from indexer.media.formats import SUFFIXES
from indexer.names import Kind

_AUDIO = frozenset({"wav", "mp3", "flac", "ogg", "aac", "aiff", "caf", "amr", "wavpack"})
_OTHERWISE: Mapping[str, Kind] = MappingProxyType(
    {".m4a": "audio", ".m4b": "audio", ".mka": "audio", ".weba": "audio", ".wma": "audio", ".ogv": "video"}
)
_IMAGE = frozenset({"jpeg", "png", "webp", "gif", "bmp", "tiff", "heif", "avif"})
_TEXT = frozenset({"text", "markdown", "html", "pdf", "srt", "vtt"})


def kind_of(path: str) -> Kind | None:
    """What a file's suffix promises; None for one that we do not read.

    The content is looked at when the file is indexed. Here a hundred thousand names are told apart.
    """
    suffix = os.path.splitext(path)[1].lower()
    format = SUFFIXES.get(suffix)
    if format is None:
        return None
    if suffix in _OTHERWISE:
        return _OTHERWISE[suffix]
    for formats, kind in ((_IMAGE, "image"), (_AUDIO, "audio"), (_TEXT, "text")):
        if format in formats:
            return kind  # type: ignore[return-value]
    return "video"


def canonical(path: str) -> str:
    """A file's absolute path with the links in its folder resolved, but not itself: as hits name files."""
    directory, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(directory), name)


class Folder:
    """A folder that holds a data set, listed once. Hidden folders are left out, links are followed, never round a loop.

    Names are compared in Unicode's composed form (NFC): macOS and archives made there write them decomposed. They are
    compared as written otherwise, because ids of YouTube may differ in case alone; only a suffix may be in capitals.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.realpath(os.path.expanduser(os.fspath(path))))
        if not self.path.is_dir():
            found = "is a file" if self.path.exists() else "does not exist"
            raise UsageError(f"{path} {found}; name the folder that holds the data set")

    @cached_property
    def _files(self) -> list[str]:
        """Every file, as an absolute path: nearer ones first, then by name."""
        found: list[tuple[int, str]] = []
        seen: set[tuple[int, int]] = set()
        for directory, folders, names in os.walk(self.path, followlinks=True):
            status = os.stat(directory)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
            depth = directory.count(os.sep)
            found += [(depth, os.path.join(directory, name)) for name in names if not name.startswith("._")]
        return [path for _, path in sorted(found)]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        table: dict[str, list[str]] = defaultdict(list)
        for path in self._files:
            table[_key(os.path.basename(path))].append(path)
        return dict(table)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        table: dict[str, list[str]] = defaultdict(list)
        for path in self._files:
            table[_nfc(os.path.splitext(os.path.basename(path))[0])].append(path)
        return dict(table)

    @cached_property
    def _directories(self) -> frozenset[str]:
        """Names of all folders that hold media, in lower case."""
        media = (path for path in self._files if kind_of(path) not in (None, "text"))
        return frozenset(part.lower() for path in media for part in self._parts(path)[:-1])

    def _parts(self, path: str) -> list[str]:
        return os.path.relpath(path, self.path).split(os.sep)

    def relative(self, path: str) -> str:
        """Where a file lies in this folder, with "/" between parts: the same on every machine."""
        return "/".join(self._parts(path))

    @property
    def files(self) -> Sequence[str]:
        """Every file in the folder, as an absolute path."""
        return self._files

    def annotation(self, *names: str) -> Path | None:
        """The first of these files that is there; of several with one name, the one nearest to the top."""
        for name in names:
            found = self._by_name.get(_key(name))
            if found:
                return Path(found[0])
        return None

    def named(self, name: str, kinds: Sequence[Kind] = (), *, under: Iterable[str] = ()) -> str | None:
        """The file of this name, which may be a path's end such as "val2014/x.jpg"; None when it is not there."""
        name = name.replace("\\", "/")
        tail = [_nfc(part) for part in name.split("/") if part not in ("", ".")]
        if not tail:
            return None
        found = self._by_name.get(_key(tail[-1]), [])
        exact = [path for path in found if [_nfc(part) for part in self._parts(path)[-len(tail) :]][:-1] == tail[:-1]]
        return self._choose(exact or found, kinds, under)

    def with_stem(self, stem: str, kinds: Sequence[Kind], *, under: Iterable[str] = ()) -> str | None:
        """The file of one of these kinds whose name without its suffix is `stem`; None when there is none."""
        return self._choose(self._by_stem.get(_nfc(stem), []), kinds, under)

    def _choose(self, found: Sequence[str], kinds: Sequence[Kind], under: Iterable[str]) -> str | None:
        """The first of these files that is of one of the kinds, in the order of the kinds.

        When the data set has media in a folder of one of the names `under`, the file must lie in it: a file of the same
        name in another split's folder is another file.
        """
        folders = {name.lower() for name in under} & self._directories
        if folders:
            found = [path for path in found if folders & {part.lower() for part in self._parts(path)[:-1]}]
        if not kinds:
            return found[0] if found else None
        return next((path for kind in kinds for path in found if kind_of(path) == kind), None)


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    """A file's name with its suffix in lower case."""
    stem, suffix = os.path.splitext(_nfc(name))
    return stem + suffix.lower()
