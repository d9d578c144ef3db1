"""Where towers compute, and how batches get there: the one place for all towers of torch.

On the processor each thread takes one chunk of inputs through the network (threads.py). On a GPU chunks of one shape
are put together to batches that fit the card, their memory is pinned so that it can be copied while the card computes,
and nothing waits for a result before the last batch is on its way.

No GPU was at hand where this was written: the way of a GPU is tested on the processor, with the same code, and its
tests on a card have not been run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from indexer.types import Vectors
from mmsearch.encoders.threads import map_in_order, map_with_torch

if TYPE_CHECKING:
    import torch

    from mmsearch.encoders.precision import Precision

DEVICE_VARIABLE = "MMSEARCH_DEVICE"

CPU = "cpu"

# Inputs in the first batch on a card, from which the cost of one is measured.
FIRST_BATCH = 16

# No more in one batch: larger ones are not faster, and an indexing run waits for them to fill.
LARGEST_BATCH = 512

# What a batch may take of the card's free memory.
SHARE_OF_MEMORY = 0.6

Inputs = Mapping[str, NDArray[Any]]
Forward = Callable[[Mapping[str, "torch.Tensor"]], "torch.Tensor"]


@lru_cache(maxsize=1)
def device() -> str:
    """Where towers compute: MMSEARCH_DEVICE ("cpu", "cuda", "cuda:1"), else a GPU that torch can use, else "cpu".

    torch is imported only where there may be a GPU, so that a machine without one does not wait for it.

    Raises:
        UsageError: MMSEARCH_DEVICE names a device that torch does not have.
    """
    asked = os.environ.get(DEVICE_VARIABLE, "").strip().lower()
    if asked == CPU or (not asked and not _may_have_gpu()):
        return CPU
    import torch

    if not asked:
        return "cuda" if torch.cuda.is_available() else CPU
    kind, _, number = asked.partition(":")
    there = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if not there or (number and (not number.isdigit() or int(number) >= there)):
        raise UsageError(
            f"{DEVICE_VARIABLE}={asked} cannot be used: it is cpu, cuda, or cuda:N, and torch sees {there} GPUs here"
        )
    return asked


def gpu_precision() -> Precision | None:
    """What the GPU computes in: bfloat16 where it knows that, else float16; None without a GPU."""
    if device() == CPU:
        return None
    import torch

    # Emulated bfloat16 does not count: it is slow.
    return "bfloat16" if torch.cuda.get_device_capability(device()) >= (8, 0) else "float16"


def check_gpu(precision: str) -> None:
    """Refuse a number type that only a GPU is fast with where there is none.

    Raises:
        UsageError: towers compute on the processor here.
    """
    if device() == CPU:
        raise UsageError(
            f"{precision} is for GPUs, and there is none that torch can use here; take bfloat16 or float32"
        )


def batch_size(usual: int) -> int:
    """How many samples a tower is best given at once: `usual` on the processor, more on a GPU."""
    return usual if device() == CPU else max(usual, LARGEST_BATCH // 2)


def run(
    forward: Forward, chunks: Sequence[Any], prepare: Callable[[Any], Inputs], dtype: torch.dtype, dim: int
) -> Vectors:
    """Vectors of chunks of inputs: (inputs, width) float32, each row of length 1, in order.

    Args:
        forward: from tensors by name, on the device and without gradients, to (n, width) features.
        chunks: each goes through the network alone on the processor.
        prepare: makes a chunk's arrays, with one row for each input; called in threads.
        dtype: what floating point inputs are brought to.
        dim: width of what is given for no chunks at all.
    """
    if not chunks:
        return np.empty((0, dim), np.float32)
    if device() == CPU:
        parts = map_with_torch(lambda chunk: _unit(forward(_tensors(prepare(chunk), dtype))), chunks)
        return np.concatenate(parts)
    return on_card(forward, map_in_order(prepare, chunks), dtype, device())


def to_device(network: Any, precision: Precision) -> Any:
    """A network of torch, ready for inference: in its precision, without gradients, where it computes."""
    import torch

    return network.eval().requires_grad_(False).to(device=device(), dtype=getattr(torch, precision))


_fitting: dict[Any, int] = {}
"""How many inputs of a shape fit the card at once, by what goes through: learned from the batches before."""


def on_card(forward: Forward, chunks: Iterator[Inputs], dtype: torch.dtype, where: str) -> Vectors:
    """The way of a GPU: batches of neighbouring chunks of one shape, on the device `where`."""
    import torch

    features = []
    with torch.inference_mode():
        for batch in _batches(chunks, where):
            features += _forward_all(forward, batch, dtype, where)
        # Only here is anything waited for.
        return np.concatenate([_unit(part) for part in features])


def _forward_all(forward: Forward, batch: Inputs, dtype: torch.dtype, where: str) -> list[torch.Tensor]:
    """The features of a batch, halved as often as the card's memory demands."""
    import torch

    rows, key = _rows(batch), _shape(batch, where)
    try:
        before = _memory(where)
        features = forward(_tensors(batch, dtype, where))
        _learn(key, rows, before, where)
        return [features]
    except torch.OutOfMemoryError:
        if rows == 1:
            raise
        half = rows // 2
        _fitting[key] = min(_fitting.get(key, half), half)
    # Outside of the handler, where the error would keep the memory of what failed alive.
    if where != CPU:
        torch.cuda.empty_cache()
    halves = ({name: value[:half] for name, value in batch.items()}, {n: v[half:] for n, v in batch.items()})
    return [part for each in halves for part in _forward_all(forward, each, dtype, where)]


