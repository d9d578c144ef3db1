"""Heads and checksums of index files. They are caches: whatever is wrong with one, it is built again from the store."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

HEAD_BYTES = 4096
"""The length of a head, and so where the body begins: at the begin of a page of memory."""

INDEX_MAGIC = b"mmsearch-index-2"
BASE_MAGIC = b"mmsearch-base--1"


class IndexFileError(Exception):
    """An index file is missing, stale or damaged. It is a cache: rebuild it from the store."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an index was made from, so that a stale file is known by reading its first bytes.

    `last_id` is the highest id that it has seen, and `removals` the store's count of deletions then.
    `name` is random, and new each time that an index is saved; the store remembers the last one.
    """

    library_id: str
    generation_id: int
    channel: str
    dim: int
    last_id: int
    removals: int
    name: str = ""


def read_stamp(path: Path) -> Stamp | None:
    """What an index file says it was made from, its body unread; None when it is missing or cannot say."""
    try:
        with opened(path) as file:
            return Stamp(**read_head(file, INDEX_MAGIC)["stamp"])
    except IndexFileError:
        return None


class Hashed:
    """A file that is hashed while it is read or written, which spares memory for a second copy of what is in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = xxhash.xxh3_128()
        self.length = 0

    def read(self, count: int) -> bytes:
        """The next `count` bytes, or fewer at the end."""
        data = self._file.read(count)
        self._hash.update(data)
        self.length += len(data)
        return data

    def write(self, data: Any) -> int:
        """Write bytes, or an array that lies in one piece."""
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        self._hash.update(view)
        self.length += len(view)
        return self._file.write(view)

    def facts(self) -> dict[str, Any]:
        """What a head keeps of a part: its length in bytes, and its checksum."""
        return {"bytes": self.length, "xxh3": self._hash.hexdigest()}


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """An index file, with whatever can go wrong in reading it as one error."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise IndexFileError(f"{path} is not there") from None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
        raise IndexFileError(f"{path} cannot be read: {error}") from error


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path` that is synced and renamed into place at the end: there is never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")  # not mkstemp: others may read a library
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def head(magic: bytes, facts: Mapping[str, Any]) -> bytes:
    """The head of a file, always HEAD_BYTES long: it is written again once the body is known."""
    text = json.dumps(facts).encode()
    packed = magic + xxhash.xxh3_64(text).hexdigest().encode() + text
    if len(packed) > HEAD_BYTES:
        raise ValueError(f"too much for the head of an index file: {facts}")
    return packed.ljust(HEAD_BYTES)


def read_head(file: BinaryIO, magic: bytes) -> dict[str, Any]:
    """The facts at the head of a file."""
    data = file.read(HEAD_BYTES)
    if len(data) != HEAD_BYTES or not data.startswith(magic):
        raise ValueError("it does not begin as an index file does")
    digest, text = data[len(magic) : len(magic) + 16], data[len(magic) + 16 :].rstrip()
    if xxhash.xxh3_64(text).hexdigest().encode() != digest:
        raise ValueError("its head does not match its checksum")
    facts: dict[str, Any] = json.loads(text)
    return facts
