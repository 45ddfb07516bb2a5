"""Forecasts from 1,000 starts together, beside the arithmetic that they cannot do without.

    python -m examples.benchmarks.forecasting

A step of every start is a product into the neurons, their tanh, a product back, and one of the
linear part. The bound does just that in the same blocks of starts, into arrays that are allocated
before; the forecast also adds constants, keeps within bounds and stores. CPU seconds, the least of
several repetitions in turn; the series is a sum of waves with noise, as only sizes matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from koopman_control.common import Array
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import SampledRNN
from koopman_control.forecasting.onestep import BLOCK
from koopman_control.identification.least_squares import single_threaded_blas

STARTS, STEPS, REPEATS = 1_000, 100, 7
SIZES = ((3, 500), (3, 2000), (64, 500), (64, 2000))  # outputs, features


def main() -> None:
    """Print a table."""
    print("| outputs | features | start-steps per s | products / all | products and tanh / all |")
    print("|---|---|---|---|---|")
    for p, h in SIZES:
        run, products, bound = compared(p, h)
        rate = STARTS * STEPS / run
        print(f"| {p} | {h} | {rate:.3g} | {products / run:.0%} | {bound / run:.0%} |", flush=True)


def compared(p: int, h: int) -> tuple[float, float, float]:
    """Return the seconds of forecasts, of their matrix products, and of products and tanh."""
    rng = np.random.default_rng(0)
    t = np.arange(6_000)[:, None]
    series = np.sin(t * rng.uniform(0.01, 0.1, p)) + 0.1 * rng.standard_normal((len(t), p))
    features = SampledFeatures(h, steepness=0.3, random_state=0)
    rnn = SampledRNN(features, regularization=1e-6, n_folds=0).fit(series)
    history = series[rng.integers(0, len(series), STARTS)][:, None]
    rows = max(1, BLOCK // h)
    W, K = rng.standard_normal((p, h)) / p, rng.standard_normal((h, p)) / h
    X, H = np.zeros((rows, p)), np.empty((rows, h))
    L, Y, Z = np.eye(p), np.empty((rows, p)), np.empty((rows, p))

    def arithmetic(with_tanh: bool) -> None:
        for start in range(0, STARTS, rows):
            n = min(rows, STARTS - start)
            for _ in range(STEPS):
                np.matmul(X[:n], W, out=H[:n])
                if with_tanh:
                    np.tanh(H[:n], out=H[:n])
                np.matmul(H[:n], K, out=Y[:n])
                np.matmul(X[:n], L, out=Z[:n])

    with single_threaded_blas():
        return least(
            lambda: rnn.forecast(history, STEPS),
            lambda: arithmetic(False),
            lambda: arithmetic(True),
        )


def least(*runs: Callable[[], Array | None]) -> tuple[float, float, float]:
    """Return the least CPU seconds of each of three, run in turn."""
    seconds = np.empty((REPEATS, 3))
    for i in range(REPEATS):
        for j, run in enumerate(runs):
            started = time.process_time()
            run()
            seconds[i, j] = time.process_time() - started
    a, b, c = seconds.min(axis=0).tolist()
    return a, b, c


if __name__ == "__main__":
    main()
