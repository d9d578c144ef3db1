"""Using the cores without splitting single layers over them.

torch and BLAS would rather split every layer over all cores, and wait for the slowest at the end of each.
When anything else is running, such as the threads that decode media, those waits cost more than the split
gains: 2 pictures per second in place of 20, and queries of up to 500 ms in place of 20, on two cores of
which one was busy. Here each thread takes whole inputs and waits for nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, TypeVar

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


def one_blas_thread() -> AbstractContextManager[object]:
    """A context in which NumPy's matrix products take one thread.

    The number is the whole process's. Of threads that are in it at once, threadpoolctl (3.8 and up) lets the first one
    lower it and put it back, and does nothing for the others.
    """
    limited: AbstractContextManager[object] = _blas().limit(limits=1, user_api="blas")
    return limited


@lru_cache(maxsize=1)
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


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


def available_cores() -> int:
    """Cores that this process may use, which in a container may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
