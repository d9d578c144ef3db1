"""Fetching from the Hugging Face hub, into the cache of its own client, and going on where a former run stopped.

The transfer is ours in one respect: the hub's client (1.18 and later) begins an interrupted file again from its first
byte, https://github.com/huggingface/huggingface_hub/issues/4196. Here what was fetched of a large file is kept beside
the place where it will be, under its SHA-256, and the next run goes on from there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from indexer.errors import WeightsError
from mmsearch.encoders.events import Fetching
from mmsearch.encoders.hub import (
    ANSWER_SECONDS,
    COMMIT,
    MAIN,
    Remote,
    RemoteFile,
    UnavailableError,
    cache_folder,
    place_of,
    told_plainly,
)
from mmsearch.encoders.weights import sha256_of
from mmsearch.units import amount

# Room that is left on the disk beside what is fetched.
SPARE_BYTES = 100_000_000

PARTIAL = ".mmsearch-partial"
"""What a large file is called, after its SHA-256, while it is not whole."""

OnFetching = Callable[[Fetching], None]


def fetch(remote: Remote, on_fetching: OnFetching | None = None) -> Path:
    """Fetch what is not here yet, small files first, and give the folder of the cache that holds it all.

    An interrupted file is taken up where it ended. Large files are held against the SHA-256 that the hub names.
    """
    from huggingface_hub import constants, hf_hub_download

    need = remote.need
    place = place_of(need.repository)
    meter = _Meter(remote.bytes, on_fetching)
    with told_plainly(need), _quiet_client():
        place.mkdir(parents=True, exist_ok=True)
        check_room(place, sum(file.size for file in remote.files if not _blob(place, file).exists()))
        for file in sorted(remote.files, key=lambda file: (file.sha256 is not None, file.size, file.name)):
            meter.begin(file.name)
            if file.sha256 is not None:
                _fetch_blob(remote, file, _blob(place, file), meter)
            hf_hub_download(
                need.repository,
                file.name,
                revision=remote.commit,
                cache_dir=cache_folder(),
                endpoint=constants.ENDPOINT,
                etag_timeout=ANSWER_SECONDS,
            )
            meter.end(file.size)
        # Last, so that a branch never points to what is not whole.
        asked = need.revision or MAIN
        if not COMMIT.fullmatch(asked):
            reference = place / "refs" / asked
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.with_name(f"{reference.name}.{os.getpid()}").write_text(remote.commit, encoding="utf-8")
            reference.with_name(f"{reference.name}.{os.getpid()}").replace(reference)
    folder = place / "snapshots" / remote.commit
    if not need.is_met_by(folder):
        raise WeightsError(f"{folder} lacks files of {need.repository!r} after fetching it: expected {need}")
    return folder


def check_room(place: Path, bytes: int) -> None:
    """Raise WeightsError when so many bytes do not fit beside a folder."""
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if bytes and free < bytes + SPARE_BYTES:
        raise UnavailableError(
            f"{amount(bytes)} are to be fetched to {place}, and {amount(free)} are free there; make room, or set"
            " HF_HOME to a folder on another disk",
            f"{amount(bytes)} do not fit on the disk",
        )


def _blob(place: Path, file: RemoteFile) -> Path:
    return place / "blobs" / (file.sha256 or file.name)


def _fetch_blob(remote: Remote, file: RemoteFile, blob: Path, meter: _Meter) -> None:
    """Bring a large file under its SHA-256 into the cache, from where a former run stopped."""
    from filelock import FileLock
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get

    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(blob.name + PARTIAL)
    with FileLock(partial.with_name(partial.name + ".lock")):
        if blob.exists():
            return
        url = hf_hub_url(remote.need.repository, file.name, revision=remote.commit, endpoint=constants.ENDPOINT)
        # The address of the bytes themselves, which may be another host's: no token goes there.
        found = get_hf_file_metadata(url, endpoint=constants.ENDPOINT, timeout=ANSWER_SECONDS)
        token = None if _host(found.location) == _host(url) else False
        begun = partial.stat().st_size if partial.exists() else 0
        if begun > file.size:
            partial.unlink()
            begun = 0
        with partial.open("ab") as raw:
            meter.advance(begun)
            http_get(
                found.location,
                _Counted(raw, meter),
                resume_size=begun,
                headers=_untyped_utils().build_hf_headers(token=token),
                expected_size=file.size,
            )  # type: ignore[arg-type, unused-ignore]
        if sha256_of(partial) != file.sha256:
            partial.unlink()
            raise UnavailableError(
                f"{file.name} of {remote.need.repository!r} came damaged: its SHA-256 is not the one that the hub"
                " names; what was fetched of it was deleted, run the same command again",
                "what came is damaged",
            )
        partial.replace(blob)
    partial.with_name(partial.name + ".lock").unlink(missing_ok=True)


class _Meter:
    """Counts bytes over all files of a download, and reports ten times a second at most."""

    def __init__(self, total: int, report: OnFetching | None) -> None:
        self._total, self._report = total, report
        self._whole = self._of_this = 0
        self._file = ""
        self._reported = 0.0

    def begin(self, file: str) -> None:
        self._file, self._of_this = file, 0
        self._tell()

    def advance(self, count: int) -> None:
        self._of_this += count
        self._tell(seldom=True)

    def end(self, size: int) -> None:
        self._whole, self._of_this = self._whole + size, 0
        self._tell()

    def _tell(self, *, seldom: bool = False) -> None:
        now = time.monotonic()
        if self._report is not None and not (seldom and now - self._reported < 0.1):
            self._reported = now
            self._report(Fetching(self._file, max(0, self._whole + self._of_this), self._total))


class _Counted:
    """A file open for appending, whose bytes are counted as they are written or cut off again."""

    def __init__(self, file: IO[bytes], meter: _Meter) -> None:
        self._file, self._meter = file, meter

    def write(self, data: bytes) -> int:
        self._meter.advance(len(data))
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        before = self._file.seek(0, os.SEEK_END) if size is None else self._file.tell()
        self._file.flush()
        cut = self._file.truncate(size)
        self._meter.advance(cut - before)
        return cut

    def flush(self) -> None:
        self._file.flush()


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Without the progress bars of the hub's client, and its warnings of what is tried again."""
    utils = _untyped_utils()
    verbosity, hidden = utils.logging.get_verbosity(), utils.are_progress_bars_disabled()
    utils.logging.set_verbosity_error()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.logging.set_verbosity(verbosity)
        if not hidden:
            utils.enable_progress_bars()


def _untyped_utils() -> Any:
    from huggingface_hub import utils

    return utils


def _host(url: str) -> str:
    from urllib.parse import urlparse

    return urlparse(url).netloc
