"""What became of a log: what was kept, what was dropped, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from koopman_control.common import Array
from koopman_control.trajectories.resampling import Signals


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