def _batches(chunks: Iterator[Inputs], where: str) -> Iterator[Inputs]:
    """Chunks put together while they have one shape and fit."""
    waiting: list[Inputs] = []
    for chunk in chunks:
        if waiting:
            rows = sum(map(_rows, waiting)) + _rows(chunk)
            limit = _fitting.get(_shape(chunk, where), FIRST_BATCH)
            if _shape(chunk, where) != _shape(waiting[0], where) or rows > limit:
                yield _joined(waiting)
                waiting = []
        waiting.append(chunk)
    if waiting:
        yield _joined(waiting)


def _learn(key: Any, rows: int, before: tuple[int, int] | None, where: str) -> None:
    """From what a batch took at most, how many would fit. Once known, only running out of memory changes it."""
    import torch

    if before is None or key in _fitting or rows < FIRST_BATCH // 2:
        return
    free, allocated = before
    taken = max(1, torch.cuda.max_memory_allocated(where) - allocated)
    _fitting[key] = max(1, min(LARGEST_BATCH, int(SHARE_OF_MEMORY * free / taken * rows)))


def _memory(where: str) -> tuple[int, int] | None:
    """The card's free bytes and those that torch has given out; None on the processor."""
    import torch

    if where == CPU:
        return None
    torch.cuda.reset_peak_memory_stats(where)
    return torch.cuda.mem_get_info(where)[0], torch.cuda.memory_allocated(where)


def _tensors(inputs: Inputs, dtype: torch.dtype, where: str = CPU) -> dict[str, torch.Tensor]:
    import torch

    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
    if where != CPU:
        tensors = {name: value.pin_memory().to(where, non_blocking=True) for name, value in tensors.items()}
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors.items()}


def _unit(features: torch.Tensor) -> Vectors:
    """Rows of length 1, float32, whatever the type of the features: (n, width)."""
    from torch.nn import functional

    vectors: Vectors = functional.normalize(features.float(), dim=-1).cpu().numpy()
    return vectors


def _rows(inputs: Inputs) -> int:
    return len(next(iter(inputs.values())))


def _shape(inputs: Inputs, where: str) -> Any:
    return (where, *((name, value.shape[1:], value.dtype.str) for name, value in sorted(inputs.items())))


def _joined(chunks: Sequence[Inputs]) -> Inputs:
    return chunks[0] if len(chunks) == 1 else {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}


def _may_have_gpu() -> bool:
    """Whether a driver for GPUs is there, told without torch."""
    if sys.platform == "win32":
        return Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll").exists()
    # NVIDIA's driver, the same under WSL, and AMD's, whose torch calls itself cuda as well.
    return any(Path(place).exists() for place in ("/proc/driver/nvidia/version", "/dev/dxg", "/dev/kfd"))
