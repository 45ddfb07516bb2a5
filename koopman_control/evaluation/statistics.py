"""Summaries of a set of returns: interquartile mean, bootstrap intervals, paired differences.

Returns of one controller over many reset seeds are far from normal (a swing-up mixes easy and hard
starts), so intervals come from the bootstrap, and two controllers are compared seed by seed: the
spread between starts, which both share, then cancels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from koopman_control.common.arrays import Array, finite_array, positive_int, real_array, seed_number
from koopman_control.common.border import checked

_BLOCK = 1_000_000  # resampled numbers held at once: 8 MB


@checked
def interquartile_mean(x: ArrayLike, axis: int | None = None) -> Any:
    """Return the mean of the middle half of `x` (the 25 % trimmed mean).

    Robust like the median, but uses half of the data instead of one or two values
    (Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice").

    Args:
        x: Numbers, any shape.
        axis: Axis to average over; None averages over all numbers.

    Returns:
        A float for `axis=None`, else an array without that axis.

    Example:
        >>> interquartile_mean([-1000.0, 1.0, 3.0, 1000.0])
        2.0
    """
    values = real_array("x", x)
    if not values.size:
        raise ValueError("x is empty; at least one number is needed")
    if axis is not None and not -values.ndim <= axis < values.ndim:
        raise ValueError(f"axis is {axis}; expected an axis of x, which has {values.ndim}")
    mean = stats.trim_mean(values, 0.25, axis=axis)
    return float(mean) if axis is None else mean


@checked
def bootstrap_interval(
    x: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of `x`.

    Args:
        x: One number per episode (or per run), shape (n,).
        statistic: Called as `statistic(resamples, axis=-1)`, e.g. `np.mean`, `np.median`,
            `interquartile_mean`.
        level: Coverage, between 0 and 1.
        n_resamples: How often `x` is drawn anew, with replacement.
        seed: Seed of the resampling; the same seed gives the same interval.

    Returns:
        Lower and upper end. Both are NaN for a single number, which says nothing of its spread.

    Raises:
        ValueError: If `x` is empty or not finite, or `level` lies outside (0, 1).

    Example:
        >>> bootstrap_interval([2.0, 2.0, 2.0])
        (2.0, 2.0)
    """
    values = _numbers("x", x)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}; use 0.95 for 95 %")
    positive_int("n_resamples", n_resamples)
    rng = np.random.default_rng(seed_number("seed", seed))
    if values.size == 1:
        return float("nan"), float("nan")
    block = max(1, _BLOCK // values.size)
    estimates = [
        statistic(rng.choice(values, size=(min(block, n_resamples - start), values.size)), axis=-1)
        for start in range(0, n_resamples, block)
    ]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(estimates), [tail, 1.0 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedDifference:
    """How much higher one controller scores than another on the same seeds.

    Attributes:
        mean: Mean of the differences.
        low: Lower end of the bootstrap interval of that mean.
        high: Upper end.
        wins: Share of the seeds on which the first one scores higher.
    """

    mean: float
    low: float
    high: float
    wins: float


@checked
def paired_difference(
    a: ArrayLike, b: ArrayLike, level: float = 0.95, seed: int = 0
) -> PairedDifference:
    """Compare two sets of returns that belong to the same seeds in the same order.

    Args:
        a: Returns of the first controller, shape (n,).
        b: Returns of the second one, shape (n,).
        level: Coverage of the interval.
        seed: Seed of the resampling.

    Returns:
        The mean of a - b with its bootstrap interval over the seeds.

    Raises:
        ValueError: If the two differ in length, are empty or are not finite.

    Example:
        >>> paired_difference([3.0, 5.0], [1.0, 3.0])
        PairedDifference(mean=2.0, low=2.0, high=2.0, wins=1.0)
    """
    first, second = _numbers("a", a), _numbers("b", b)
    if first.size != second.size:
        raise ValueError(
            f"a and b must hold one return per seed each, got {first.size} and {second.size}; "
            "evaluate both controllers on the same seeds"
        )
    difference = first - second
    low, high = bootstrap_interval(difference, level=level, seed=seed)
    return PairedDifference(float(difference.mean()), low, high, float(np.mean(difference > 0.0)))


def _numbers(name: str, value: ArrayLike) -> Array:
    values = finite_array(name, value, ndim=1)
    if values.size == 0:
        raise ValueError(f"{name} is empty; at least one number is needed")
    return values
