"""Looking at a file of weights before anything loads it."""

from __future__ import annotations

import json
from pathlib import Path

from indexer.errors import WeightsError

# A safetensors header is JSON, and 100 MB at most: safetensors' own MAX_HEADER_SIZE.
MAX_HEADER_BYTES = 100_000_000

_PICKLE_PROTOCOL = b"\x80"
_ZIP = b"PK\x03\x04"  # what torch.save writes


def check_safetensors(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor by name, after checking that the file is whole.

    Eight bytes give the length of a JSON header, which gives each tensor's type, shape and place after the header
    (https://huggingface.co/docs/safetensors).

    Raises:
        WeightsError: the file is missing, truncated, or something else under this name.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if size < 8 or not 2 <= length <= MAX_HEADER_BYTES:
                if start.startswith((_ZIP, _PICKLE_PROTOCOL)):
                    raise WeightsError(
                        f"{path} is a pickle, and its name promises safetensors; pickles can run code when they are"
                        " loaded: take the safetensors file from where it came, or convert it"
                    )
                raise WeightsError(f"{path} is not a safetensors file: it has no header of a credible length")
            if size < 8 + length:
                raise WeightsError(_truncated(path, size, 8 + length))
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is not a safetensors file: its header cannot be read ({error})") from error
    if size < end:
        raise WeightsError(_truncated(path, size, end))
    return shapes


def _truncated(path: Path, found: int, expected: int) -> str:
    return f"{path} is cut off: it has {found:,} bytes, and its header promises {expected:,}; fetch it again"
