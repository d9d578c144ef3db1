"""Fetching from the Hugging Face hub, into the cache of its own client, and going on where a former run stopped.

The transfer is ours in one respect: the hub's client (1.18 and later) begins an interrupted file again from its first
byte, https://github.com/huggingface/huggingface_hub/issues/4196. Here what was fetched of a large file is kept beside
the place where it will be, under its SHA-256, and the next run goes on from there.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

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

# A connection that brings nothing is tried so often, after a pause.
TRIES = 3
PAUSE_SECONDS = 1.0

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
            temporary = reference.with_name(f"{reference.name}.{uuid.uuid4().hex}")  # another thread may do the same
            temporary.write_text(remote.commit, encoding="utf-8")
            temporary.replace(reference)
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

    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(blob.name + PARTIAL)
    with FileLock(partial.with_name(partial.name + ".lock")):
        if blob.exists():
            return
        url = hf_hub_url(remote.need.repository, file.name, revision=remote.commit, endpoint=constants.ENDPOINT)
        # The address of the bytes themselves, which may be another host's: no token goes there.
        found = get_hf_file_metadata(url, endpoint=constants.ENDPOINT, timeout=ANSWER_SECONDS)
        token = None if _host(found.location) == _host(url) else False
        _append(partial, found.location, file.size, token, meter)
        if sha256_of(partial) != file.sha256:
            partial.unlink()
            raise UnavailableError(
                f"{file.name} of {remote.need.repository!r} came damaged: its SHA-256 is not the one that the hub"
                " names; what was fetched of it was deleted, run the same command again",
                "what came is damaged",
            )
        partial.replace(blob)
    partial.with_name(partial.name + ".lock").unlink(missing_ok=True)


def _append(partial: Path, url: str, size: int, token: bool | None, meter: _Meter) -> None:
    """Fetch what a file still lacks, through as many connections as it takes while each brings something."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import HfHubHTTPError

    utils = _untyped_utils()
    failures = best = 0
    with partial.open("ab") as file:
        if file.tell() > size:
            _empty(file)
        meter.advance(file.tell())
        while file.tell() < size:
            begun = file.tell()
            # Not compressed on the way: what is counted is what is kept.
            headers = {**utils.build_hf_headers(token=token), "Accept-Encoding": "identity"}
            if begun:
                headers["Range"] = f"bytes={begun}-"
            error: Exception = ConnectionError("the connection ended before the file did")
            try:
                with get_session().stream(
                    "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
                ) as response:
                    utils.hf_raise_for_status(response)
                    if begun and response.status_code != HTTPStatus.PARTIAL_CONTENT:  # it sends all of it again
                        _empty(file)
                        meter.advance(-begun)
                    for piece in response.iter_bytes():
                        file.write(piece)
                        meter.advance(len(piece))
            except (HfHubHTTPError, OSError):
                raise  # an answer, or our own disk
            except Exception as caught:  # whatever the HTTP library raises when a connection breaks or falls silent
                error = caught
            if file.tell() >= size:
                return
            failures = 0 if file.tell() > best else failures + 1
            best = max(best, file.tell())
            if failures >= TRIES:
                raise error
            file.flush()
            time.sleep(PAUSE_SECONDS)


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


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
