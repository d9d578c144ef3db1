"""Which number type towers compute in."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from indexer.errors import UsageError

Precision = Literal["float32", "bfloat16", "float16"]

PRECISION_VARIABLE = "MMSEARCH_PRECISION"

AUTO_PRECISION = "auto"

_NAMES: dict[str, Precision] = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}


def choose_precision(asked: str | None = None) -> Precision:
    """The number type to compute in: `asked`, else MMSEARCH_PRECISION, else what this machine is fastest with.

    It is a rule and not a measurement made anew: the precision is part of a model's fingerprint, and a busy
    minute must not change it. A GPU computes in bfloat16 if it knows that, and else in float16. AMX multiplies tiles of
    bfloat16: on such a processor ViT-B-32 was seen to encode
    173 pictures a second against 32 in float32 (not measured again on the machine at hand, which has none).
    AVX512-BF16 alone does not count: there bfloat16 was 0.6 to 0.75 times as fast as
    float32, for ViT-B-32 and PE-Core B/16 and chunks of every size (docs/models.md).
    """
    # A library that was made on a GPU names float16, and may be asked anywhere.
    named = named_precision(asked, "the call")
    if named is not None:
        return named
    from mmsearch.encoders.devices import check_gpu, gpu_precision

    named = named_precision(os.environ.get(PRECISION_VARIABLE))
    if named == "float16":
        check_gpu(named)
    if named is not None:
        return named
    return gpu_precision() or ("bfloat16" if "amx_bf16" in _processor_flags() else "float32")


def named_precision(name: str | None, origin: str = PRECISION_VARIABLE) -> Precision | None:
    """The number type of a name; None for "auto" and for nothing.

    Raises:
        UsageError: there is none of that name; the message says that it came from `origin`.
    """
    if not name or name == AUTO_PRECISION:
        return None
    if name not in _NAMES:
        raise UsageError(
            f"there is no precision {name!r} (from {origin}): it is auto, float32, bfloat16, or float16 on a GPU"
        )
    return _NAMES[name]


def only_float32(asked: str | None, model: str) -> None:
    """Refuse another number type for a model that has no choice. MMSEARCH_PRECISION is for models that have one.

    Raises:
        UsageError: another one is asked for.
    """
    if named_precision(asked, "the call") not in (None, "float32"):
        raise UsageError(f"the model {model!r} computes in float32 only, not in {asked}; leave the precision out")


@lru_cache(maxsize=1)
def _processor_flags() -> frozenset[str]:
    """What the processor can do, as Linux says; empty elsewhere. Asking torch would mean to import it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
