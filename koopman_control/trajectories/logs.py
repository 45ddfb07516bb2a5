"""Logs as they are: time-stamped rows with gaps, holes and jitter, made into clean trajectories.

`LogReport` says what was kept, what was dropped, and why.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common import Array, optional_package, positive_float, real_array
from koopman_control.common.border import checked
from koopman_control.trajectories.resampling import (
    Signals,
    clean_rows,
    resampled,
    stretches,
    usual_interval,
)
from koopman_control.trajectories.table import Column, column_of, read_clock, read_numbers
from koopman_control.trajectories.trajectory import Trajectory


@dataclass(frozen=True)
class LogReport:
    """How a log became trajectories.

    Args:
        n_rows: Rows of the log.
        n_runs: Trajectories made.
        n_steps: Steps in all of them.
        dt: Their sampling time in seconds.
        max_gap: Longest time interpolated over, in seconds.
        seconds: Time covered by the trajectories.
        n_incomplete: Rows with a missing observation or action.
        n_without_time: Rows dropped because their time is not finite.
        n_repeated: Rows dropped because they repeat the time before.
        n_back: How often the clock stepped back, each time starting a new run.
        n_unused: Rows in no trajectory, beside those.
        n_too_short: Stretches dropped because they are shorter than one step.
        gaps: Start and end of every time without trajectory inside a run, in seconds of the log.
        jitter: Largest deviation of an interval between two rows from their median, in medians,
            over what was kept.
        n_mixed: Steps during which an input changed, so that their mean was taken.
    """

    n_rows: int
    n_runs: int
    n_steps: int
    dt: float
    max_gap: float
    seconds: float
    n_incomplete: int
    n_without_time: int
    n_repeated: int
    n_back: int
    n_unused: int
    n_too_short: int
    gaps: tuple[tuple[float, float], ...]
    jitter: float
    n_mixed: int

    @classmethod
    def of(
        cls,
        signals: Signals,
        kept: Sequence[tuple[int, int, int, int]],
        dt: float,
        max_gap: float,
    ) -> LogReport:
        """Count; `kept` holds (first row, last row, steps, steps with mixed input) by stretch."""
        used = [stretch for stretch in kept if stretch[2]]
        covered = np.zeros(len(signals.time), dtype=bool)
        intervals = [np.zeros(0)]
        for first, last, _, _ in used:
            covered[first : last + 1] = True
            intervals.append(np.diff(signals.time[first : last + 1]))
        steps = sum(n for _, _, n, _ in used)
        holes = np.isnan(np.hstack([signals.observations, signals.actions])).any(axis=1)
        return cls(
            n_rows=signals.n_rows,
            n_runs=len(used),
            n_steps=steps,
            dt=dt,
            max_gap=max_gap,
            seconds=steps * dt,
            n_incomplete=int(holes.sum()),
            n_without_time=signals.n_without_time,
            n_repeated=signals.n_repeated,
            n_back=signals.n_back,
            n_unused=int((~covered).sum()),
            n_too_short=len(kept) - len(used),
            gaps=_gaps(signals, used),
            jitter=_jitter(np.concatenate(intervals)),
            n_mixed=sum(n for _, _, _, n in used),
        )

    def __str__(self) -> str:
        """Say it in plain words."""
        lines = [
            f"{self.n_runs} trajectories with {self.n_steps} steps of {self.dt:g} s "
            f"({self.seconds:g} s) from {self.n_rows} rows"
        ]
        for count, what in (
            (self.n_without_time, "rows without a finite time dropped"),
            (self.n_repeated, "rows that repeat a time dropped"),
            (self.n_back, "steps back in time, each taken as the start of a new run"),
            (self.n_incomplete, "rows with a missing observation or action"),
            (self.n_unused, "rows in no trajectory"),
            (len(self.gaps), f"gaps (longer than {self.max_gap:g} s, or the input unknown)"),
            (self.n_too_short, "stretches shorter than one step dropped"),
            (self.n_mixed, "steps during which an input changed; its mean over the step is used"),
        ):
            if count:
                lines.append(f"{count} {what}")
        if self.jitter > 0.01:
            lines.append(f"intervals differ by up to {self.jitter:.0%} from the usual one")
        return "\n".join(lines)


def _gaps(signals: Signals, used: Sequence[tuple[int, ...]]) -> tuple[tuple[float, float], ...]:
    """List the times between consecutive stretches of one run."""
    between = [
        (float(signals.time[before[1]]), float(signals.time[after[0]]))
        for before, after in pairwise(used)
        if signals.run[before[1]] == signals.run[after[0]]
    ]
    return tuple(between)


def _jitter(intervals: Array) -> float:
    if not len(intervals):
        return 0.0
    usual = float(np.median(intervals))
    return float(np.abs(intervals - usual).max() / usual)


GAP = 1.5  # in usual intervals: one missing row is a gap, jitter is not


@checked
def split_at_gaps(
    time: ArrayLike | NDArray[np.datetime64] | NDArray[np.object_],
    observations: ArrayLike,
    actions: ArrayLike,
    *,
    dt: float | None = None,
    max_gap: float | None = None,
    angles: Sequence[int] = (),
    angle_period: float = 2.0 * np.pi,
    hold_actions: bool = False,
    runs: NDArray[Any] | Sequence[str | int | float] | None = None,
    **known: Any,
) -> tuple[list[Trajectory], LogReport]:
    """Turn a time-stamped log into clean trajectories with one sampling time.

    Observations are interpolated linearly, column by column, so that columns may be logged at
    different rates (NaN in the rows between). Inputs are held from row to row; the input of a step
    is the mean of what was applied during it, so that jitter does not shift inputs in time. A step
    back in time starts a new run; rows that repeat a time are left out.

    Args:
        time: Seconds, or numpy datetime64, shape (R,).
        observations: What was seen, NaN where it is missing, shape (R, p).
        actions: The input applied from each row on, NaN where it is unknown, shape (R, m).
        dt: Sampling time of the trajectories in seconds; None takes the usual interval of the
            column that is logged most seldom.
        max_gap: Longest time between two readings of a column that is interpolated over, in
            seconds; None takes 1.5 times its usual interval, or dt.
        angles: Observation columns that jump by `angle_period`; unwrapped within each run.
        angle_period: Size of those jumps: 2 pi, or 360 for degrees.
        hold_actions: Whether an empty (NaN) action means that the one before still holds, as in
            logs that list inputs only when they change; else the log is cut there.
        runs: A label per row, shape (R,); where it changes, a new run starts.
        **known: Further fields of every `Trajectory`: action_bounds, observation_names, ...

    Returns:
        The trajectories in the order of the log, and a report of what was dropped and why.

    Raises:
        TypeError: If an argument holds no numbers.
        ValueError: If lengths disagree, or nothing usable is left; the message has the report.

    Example:
        >>> t = np.array([0.0, 0.1, 0.2, 0.9, 1.0, 1.1])
        >>> data, report = split_at_gaps(t, t[:, None], 0 * t[:, None])
        >>> [len(run) for run in data], report.gaps
        ([2, 2], ((0.2, 0.9),))
    """
    signals = clean_rows(
        _seconds(time), _rows("observations", observations), _rows("actions", actions), runs
    )
    if hold_actions:
        signals = signals.with_held_actions()
    usual = usual_interval(signals)
    step = usual.max() if dt is None else positive_float("dt", dt)
    if max_gap is None:
        gaps = GAP * np.maximum(usual, step)
    else:
        gaps = np.full(len(usual), positive_float("max_gap", max_gap))
    turning = [_column("angles", c, signals.observations.shape[1]) for c in angles]
    positive_float("angle_period", angle_period)
    data, kept = [], []
    for first, last in stretches(signals, gaps):
        Y, U, changes = resampled(
            signals, first, last, step, gaps=gaps, angles=turning, period=angle_period
        )
        if len(U):
            data.append(Trajectory(Y, U, dt=float(step), **known))
        kept.append((first, last, len(U), changes))
    report = LogReport.of(signals, kept, float(step), float(gaps.max()))
    if not data:
        raise ValueError(
            f"the log holds no two readings in a row that could make a step; {report}; give a "
            "larger max_gap, or hold_actions=True if an empty action means an unchanged one"
        )
    return data, report


@checked
def from_table(
    table: Any,
    observations: Sequence[Column],
    actions: Sequence[Column],
    *,
    time: Column | None = None,
    angles: Sequence[Column] = (),
    run: Column | None = None,
    missing: Sequence[str | int | float] = (),
    **settings: Any,
) -> tuple[list[Trajectory], LogReport]:
    """Turn a table into clean trajectories; see `split_at_gaps` for how.

    Args:
        table: Anything that gives a column for its name: a pandas frame, a dictionary of arrays,
            a structured array; or an array of shape (R, columns) with columns named 0, 1, ...
        observations: Names of the p observation columns, which the trajectories keep.
        actions: Names of the m action columns.
        time: Name of the column of times, in seconds or as dates; None for rows that follow each
            other evenly, `dt` apart.
        angles: Names of those observation columns that are angles and jump.
        run: Name of a column that labels runs, if there is one.
        missing: Numbers or texts that stand for a missing value, such as -9999. What looks like
            one and is not listed is refused; "none" keeps every number.
        **settings: As for `split_at_gaps`.

    Raises:
        ValueError: If a column is missing, or holds numbers that look like markers of missing
            values; else as `split_at_gaps`.

    Example:
        >>> log = {"t": [0.0, 0.1, 0.2], "x": [1.0, 2.0, 4.0], "u": [1.0, 2.0, np.nan]}
        >>> data, report = from_table(log, ["x"], ["u"], time="t")
        >>> data[0].actions.ravel()
        array([1., 2.])
    """
    seen = _names("observations", observations)
    for angle in angles:
        if angle not in seen:
            raise ValueError(f"angles names {angle!r}; expected some of observations: {seen}")
    names = {
        "observation_names": tuple(str(name) for name in seen),
        "action_names": tuple(str(name) for name in _names("actions", actions)),
    }
    Y = np.column_stack([read_numbers(table, name, missing) for name in seen])
    U = np.column_stack([read_numbers(table, name, missing) for name in actions])
    when: Any
    if time is None:
        settings["dt"] = positive_float("dt", settings.get("dt") or 1.0)
        when = np.arange(len(Y)) * settings["dt"]
    else:
        when = column_of(table, time)
        if _in_texts(when):
            pandas = optional_package("pandas", "forecast")
            when = read_clock(pandas.DataFrame({str(time): when}), str(time)).dates
    return split_at_gaps(
        when,
        Y,
        U,
        angles=[seen.index(angle) for angle in angles],
        runs=None if run is None else column_of(table, run),
        **(names | settings),
    )


LATEST = 1e11  # seconds since 1970; what is larger is not in seconds
UNITS = {1e14: ("milliseconds", 1e-3), 1e17: ("microseconds", 1e-6), np.inf: ("nanoseconds", 1e-9)}


def usual_step(
    table: Any,
    observations: Sequence[Column],
    actions: Sequence[Column],
    time: Column,
    run: Column | None,
) -> float:
    """Return the sampling time that `from_table` takes for a table where none is given."""
    Y, U = (
        np.column_stack([read_numbers(table, name, ["none"]) for name in names])
        for names in (observations, actions)
    )
    labels = None if run is None else column_of(table, run)
    signals = clean_rows(_seconds(column_of(table, time)), Y, U, labels)
    return float(usual_interval(signals).max())


def _seconds(time: Any) -> Array:
    """Return times as seconds, shape (R,); missing ones are NaN."""
    stamps = np.asarray(time)
    if stamps.dtype.kind == "M":
        known = stamps[~np.isnat(stamps)]
        stamps = stamps - (known[0] if len(known) else stamps[:1])
    if stamps.dtype.kind == "m":
        return np.where(np.isnat(stamps), np.nan, stamps / np.timedelta64(1, "ns") * 1e-9)
    if stamps.dtype.kind in "OUS":
        raise TypeError(
            "time holds Python objects; expected seconds or numpy datetime64: for times with a "
            "zone in pandas, column.dt.tz_convert(None)"
        )
    if stamps.dtype.kind in "iuf" and stamps.ndim == 1 and np.isfinite(stamps).any():
        known = stamps[np.isfinite(stamps)]
        largest = known.max()
        if largest >= LATEST:
            name, unit = next(of for most, of in UNITS.items() if largest < most)
            warnings.warn(
                f"time holds {largest:.0f}, too large for seconds since 1970; taken as {name}",
                stacklevel=4,
            )
            return np.asarray((stamps - known[0]) * unit)  # while they are whole, no digit is lost
    return real_array("time", time, ndim=1)


def _in_texts(column: NDArray[Any]) -> bool:
    """Whether all times of a column are texts."""
    return column.dtype.kind in "OU" and all(isinstance(value, str) for value in column.tolist())


def _rows(name: str, value: ArrayLike) -> Array:
    array = real_array(name, value)
    return real_array(name, array[:, None] if array.ndim == 1 else array, ndim=2)


def _column(name: str, value: Any, size: int) -> int:
    if not isinstance(value, int | np.integer) or not 0 <= value < size:
        raise ValueError(f"{name} holds {value!r}; expected columns between 0 and {size - 1}")
    return int(value)


def _names(argument: str, names: Sequence[Column]) -> list[Column]:
    if not len(names):
        raise ValueError(f"{argument} is empty; expected at least one column")
    return list(names)
