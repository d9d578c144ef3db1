"""Files of a checkpoint: telling weights apart without reading gigabytes at every start, and reading configurations."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

from indexer.errors import WeightsError
from mmsearch.encoders.weights import cache_directory, sha256_of, write_atomically


def file_fingerprint(path: str | Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits.

    It is kept in the cache directory beside the file's size and time of modification, and computed
    again when either differs. Where the cache cannot be written, it is computed each time.
    """
    path = Path(path)
    try:
        # Resolved, so that a link to another file is another file.
        resolved = path.resolve(strict=True)
        status = resolved.stat()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error}") from error
    size_and_time = [status.st_size, status.st_mtime_ns]
    key = hashlib.sha256(str(resolved).encode(errors="surrogateescape")).hexdigest()[:16]
    kept = cache_directory() / "fingerprints" / f"{key}.json"
    known = _read(kept, size_and_time)
    if known is not None:
        return known
    try:
        digest = sha256_of(resolved)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error}") from error
    line = json.dumps({"path": str(resolved), "size_and_time": size_and_time, "sha256": digest})
    try:
        write_atomically(kept, lambda file: file.write(line.encode()))
    except WeightsError:
        # Only the next start is slower for it.
        return digest
    return digest


def _read(kept: Path, size_and_time: list[int]) -> str | None:
    try:
        row = json.loads(kept.read_text(encoding="utf-8"))
        return str(row["sha256"]) if row["size_and_time"] == size_and_time else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_json_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file of a checkpoint holds.

    Raises:
        WeightsError: it cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON ({error}); copy it again from where it came") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return cast("dict[str, Any]", value)
