"""What every forecaster of the comparisons offers, and how one is tuned and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from koopman_control.common import Array

Settings = dict[str, Any]
T = TypeVar("T")
Score = Callable[[Array, Array], float]


class Model(Protocol):
    """A fitted forecaster."""

    def forecast(self, history: Array, horizon: int, known: Any = None) -> Array:
        """Predict (S, H, p) from histories (S, L, p); the last columns may be known ahead."""


class Baseline(Protocol):
    """A kind of forecaster with a search over its settings."""

    name: str

    def searched(self, train: Array) -> Iterable[tuple[Settings, Model]]:
        """Fit once for every setting of the search."""

    def fit(self, train: Array, settings: Settings, seed: int) -> Model:
        """Fit to rows (T, p)."""


def windows_of(rows: Array, n_history: int, horizon: int, count: int) -> Array:
    """Cut evenly spaced windows of n_history + horizon rows; shape (count, ..., p)."""
    last = len(rows) - n_history - horizon
    starts = np.linspace(0, last, count).astype(int)
    return np.stack([rows[i : i + n_history + horizon] for i in starts])


def tuned(
    baseline: Baseline,
    folds: Sequence[tuple[Array, Array]],
    n_history: int,
    score: Score,
) -> Settings:
    """Print the mean score of every setting over folds; return the best settings.

    Args:
        baseline: What to tune.
        folds: Rows to fit to, (T, p), with windows (S, n_history + H, p) that are not part of them.
        n_history: Rows of a window that are given.
        score: Function of forecast and truth, both (S, H, p); higher is better.
    """
    tried = trials(baseline, folds, n_history, score)
    for settings, scores in tried:
        print(f"  {baseline.name} {settings}: {np.mean(scores):.4g}", flush=True)
    best = max(tried, key=lambda pair: np.mean(pair[1]))[0]
    print(f"  {baseline.name} keeps {best}", flush=True)
    return best


def trials(
    baseline: Baseline,
    folds: Sequence[tuple[Array, Array]],
    n_history: int,
    score: Callable[[Array, Array], T],
    n_known: int = 0,
) -> list[tuple[Settings, list[T]]]:
    """Return every setting with its score on each fold; n_known last columns are known ahead."""
    tried: list[tuple[Settings, list[T]]] = []
    for train, windows in folds:
        history, truth = windows[:, :n_history], windows[:, n_history:]
        known = truth[..., truth.shape[2] - n_known :] if n_known else None
        for i, (settings, model) in enumerate(baseline.searched(train)):
            if i == len(tried):
                tried.append((settings, []))
            tried[i][1].append(score(model.forecast(history, truth.shape[1], known), truth))
    return tried


def tuned_fits(
    baseline: Baseline,
    series: Array,
    n_history: int,
    horizon: int,
    score: Score,
    seeds: int,
    *,
    truth: Array | None = None,
    n_windows: int = 25,
) -> list[tuple[Model, float]]:
    """Tune on windows of the last fifth of rows (T, p), then fit to all of them, as `fits_of`.

    The last fifth is judged against `truth`, the rows without noise, where it is given.
    """
    split = 4 * len(series) // 5
    horizon = min(horizon, (len(series) - split) // 2)
    exact = series if truth is None else truth
    validation = windows_of(exact[split:], n_history, horizon, n_windows)
    settings = tuned(baseline, [(series[:split], validation)], n_history, score)
    return fits_of(baseline, series, settings, seeds)


def fits_of(
    baseline: Baseline, series: Array, settings: Settings, seeds: int
) -> list[tuple[Model, float]]:
    """Fit with seeds 0 ... seeds - 1; returns every model with its CPU seconds."""

    def fit(seed: int) -> Model:
        return baseline.fit(series, settings, seed)

    return [timed(partial(fit, seed)) for seed in range(seeds)]


def timed(fit: Callable[[], T]) -> tuple[T, float]:
    """Return what `fit` returns and its CPU seconds."""
    started = time.process_time()
    fitted = fit()
    return fitted, time.process_time() - started
