import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from indexer.cores import one_blas_thread


def blas_threads() -> set[int]:
    """Of what NumPy uses. A BLAS that counts by OpenMP, as FAISS may bring along, has a number for each thread."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {pool["num_threads"] for pool in pools if pool.get("threading_layer") != "openmp"}


np.zeros((2, 2)) @ np.zeros((2, 2))  # BLAS is there
BEFORE = blas_threads()


def test_inside_there_is_one_thread_and_after_it_as_many_as_before():
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == BEFORE


def test_it_can_be_entered_again_inside():
    with one_blas_thread():
        with one_blas_thread():
            pass
        assert blas_threads() == {1}
    assert blas_threads() == BEFORE


def test_an_error_inside_puts_it_back():
    with pytest.raises(ValueError, match="no"), one_blas_thread():
        raise ValueError("no")
    assert blas_threads() == BEFORE


def test_threads_that_overlap_leave_it_as_it_was():
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def first() -> None:
        with one_blas_thread():
            first_is_in.set()
            assert second_is_in.wait(60)
        first_is_out.set()

    def second() -> None:
        assert first_is_in.wait(60)
        with one_blas_thread():
            second_is_in.set()
            assert first_is_out.wait(60)
            seen.append(blas_threads())

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [{1}]
    assert blas_threads() == BEFORE
