"""The arithmetic behind reading logs: which rows belong together, and values on a regular grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common import Array

SAME_TIME = 1e-6  # in sampling times; a grid point this close to a row is that row
DIGITS = 1e-7  # relative; a mean interval this close to six digits was meant to be that number


@dataclass(frozen=True)
class Signals:
    """Rows of a log with times that only grow within a run.

    Args:
        time: Seconds, shape (R,).
        observations: NaN where missing, shape (R, p).
        actions: NaN where unknown, shape (R, m).
        run: Number of the uninterrupted recording a row belongs to, shape (R,).
        n_rows: Rows of the log before anything was dropped.
        n_without_time: Rows dropped because their time is not finite.
        n_repeated: Rows dropped because they repeat the time before.
        n_back: How often the clock stepped back.
    """

    time: Array
    observations: Array
    actions: Array
    run: NDArray[np.int64]
    n_rows: int
    n_without_time: int
    n_repeated: int
    n_back: int

    def with_held_actions(self) -> Signals:
        """Fill missing actions with the last known one of the same run, column by column."""
        filled = self.actions.copy()
        rows = np.arange(len(filled))
        for column in filled.T:
            known = np.maximum.accumulate(np.where(np.isnan(column), -1, rows))
            usable = (known >= 0) & (self.run[known] == self.run)
            column[usable] = column[known[usable]]
        return replace(self, actions=filled)


def clean_rows(
    time: Array, observations: Array, actions: Array, labels: ArrayLike | None
) -> Signals:
    """Drop rows without a time or with a repeated one, and number the runs."""
    n_rows = len(time)
    marks = np.zeros(n_rows) if labels is None else np.asarray(labels)
    for name, array in (("observations", observations), ("actions", actions), ("runs", marks)):
        if len(array) != n_rows:
            raise ValueError(f"{name} has {len(array)} rows for {n_rows} times; expected as many")
    timed = np.isfinite(time)
    t, y, u, marks = (array[timed] for array in (time, observations, actions, marks))
    if not len(t):
        raise ValueError("the log has no row with a finite time")
    relabelled = np.asarray(marks[1:] != marks[:-1])
    back = (np.diff(t) < 0.0) & ~relabelled
    run = np.concatenate([[0], np.cumsum(relabelled | back)])
    fresh = np.concatenate([[True], (np.diff(t) != 0.0) | (np.diff(run) != 0)])
    _check_clock(len(t), int(back.sum()), int((~fresh).sum()))
    return Signals(
        time=t[fresh],
        observations=np.where(np.isfinite(y), y, np.nan)[fresh],
        actions=np.where(np.isfinite(u), u, np.nan)[fresh],
        run=run[fresh].astype(np.int64),
        n_rows=n_rows,
        n_without_time=int((~timed).sum()),
        n_repeated=int((~fresh).sum()),
        n_back=int(back.sum()),
    )


def _check_clock(n: int, n_back: int, n_repeated: int) -> None:
    """Refuse times that are no clock: mostly going back, or mostly standing still."""
    if n_back > 0.5 * (n - 1):
        raise ValueError(
            f"time goes back in {n_back} of {n} rows; expected times that grow within a run: sort "
            "the rows by time, or name the column that labels runs"
        )
    if n_repeated > 0.5 * (n - 1):
        raise ValueError(
            f"time repeats the row before in {n_repeated} of {n} rows; expected a time for each "
            "reading: it may have been rounded (to whole seconds, or to 32 bits, in which times "
            "since 1970 have steps of two minutes)"
        )


def usual_interval(signals: Signals) -> Array:
    """Return the usual time between two readings of every observation column, shape (p,).

    That is the mean of the intervals that are not longer than 1.5 medians: a median alone would
    drift away from times that were rounded.
    """
    usual = [_usual(signals, ~np.isnan(column)) for column in signals.observations.T]
    for i, interval in enumerate(usual):
        if not np.isfinite(interval):
            raise ValueError(
                f"observation column {i} has no two readings in one run; leave it out, or repair it"
            )
    return np.array(usual)


def _usual(signals: Signals, seen: NDArray[np.bool_]) -> float:
    together = np.diff(signals.run[seen]) == 0
    intervals = np.diff(signals.time[seen])[together]
    if not len(intervals):
        return np.inf
    mean = float(intervals[intervals <= 1.5 * np.median(intervals)].mean())
    rounded = float(f"{mean:.6g}")
    return rounded if abs(rounded - mean) <= DIGITS * mean else mean


def stretches(signals: Signals, gaps: Array) -> list[tuple[int, int]]:
    """Find the stretches of rows (first, last) between which everything is known.

    Args:
        signals: The log.
        gaps: Longest time between two readings of each observation column, shape (p,).
    """
    # Interval i leads from row i to row i + 1.
    known = (np.diff(signals.run) == 0) & ~np.isnan(signals.actions[:-1]).any(axis=1)
    rows = np.arange(len(signals.time))
    for column, gap in zip(signals.observations.T, gaps, strict=True):
        seen = ~np.isnan(column)
        before = np.maximum.accumulate(np.where(seen, rows, -1))[:-1]
        after = np.minimum.accumulate(np.where(seen, rows, len(rows))[::-1])[::-1][1:]
        bracketed = (before >= 0) & (after < len(rows))
        i, j = before * bracketed, after * bracketed
        near = signals.time[j] - signals.time[i] <= gap + _tolerance(signals.time, gap)
        known &= bracketed & near & (signals.run[i] == signals.run[j])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def resampled(
    signals: Signals,
    first: int,
    last: int,
    dt: float,
    *,
    gaps: Array,
    angles: Sequence[int],
    period: float,
) -> tuple[Array, Array, int]:
    """Read rows first ... last on a grid of step dt that starts at the first row.

    Returns:
        Observations (T + 1, p), inputs (T, m), and in how many steps an input changes.
    """
    t = signals.time[first : last + 1]
    n_steps = int((t[-1] - t[0] + _tolerance(t, dt)) / dt)
    grid = t[0] + dt * np.arange(n_steps + 1)
    rows = _rows_about(signals, first, last, float(gaps.max()))
    Y = np.empty((n_steps + 1, signals.observations.shape[1]))
    for j in range(Y.shape[1]):
        values = signals.observations[rows, j]
        seen = ~np.isnan(values)
        readings = np.unwrap(values[seen], period=period) if j in angles else values[seen]
        Y[:, j] = _interpolated(grid, signals.time[rows][seen], readings, dt)
        logged = signals.observations[first, j]
        if j in angles and not np.isnan(logged):  # start in the turn that the log shows
            Y[:, j] -= period * np.round((Y[0, j] - logged) / period)
    return Y, *_mean_inputs(grid, t, signals.actions[first : last + 1], dt)


def _rows_about(signals: Signals, first: int, last: int, gap: float) -> slice:
    """Return the rows of a stretch and those of its run within a gap around it."""
    low, high = np.searchsorted(signals.run, [signals.run[first], signals.run[first] + 1])
    times = signals.time[low:high]
    margin = gap + _tolerance(times, gap)
    start = np.searchsorted(times, signals.time[first] - margin)
    stop = np.searchsorted(times, signals.time[last] + margin, side="right")
    return slice(int(low + start), int(low + stop))


def _tolerance(t: Array, dt: float) -> float:
    """Return how far apart two times can be that are meant to be one, in seconds.

    Clocks that count from 1970 round to a fraction of a microsecond.
    """
    return SAME_TIME * dt + 4.0 * float(np.spacing(max(abs(t[0]), abs(t[-1]))))


def _interpolated(grid: Array, t: Array, values: Array, dt: float) -> Array:
    """Interpolate linearly, and exactly where a reading was taken."""
    out, tolerance = np.interp(grid, t, values), _tolerance(t, dt)
    nearest = np.clip(np.searchsorted(t, grid - tolerance), 0, len(t) - 1)
    exact = np.abs(t[nearest] - grid) <= tolerance
    out[exact] = values[nearest[exact]]
    return out


def _mean_inputs(grid: Array, t: Array, U: Array, dt: float) -> tuple[Array, int]:
    """Average inputs held from row to row over each step; also count the steps with a change."""
    tolerance = _tolerance(t, dt)
    before = np.searchsorted(t, grid + tolerance, side="right") - 1
    held = U[before[:-1]]
    inside = np.searchsorted(grid, t - tolerance) == np.searchsorted(grid, t + tolerance)
    edges = np.sort(np.concatenate([grid, t[inside & (t > grid[0]) & (t < grid[-1])]]))
    pieces = U[np.searchsorted(t, edges[:-1] + tolerance, side="right") - 1]
    starts = np.searchsorted(edges, grid[:-1])
    if not len(starts):
        return held, 0
    means = np.add.reduceat(np.diff(edges)[:, None] * pieces, starts) / dt
    lowest, highest = np.minimum.reduceat(pieces, starts), np.maximum.reduceat(pieces, starts)
    changing = np.asarray((lowest < highest).any(axis=1))
    # Within the range of what was applied, whatever the rounding.
    means = np.clip(means, lowest, highest)
    return np.where(changing[:, None], means, held), int(changing.sum())
