"""Which number type towers compute in."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from indexer.errors import UsageError

Precision = Literal["float32", "bfloat16"]

PRECISION_VARIABLE = "MMSEARCH_PRECISION"

_NAMES: dict[str, Precision] = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
}


def choose_precision(asked: str | None = None) -> Precision:
    """The number type to compute in: `asked`, else MMSEARCH_PRECISION, else what this processor is fastest with.

    It is a rule and not a measurement made anew: the precision is part of a model's fingerprint, and a busy
    minute must not change it. AMX multiplies tiles of bfloat16: on such a processor ViT-B-32 was seen to encode
    173 pictures a second against 32 in float32 (not measured again on the machine at hand, which has none).
    AVX512-BF16 alone does not count: there bfloat16 was 0.6 to 0.75 times as fast as
    float32, for ViT-B-32 and PE-Core B/16 and chunks of every size (docs/models.md).
    """
    wanted = asked or os.environ.get(PRECISION_VARIABLE) or "auto"
    if wanted == "auto":
        return "bfloat16" if "amx_bf16" in _processor_flags() else "float32"
    if wanted not in _NAMES:
        raise UsageError(
            f"there is no precision {wanted!r} (from {'the call' if asked else PRECISION_VARIABLE}):"
            " it is auto, float32 or bfloat16"
        )
    return _NAMES[wanted]


@lru_cache(maxsize=1)
def _processor_flags() -> frozenset[str]:
    """What the processor can do, as Linux says; empty elsewhere. Asking torch would mean to import it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
