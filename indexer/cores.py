"""The processor's cores: how many this process may use, and NumPy's matrix products on one of them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import lru_cache
from threading import Lock
from typing import Any


def available_cores() -> int:
    """Cores that this process may use, which in a container may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    """A context in which NumPy's matrix products take one thread; several threads may be in it at once.

    BLAS would rather split every product over all cores, and wait for the slowest at its end.
    """
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
