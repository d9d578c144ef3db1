"""How many threads a search takes: one for one query, all for many.

FAISS would split one scan over all cores with OpenMP, and wait for the slowest at the end. A query takes a millisecond;
beside another program that computes, the wait took twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from indexer.cores import available_cores

MANY = 16
"""Queries from which it is worth while to wake other threads."""


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which FAISS computes in the calling thread alone. Others have a number of their own in OpenMP."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@contextmanager
def threads_for(queries: int) -> Iterator[None]:
    """`one_thread` for few queries; for many, what the process has set."""
    if queries >= MANY:
        yield
    else:
        with one_thread():
            yield


def each(function: Callable[[int], None], count: int) -> None:
    """`function` of 0, 1, ... count - 1, in threads where they are many, FAISS in each of them in one."""
    workers = min(available_cores(), count // MANY)
    if workers < 2:
        with one_thread():
            for at in range(count):
                function(at)
        return

    def some(first: int) -> None:
        with one_thread():
            for at in range(first, count, workers):
                function(at)

    with ThreadPoolExecutor(workers, thread_name_prefix="rescore") as pool:
        for done in [pool.submit(some, first) for first in range(workers)]:
            done.result()
