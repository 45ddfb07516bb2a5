"""What data can tell, said before fitting: how the inputs were excited, where the states have been.

A model knows nothing about an input that never moved, about two inputs that always moved together,
or about a region nobody visited; one-step errors do not show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.common import Array, positive_int
from koopman_control.trajectories.coverage_findings import findings_of
from koopman_control.trajectories.hankel import excitation_order
from koopman_control.trajectories.trajectory import Trajectory, check_trajectories

SAME = 1e-12  # relative
AT_LIMIT = 1e-6  # relative; observations have often passed through float32


@dataclass(frozen=True)
class InputCoverage:
    """How one input was excited.

    Args:
        name: Its name.
        low: Lowest value.
        high: Highest value.
        share_of_box: Part of the action box between them, or None if the box is unknown.
        constant: Whether it never moves.
        hold: Median number of steps that a value is held.
        order: Order of persistent excitation: independent patterns in windows of the signal, at
            most the order asked for. A constant has 1, a sum of k sines 2 k, noise all.
        followed: Name of the state that it is most correlated with.
        correlation: That correlation, -1 ... 1; near +-1 the input is (nearly) a function of the
            state, as under feedback, and the two effects cannot be told apart.
    """

    name: str
    low: float
    high: float
    share_of_box: float | None
    constant: bool
    hold: float
    order: int
    followed: str
    correlation: float


@dataclass(frozen=True)
class StateCoverage:
    """Where one observation column has been.

    Args:
        name: Its name.
        low: Lowest value.
        high: Highest value.
        mean: Mean.
        std: Standard deviation.
        empty: Intervals of the range (between the bounds where known) without a single sample.
        at_limits: Share of samples on a known bound.
    """

    name: str
    low: float
    high: float
    mean: float
    std: float
    empty: tuple[tuple[float, float], ...]
    at_limits: float


@dataclass(frozen=True)
class Coverage:
    """Excitation and coverage of data; print it for a table and what follows from it.

    Args:
        n_runs: Number of trajectories.
        n_steps: Steps in all.
        shortest: Steps of the shortest trajectory.
        inputs: One entry per action column.
        states: One entry per observation column.
        order: Longest window for which order is counted.
        joint_order: Order up to which all inputs together are excited, below that of each where
            they move together.
        duplicates: Steps that repeat another one in every number.
        findings: What is wrong or unusual, in plain words; empty if nothing is.
    """

    n_runs: int
    n_steps: int
    shortest: int
    inputs: tuple[InputCoverage, ...]
    states: tuple[StateCoverage, ...]
    order: int
    joint_order: int
    duplicates: int
    findings: tuple[str, ...]

    def _names(self) -> list[str]:
        return [u.name for u in self.inputs] + [x.name for x in self.states]

    def __str__(self) -> str:
        """Tabulate, and say what follows."""
        width = 2 + max(len(name) for name in self._names())
        lines = [
            f"{self.n_runs} trajectories, {self.n_steps} steps (shortest {self.shortest})",
            f"{'input':{width}}{'low':>10}{'high':>10}{'of box':>8}{'hold':>7}{'order':>7}"
            "  most correlated with",
        ]
        for u in self.inputs:
            box = "?" if u.share_of_box is None else f"{u.share_of_box:.0%}"
            order = f"{u.order}+" if u.order == self.order else f"{u.order}"
            lines.append(
                f"{u.name:{width}}{u.low:>10.3g}{u.high:>10.3g}{box:>8}{u.hold:>7.3g}{order:>7}"
                f"  {u.followed} ({u.correlation:+.2f})"
            )
        lines.append(
            f"{'state':{width}}{'low':>10}{'high':>10}{'mean':>10}{'std':>10}{'at limits':>11}"
            "  never visited"
        )
        for x in self.states:
            empty = ", ".join(f"{a:.3g} ... {b:.3g}" for a, b in x.empty) or "-"
            lines.append(
                f"{x.name:{width}}{x.low:>10.3g}{x.high:>10.3g}{x.mean:>10.3g}{x.std:>10.3g}"
                f"{x.at_limits:>11.1%}  {empty}"
            )
        verdict = self.findings or ("nothing unusual: every input is excited, every state moves",)
        return "\n".join([*lines, *(f"- {finding}" for finding in verdict)])


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
