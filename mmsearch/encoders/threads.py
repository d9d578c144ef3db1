"""Using the cores without splitting single layers over them.

torch and BLAS would rather split every layer over all cores, and wait for the slowest at the end of each.
When anything else is running, such as the threads that decode media, those waits cost more than the split
gains: 2 pictures per second in place of 20, and queries of up to 500 ms in place of 20, on two cores of
which one was busy. Here each thread takes whole inputs and waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from indexer.cores import available_cores

Input = TypeVar("Input")
Output = TypeVar("Output")


def map_with_torch(function: Callable[[Input], Output], inputs: Iterable[Input]) -> list[Output]:
    """`function` of each input in order, without gradients. Imports torch."""
    import torch

    def without_gradients(value: Input) -> Output:
        with torch.inference_mode():
            return function(value)

    return list(_pool().map(without_gradients, inputs))


def map_in_order(function: Callable[[Input], Output], inputs: Iterable[Input]) -> Iterator[Output]:
    """`function` of each input in order, in threads that run ahead of whoever takes the results. Imports torch."""
    return _pool().map(function, inputs)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    import torch

    # OpenMP keeps the number of threads for each calling thread, so that the caller keeps its own.
    return ThreadPoolExecutor(
        max_workers=available_cores(),
        thread_name_prefix="mmsearch-torch",
        initializer=torch.set_num_threads,
        initargs=(1,),
    )
