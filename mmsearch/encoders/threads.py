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
from threading import Lock
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


class _OneBlasThread:
    """While anybody is inside, NumPy's matrix products take one thread.

    The number is the whole process's. Where several threads are inside, the first to come lowers it, and the last to
    go puts it back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limited: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                _may_set()
                self._limited = _blas().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _may_set()
                self._limited.restore_original_limits()


_one_blas_thread = _OneBlasThread()


def one_blas_thread() -> AbstractContextManager[None]:
    """A context in which NumPy's matrix products take one thread; several threads may be in it at once."""
    return _one_blas_thread


def _may_set() -> None:
    """Let this thread set numbers: from version 3.8 on, threadpoolctl obeys the first thread that did, and no other."""
    from threadpoolctl import OpenBLASController

    if hasattr(OpenBLASController, "clear_controlling_thread"):
        OpenBLASController.clear_controlling_thread(force=True)


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
