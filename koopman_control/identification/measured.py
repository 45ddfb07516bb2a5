"""Data as the smoother reads them: gaps and glitches marked, and what is found written back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates
from koopman_control.identification.speeds import GAUSSIAN
from koopman_control.trajectories import Trajectory

GLITCH = 8.0  # standard deviations of second differences
EXPLAINED = 0.5  # of how far a sample stands out: a model that misses by less has seen it coming


@dataclass(frozen=True)
class Measured:
    """Data as the smoother reads them.

    Args:
        data: Trajectories whose gaps are filled.
        Y: Present states of each, NaN where nothing trustworthy was measured, shape (T + 1, p).
        present: Coordinates of the present states.
        failing: Whether single samples are missing, or are known to be errors of a sensor.
    """

    data: list[Trajectory]
    Y: list[Array]
    present: Coordinates
    failing: bool = False

    @classmethod
    def of(
        cls,
        data: Sequence[Trajectory],
        coordinates: Coordinates,
        *,
        doubting: bool = True,
        missed: Sequence[Array] | None = None,
        failing: bool = False,
    ) -> Measured:
        """Read present states.

        Args:
            data: Trajectories, which may have gaps.
            coordinates: What a state is.
            doubting: Whether to drop single samples that stand out from both their neighbours.
            missed: One-step errors of a model, (T + 1, p) for each, which keeps those samples that
                it foretells, such as sharp peaks; None drops all.
            failing: Whether samples are known to be errors of a sensor.
        """
        present = replace(coordinates, memory=0, n_inputs=0)
        Y = [present.state(t.observations) for t in data]
        missing = any(np.isnan(y).any() for y in Y)
        if doubting:
            Y = _without_glitches(Y, present, missed)
        filled = [
            written(t, _interpolated(y, present), present)
            if doubting or np.isnan(y).any() or np.isnan(t.observations).any()
            else t
            for t, y in zip(data, Y, strict=True)
        ]
        return cls(filled, Y, present, missing or failing)

    @property
    def replaced(self) -> Array:
        """Share of entries that are missing, shape (p,)."""
        return np.asarray(np.isnan(np.concatenate(self.Y)).mean(axis=0))


def written(trajectory: Trajectory, X: Array, present: Coordinates) -> Trajectory:
    """Put states (T + 1, p) into the observations of a trajectory, and leave no gap elsewhere."""
    Y = np.array(trajectory.observations)
    for i, column in enumerate(present.columns):
        if isinstance(column, tuple) and len(column) == 2:
            Y[:, column[0]], Y[:, column[1]] = np.cos(X[:, i]), np.sin(X[:, i])
        else:
            Y[:, np.min(column)] = X[:, i]
    for c in np.flatnonzero(np.isnan(Y).any(axis=0)):  # no state depends on these
        Y[:, c] = _line(Y[:, c])
    return replace(trajectory, observations=Y, missing=False)


def _line(column: Array) -> Array:
    """Fill the gaps of a column (T,) by straight lines; zero where there is nothing at all."""
    there = np.flatnonzero(~np.isnan(column))
    if not len(there):
        return np.zeros_like(column)
    return np.asarray(np.interp(np.arange(len(column)), there, column[there]))


def _interpolated(Y: Array, present: Coordinates) -> Array:
    """Fill the gaps of measured states (T + 1, p) by straight lines, the short way for angles."""
    X = np.array(Y)
    for column, turning in zip(X.T, present.is_angle, strict=True):
        there = ~np.isnan(column)
        if turning:
            column[there] = np.unwrap(column[there])
        column[:] = _line(column)
    return X


def _without_glitches(
    Y: Sequence[Array], present: Coordinates, missed: Sequence[Array] | None = None
) -> list[Array]:
    """Mark single samples as missing that stand out from the line between their neighbours.

    A jump that stays bends the course twice, before and after it, by as much; it is kept. So is
    what a model that has not seen it foretells.
    """
    bends = [np.zeros_like(y) for y in Y]
    for y, bend in zip(Y, bends, strict=True):
        steps = present.wrap(np.diff(y, axis=0))
        bend[1:-1] = np.abs(np.nan_to_num(0.5 * (steps[:-1] - steps[1:])))
    every = np.concatenate(bends)
    usual = GAUSSIAN * np.array([np.median(b[b > 0.0]) if b.any() else np.inf for b in every.T])
    out = []
    for i, (y, bend) in enumerate(zip(Y, bends, strict=True)):
        beside = np.zeros_like(bend)
        beside[:-1] = bend[1:]
        beside[1:] = np.maximum(beside[1:], bend[:-1])
        alone = (bend > GLITCH * usual) & (bend > 1.5 * beside)
        if missed is not None:
            alone &= ~(np.abs(missed[i]) < EXPLAINED * bend)
        out.append(np.where(alone, np.nan, y))
    return out


def as_logged(
    logged: Sequence[Trajectory], smoothed: Sequence[Trajectory], delay: int
) -> list[Trajectory]:
    """Put smoothed trajectories, their inputs shifted by a delay, back into those logged."""
    queue, out = iter(smoothed), []
    for trajectory in logged:
        if len(trajectory) > delay:
            Y = np.concatenate([trajectory.observations[:delay], next(queue).observations])
            Y = np.column_stack([_line(column) for column in Y.T])
            if not np.array_equal(Y, trajectory.observations):
                trajectory = replace(trajectory, observations=Y, missing=False)
        out.append(trajectory)
    return out
