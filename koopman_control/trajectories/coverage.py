"""What data can tell, said before fitting: how the inputs were excited, where the states have been.

A model knows nothing about an input that never moved, about two inputs that always moved together,
or about a region nobody visited; one-step errors do not show it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopman_control.common import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.trajectories.coverage_findings import findings_of
from koopman_control.trajectories.coverage_report import Coverage, InputCoverage, StateCoverage
from koopman_control.trajectories.hankel import excitation_order
from koopman_control.trajectories.trajectory import Trajectory, check_trajectories

SAME = 1e-12  # relative
AT_LIMIT = 1e-6  # relative; observations have often passed through float32


@checked
def coverage(
    data: Trajectory | Sequence[Trajectory], *, order: int = 20, n_bins: int = 10
) -> Coverage:
    """Report excitation and coverage of data before fitting.

    Args:
        data: Trajectories.
        order: Longest window, in steps, for the order of persistent excitation; that of the
            input-output behaviour to be identified, or the horizon.
        n_bins: Bins of every state's range in which empty regions are looked for.

    Returns:
        The figures, and what follows from them in plain words.

    Example:
        >>> u = np.sin(0.3 * np.arange(100))
        >>> report = coverage(Trajectory(np.cumsum(np.r_[0.0, u])[:, None], u[:, None]))
        >>> report.inputs[0].order
        2
    """
    runs = check_trajectories(data)
    positive_int("order", order)
    positive_int("n_bins", n_bins, minimum=2)
    X = np.concatenate([run.observations for run in runs])
    before = np.concatenate([run.observations[:-1] for run in runs])
    U = np.concatenate([run.actions for run in runs])
    p, m = X.shape[1], U.shape[1]
    state_names = runs[0].observation_names or tuple(f"y{i}" for i in range(p))
    input_names = runs[0].action_names or tuple(f"u{i}" for i in range(m))
    states = tuple(
        _state(state_names[i], X[:, i], _bounds(runs[0].observation_bounds, i), n_bins)
        for i in range(p)
    )
    inputs = tuple(
        _input(runs, input_names[i], i, _correlations(U[:, i], before), state_names, order)
        for i in range(m)
    )
    joint = excitation_order([run.actions for run in runs], order)
    pairs = np.hstack([before, U, np.concatenate([run.observations[1:] for run in runs])])
    duplicates = len(pairs) - len(np.unique(pairs, axis=0))
    shortest = min(map(len, runs))
    return Coverage(
        n_runs=len(runs),
        n_steps=len(U),
        shortest=shortest,
        inputs=inputs,
        states=states,
        order=order,
        joint_order=joint,
        duplicates=duplicates,
        findings=findings_of(inputs, states, joint, duplicates, len(U), shortest, len(runs)),
    )


def _bounds(bounds: Array | None, i: int) -> tuple[float, float]:
    return (-np.inf, np.inf) if bounds is None else (float(bounds[0, i]), float(bounds[1, i]))


def _input(
    runs: Sequence[Trajectory],
    name: str,
    i: int,
    correlations: Array,
    state_names: Sequence[str],
    order: int,
) -> InputCoverage:
    pieces = [run.actions[:, i] for run in runs]
    u = np.concatenate(pieces)
    low, high = float(u.min()), float(u.max())
    box = _bounds(runs[0].action_bounds, i)
    width = box[1] - box[0]
    known = np.isfinite(width) and width > 0.0
    followed = int(np.argmax(np.abs(correlations)))
    return InputCoverage(
        name=name,
        low=low,
        high=high,
        share_of_box=(high - low) / width if known else None,
        constant=_still(u),
        hold=_hold(pieces),
        order=excitation_order([piece[:, None] for piece in pieces], order),
        followed=state_names[followed],
        correlation=float(correlations[followed]),
    )


def _hold(pieces: Sequence[Array]) -> float:
    """Median number of steps that a value is held."""
    holds = [
        np.diff(np.concatenate([[0], 1 + np.flatnonzero(np.diff(piece)), [len(piece)]]))
        for piece in pieces
    ]
    return float(np.median(np.concatenate(holds)))


def _still(x: Array) -> bool:
    return bool(x.max() - x.min() <= SAME * max(abs(x.max()), abs(x.min())))


def _correlations(u: Array, X: Array) -> Array:
    """Correlate an input (T,) with the states it was applied at (T, p); 0 where one is still."""
    found = np.zeros(X.shape[1])
    for j, x in enumerate(X.T):
        if not (_still(u) or _still(x)):
            found[j] = np.corrcoef(u, x)[0, 1]
    return found


def _state(name: str, x: Array, bounds: tuple[float, float], n_bins: int) -> StateCoverage:
    low, high = float(x.min()), float(x.max())
    start, stop = (b if np.isfinite(b) else e for b, e in zip(bounds, (low, high), strict=True))
    margin = AT_LIMIT * np.maximum(1.0, np.abs(bounds))
    with np.errstate(invalid="ignore"):
        touching = (x <= bounds[0] + margin[0]) | (x >= bounds[1] - margin[1])
    return StateCoverage(
        name=name,
        low=low,
        high=high,
        mean=float(x.mean()),
        std=float(x.std()),
        empty=() if _still(x) else _empty(x, min(start, low), max(stop, high), n_bins),
        at_limits=float((touching & np.isfinite(bounds).any()).mean()),
    )


def _empty(x: Array, start: float, stop: float, n_bins: int) -> tuple[tuple[float, float], ...]:
    """List the stretches of bins without a sample."""
    counts, edges = np.histogram(x, bins=n_bins, range=(start, stop))
    ends = np.flatnonzero(np.diff(np.concatenate([[False], counts == 0, [False]]).astype(int)))
    return tuple((float(edges[a]), float(edges[b])) for a, b in ends.reshape(-1, 2))
