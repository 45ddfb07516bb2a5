"""How many threads a fit uses: one for small problems, one chunk per thread for large ones.

Threads inside a small matrix product wait for each other longer than they work, most of all on a
busy machine: 600 samples took 0.2 s with one thread and up to 9.5 s with many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

SMALL = 2e10  # multiplications; about half a second on one core

T = TypeVar("T")
S = TypeVar("S")

_outside: ContextVar[int | None] = ContextVar("threads outside", default=None)


def n_workers(multiplications: float) -> int:
    """Return how many threads suit the work: one, or as many as the BLAS is allowed to use."""
    if multiplications < SMALL:
        return 1
    return _allowed()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep each matrix product on one thread; `n_workers` still knows how many are allowed."""
    token = _outside.set(_allowed())
    try:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        _outside.reset(token)


def fold_in_parallel(
    items: Iterable[T], make: Callable[[], S], add: Callable[[S, T], None], workers: int
) -> list[S]:
    """Add items to sums, one sum per worker; which item goes to which worker never varies."""
    if workers == 1:
        whole = make()
        with single_threaded_blas():
            for item in items:
                add(whole, item)
        return [whole]
    listed = list(items)

    def work(i: int) -> S:
        part = make()
        for item in listed[i::workers]:
            add(part, item)
        return part

    with single_threaded_blas(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, range(workers)))


def _allowed() -> int:
    """Return the number of threads that the user lets the BLAS use."""
    known = _outside.get()
    if known is not None:
        return known
    found = [p["num_threads"] for p in _controller().info() if p["user_api"] == "blas"]
    return max(found, default=1)


@cache
def _controller() -> ThreadpoolController:
    """Find the loaded BLAS libraries once; looking takes milliseconds."""
    return ThreadpoolController()
