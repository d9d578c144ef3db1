"""Files that clients send to search by: bounded in bytes, pixels and seconds, kept for a while, gone with the server.

They go through the decoders that folders go through. An upload is known by the digest of its bytes, so that a query
with one can stand in an address bar: it answers as long as the server keeps the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from indexer.errors import MediaTooLargeError
from indexer.likeness import decoded_side
from indexer.media import SUFFIXES, open_media, sniff
from indexer.types import AudioSample, DecodeSettings, Encoder, ImageSample, MediaInfo, Sample, TextSample
from mmsearch.readings import FRAMES, LISTENED_SECONDS
from mmsearch.server.errors import not_found
from mmsearch.server.settings import Limits
from mmsearch.server.work import check_left

_BLOCK = 1 << 20
_MOST_TEXTS = 256
"""Pieces of a document that a query is made of, from its beginning."""
_TEXT_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent. `name`: what the client calls it; `digest`: as the library's contents have it."""

    id: str
    digest: str
    name: str
    path: Path
    bytes: int
    info: MediaInfo


class Uploads:
    """The uploads of one server, in a folder of its own; the longest unused go first. Safe for several threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder = Path(tempfile.mkdtemp(prefix="mmsearch-uploads-"))
        # It goes with the process at the latest, also where nobody calls `close`.
        self._forget = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Forget all of them."""
        self._forget()

    def get(self, id: str) -> Upload:
        """An upload by its id.

        Raises:
            ApiError: it is kept no more.
        """
        with self._lock:
            found = self._kept.get(id)
            if found is not None:
                self._kept.move_to_end(id)
        if found is None:
            raise not_found("upload")
        return found

    def add(self, name: str, file: BinaryIO) -> Upload:
        """Keep a file, if it is something to search by.

        Args:
            name: what the client calls it; only its suffix counts, and that only for texts.
            file: open, at its beginning.

        Raises:
            MediaError: it is too large, damaged, or nothing that mmsearch reads.
        """
        suffix = Path(name).suffix.lower()
        suffix = suffix if suffix in SUFFIXES else ""
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, suffix=suffix)
        path = Path(temporary)
        try:
            digest, size = self._copy(file, descriptor)
            info = self._probe(path)
            id = hashlib.blake2b(digest + suffix.encode(), digest_size=16).hexdigest()
            kept = Upload(
                id, digest.hex(), Path(name).name[:200] or "upload", self._folder / f"{id}{suffix}", size, info
            )
            with self._lock:
                if id not in self._kept:
                    os.replace(path, kept.path)
                    self._bytes += size
                self._kept[id] = kept  # by the name that it has now
                self._kept.move_to_end(id)
                self._make_room()
                return kept
        finally:
            path.unlink(missing_ok=True)

    def _copy(self, file: BinaryIO, descriptor: int) -> tuple[bytes, int]:
        digest, size = hashlib.blake2b(digest_size=20), 0  # as the library's contents are known
        with open(descriptor, "wb") as out:
            while block := file.read(_BLOCK):
                check_left()
                size += len(block)
                if size > self._limits.upload_bytes:
                    raise MediaTooLargeError(
                        f"a file to search by has at most {self._limits.upload_bytes / 1e6:.0f} MB: send a smaller one"
                    )
                digest.update(block)
                out.write(block)
        return digest.digest(), size

    def _make_room(self) -> None:
        while len(self._kept) > 1 and (
            len(self._kept) > self._limits.kept_uploads or self._bytes > self._limits.kept_bytes
        ):
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.bytes
            oldest.path.unlink(missing_ok=True)

    def _probe(self, path: Path) -> MediaInfo:
        """What the file says of itself; no more than headers and one frame are decoded. A picture is that frame."""
        with open_media(path, self._settings(1, None), format=sniff(path)) as media:
            info = media.info
            if info.kind == "image":  # one that is cut short is refused, as it is by indexing
                next(iter(media.samples), None)
        if info.duration_seconds is not None and info.duration_seconds > self._limits.upload_seconds:
            raise MediaTooLargeError(
                f"it lasts {info.duration_seconds:.0f} s, and what is searched by lasts at most "
                f"{self._limits.upload_seconds:.0f} s: cut out what matters"
            )
        pixels = (info.width or 0) * (info.height or 0)
        if info.kind == "video" and pixels > self._limits.upload_pixels:
            raise MediaTooLargeError(
                f"its frames are {info.width} x {info.height}, more than the "
                f"{self._limits.upload_pixels / 1e6:.1f} megapixels allowed: make it smaller"
            )
        return info

    def _settings(self, image_side: int, sample_rate: int | None) -> DecodeSettings:
        return DecodeSettings(
            image_side=image_side,
            sample_rate=sample_rate,
            count_tokens=len,
            max_tokens=1000,
            max_pixels=self._limits.upload_pixels,
            max_text_bytes=_TEXT_BYTES,
        )

    def samples(self, upload: Upload, encoder: Encoder) -> list[Sample]:
        """What a query is made of: as much of the file as `mmsearch.readings` takes of one that it reads itself.

        Raises:
            MediaError: it cannot be decoded, or not within the time allowed.
            CancelledError: the client left.
        """
        spec, info = encoder.spec, upload.info
        rate = 1.0
        if info.duration_seconds and info.duration_seconds > FRAMES:
            rate = FRAMES / info.duration_seconds
        settings = DecodeSettings(
            image_side=decoded_side(spec),
            sample_rate=spec.sample_rate,
            count_tokens=encoder.count_tokens,
            max_tokens=spec.max_tokens,
            frames_per_second=rate,
            audio_block_seconds=LISTENED_SECONDS,
            max_pixels=self._limits.upload_pixels,
            max_text_bytes=_TEXT_BYTES,
        )
        until = time.monotonic() + self._limits.decode_seconds
        return list(self._taken(upload, settings, until))

    def _taken(self, upload: Upload, settings: DecodeSettings, until: float) -> Iterator[Sample]:
        frames, texts, heard = 0, 0, 0.0
        with contextlib.ExitStack() as stack:
            media = stack.enter_context(open_media(upload.path, settings, format=upload.info.format))
            for sample in media.samples:
                check_left()
                if time.monotonic() > until:
                    raise MediaTooLargeError(
                        f"decoding it takes longer than {self._limits.decode_seconds:.0f} s: send less of it"
                    )
                if isinstance(sample, AudioSample):
                    if heard >= LISTENED_SECONDS:
                        return
                    heard += len(sample.waveform) / sample.sample_rate
                elif isinstance(sample, ImageSample):
                    frames += 1
                    if frames > 2 * FRAMES:  # its headers were wrong about how long it lasts
                        continue
                elif isinstance(sample, TextSample):
                    texts += 1
                    if texts > _MOST_TEXTS and upload.info.kind == "text":
                        return
                yield sample
