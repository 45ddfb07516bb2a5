"""Threads of a fit: how many, what each adds up, and what the BLAS may do meanwhile."""

from collections.abc import Iterator
from threading import get_ident

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from koopman_control.identification.least_squares import (
    fold_in_parallel,
    n_workers,
    single_threaded_blas,
)


def blas_threads() -> list[int]:
    """Threads of every BLAS that is loaded; some cannot use more than one."""
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture
def two_allowed() -> Iterator[None]:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        yield


def test_small_problems_use_one_thread_and_large_ones_as_many_as_allowed(
    two_allowed: None,
) -> None:
    assert n_workers(1e6) == n_workers(1.9e10) == 1
    assert n_workers(2e10) == n_workers(1e15) == 2  # half a second on one core
    with threadpool_limits(3, user_api="openmp"):  # says nothing about the BLAS
        assert n_workers(1e15) == 2


def test_products_keep_to_one_thread_and_the_work_is_still_shared(two_allowed: None) -> None:
    before = blas_threads()
    assert max(before) == 2
    with single_threaded_blas():
        assert max(blas_threads()) == 1
        with single_threaded_blas():
            assert n_workers(1e15) == 2
        assert n_workers(1e15) == 2
    assert blas_threads() == before
    with threadpool_limits(1, user_api="blas"):
        assert n_workers(1e15) == 1  # what was allowed before is forgotten


def test_an_error_gives_the_threads_back(two_allowed: None) -> None:
    before = blas_threads()
    with pytest.raises(RuntimeError, match="in between"), single_threaded_blas():
        raise RuntimeError("in between")
    assert blas_threads() == before
    with threadpool_limits(1, user_api="blas"):
        assert n_workers(1e15) == 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_worker_takes_each_so_manieth_item(workers: int, two_allowed: None) -> None:
    seen: set[int] = set()

    def add(part: list[int], item: int) -> None:
        part.append(item)
        seen.update(blas_threads())

    parts = fold_in_parallel(iter(range(10)), list[int], add, workers)
    assert parts == [list(range(i, 10, workers)) for i in range(workers)]
    assert seen == {1}


def test_one_worker_takes_items_one_by_one_in_the_thread_that_asks() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(5):
            made.append(i)
            yield i

    def add(part: list[tuple[int, int]], item: int) -> None:
        part.append((len(made), get_ident()))  # a stream may be larger than the memory

    (part,) = fold_in_parallel(items(), list[tuple[int, int]], add, 1)
    assert part == [(i + 1, get_ident()) for i in range(5)]


def test_several_workers_work_in_threads_of_their_own() -> None:
    def add(part: list[int], item: int) -> None:
        part.append(get_ident())

    parts = fold_in_parallel(range(4), list[int], add, 2)
    assert all(get_ident() not in part for part in parts)
