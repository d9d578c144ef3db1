"""How many threads a search takes: one for one query, all for many.

FAISS would split one scan over all cores with OpenMP, and wait for the slowest at the end. A query takes a millisecond;
beside another program that computes, the wait took twenty.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
