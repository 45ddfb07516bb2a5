"""What a log tells before anything is fitted: sampling, limits, ranges, who reacts to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.delays import without_input_delay
from koopman_control.trajectories import Trajectory

FEEDBACK = 0.15  # least correlation of a surprise with the next input that counts
SURPRISE = 5.0  # standard deviations of a correlation that chance does not make


def thinned(data: Sequence[Trajectory], k: int) -> list[Trajectory]:
    """Keep every k-th observation; the input of a step is the mean of those of its rows."""
    if k == 1:
        return list(data)
    found = []
    for run in data:
        n = len(run) // k
        if n < 1:
            continue
        actions = run.actions[: n * k].reshape(n, k, -1).mean(axis=1)
        dt = None if run.dt is None else run.dt * k
        observations = run.observations[: n * k + 1 : k]
        found.append(replace(run, observations=observations, actions=actions, dt=dt, rewards=None))
    return found


def lost_by_thinning(data: Sequence[Trajectory], k: int) -> float:
    """Share of the inputs' and outputs' movement that happens between every k-th row."""
    lost = []
    for signal in ("observations", "actions"):
        inside, all_of_it = 0.0, 0.0
        for run in data:
            values = getattr(run, signal)
            n = (len(values) - 1) // k
            if n < 2:
                continue
            kept = values[: n * k + 1]
            grid, fine = np.arange(0, n * k + 1, k), np.arange(n * k + 1)
            between = np.column_stack([np.interp(fine, grid, column[grid]) for column in kept.T])
            inside += float(((kept - between) ** 2).sum())
            all_of_it += float(((kept - kept.mean(axis=0)) ** 2).sum())
        lost.append(inside / max(all_of_it, 1e-300))
    return max(lost[0] * 100.0, lost[1])


def shifted(data: Sequence[Trajectory], feedthrough: bool) -> list[Trajectory]:
    """Let every input stand beside the step it acts in."""
    return without_input_delay(data, -1) if feedthrough else list(data)


@dataclass(frozen=True)
class RowTiming:
    """What the rows of a log say of who reacts to whom.

    Args:
        through: The input of a row helps to predict its outputs: feed-through, or a controller that
            reads the same row; only simulations can tell.
        feedback: What outputs do unforeseen shows in the inputs of the next row, as under feedback.
    """

    through: bool
    feedback: bool


def row_timing(data: Sequence[Trajectory]) -> RowTiming:
    """Judge one-step predictions with a memory of 2 with and without the row's own input."""
    rows = []
    for run in data:
        y, u = run.observations[:-1], run.actions  # rows with an input
        columns = [y[2 - k : len(y) - 2 - k] for k in range(3)]
        columns += [u[2 - k : len(u) - 2 - k] for k in range(3)]
        if len(y) > 4:
            rows.append((np.hstack(columns), u[3:-1], y[3:-1] - y[2:-2], u[4:]))
    if not rows:
        return RowTiming(False, False)
    past, own, moves, after = (np.concatenate(part) for part in zip(*rows, strict=True))
    half = len(past) // 2
    if half < 2 * (past.shape[1] + own.shape[1]):
        return RowTiming(False, False)

    def left(regressors: Array, targets: Array) -> Array:
        scale = regressors.std(axis=0) + 1e-300
        Z = np.column_stack([np.ones(len(past)), (regressors - regressors.mean(axis=0)) / scale])
        K = np.linalg.lstsq(Z[:half], targets[:half], rcond=1e-10)[0]
        return np.asarray(targets[half:] - Z[half:] @ K)

    both = np.hstack([past, own])
    without, with_own = left(past, moves), left(both, moves)
    better = np.sqrt(np.mean(with_own**2, axis=0) / np.maximum(np.mean(without**2, axis=0), 1e-300))
    surprise, reaction = (e - e.mean(axis=0) for e in (with_own, left(both, after)))
    size = np.outer(surprise.std(axis=0), reaction.std(axis=0)) * len(surprise)
    correlation = np.abs(surprise.T @ reaction) / np.maximum(size, 1e-300)
    least = max(SURPRISE / np.sqrt(len(surprise)), FEEDBACK)
    return RowTiming(bool((better < 0.9).any()), bool((correlation > least).any()))


def with_input_range(data: list[Trajectory]) -> tuple[list[Trajectory], list[str]]:
    """Take the range of the logged inputs as their bounds, where none are known."""
    if data[0].action_bounds is not None:
        return data, []
    U = np.concatenate([run.actions for run in data])
    bounds = np.stack([U.min(axis=0), U.max(axis=0)])
    names = data[0].action_names or tuple(f"u{i}" for i in range(U.shape[1]))
    ranges = ", ".join(
        f"{name} {low:.4g} to {high:.4g}" for name, low, high in zip(names, *bounds, strict=True)
    )
    said = f"Bounds of the inputs are not given; the log's range is taken: {ranges}."
    return [replace(run, action_bounds=bounds) for run in data], [said]


def with_found_limits(data: list[Trajectory]) -> tuple[list[Trajectory], list[str]]:
    """Find outputs that stop at a value, as sensors and overflows do, where no bounds are known."""
    if data[0].observation_bounds is not None:
        return data, []
    Y = np.concatenate([run.observations for run in data])
    bounds = np.tile([[-np.inf], [np.inf]], Y.shape[1])
    names = data[0].observation_names or tuple(f"y{i}" for i in range(Y.shape[1]))
    found = []
    for i, column in enumerate(Y.T):
        values, counts = np.unique(column, return_counts=True)
        if len(values) < 20:
            continue
        for side, end in ((0, 0), (1, -1)):
            usual = np.median(np.sort(counts)[::-1][:20])
            rest = counts[1:] if end == 0 else counts[:-1]
            if counts[end] >= max(5, 4 * rest.max(), 0.005 * len(column)) and usual < counts[end]:
                bounds[side, i] = values[end]
                what = "above" if side else "below"
                found.append(
                    f"{names[i]} is exactly {values[end]:g} in {counts[end]} rows and never "
                    f"{what}: taken as a limit that the plant or the sensor holds."
                )
    if not found:
        return data, []
    return [replace(run, observation_bounds=bounds) for run in data], found
