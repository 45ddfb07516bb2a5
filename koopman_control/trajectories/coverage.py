"""What data can tell, said before fitting: how inputs were excited, where the states have been.

The figures come first (persistency of excitation, levels, correlations, ranges), then sentences
about them: what is wrong, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array, positive_int, rounding_at
from koopman_control.common.border import checked
from koopman_control.trajectories.trajectory import Trajectory, check_trajectories

VISIBLE = 1e-5  # relative to the largest singular value; float32 rounding stays below


def excitation_order(pieces: Sequence[Array], longest: int) -> int:
    """Count the largest window L whose Hankel matrix has full row rank m L.

    Columns of the Hankel matrix are all windows of L consecutive inputs, none across the end of a
    piece. An input of order L tells L impulse-response coefficients apart (Willems et al. 2005, "A
    note on persistency of excitation"). Patterns below 1e-5 of the strongest do not count: slow
    sines look like fewer, as they do to a regression.

    Args:
        pieces: Inputs of each run, shape (T_i, m).
        longest: Largest L tried.

    Returns:
        Between 0 (an input that is zero, or inputs that move together) and `longest`.
    """
    low, high = 0, longest  # full rank at L implies full rank below
    while low < high:
        middle = (low + high + 1) // 2
        if _full_rank(pieces, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _full_rank(pieces: Sequence[Array], L: int) -> bool:
    windows = [
        np.lib.stride_tricks.sliding_window_view(piece, L, axis=0).reshape(-1, L * piece.shape[1])
        for piece in pieces
        if len(piece) >= L
    ]
    if not windows or sum(map(len, windows)) < windows[0].shape[1]:
        return False
    scale = np.abs(np.concatenate(pieces)).max(axis=0)
    if not scale.all():
        return False
    H = np.concatenate(windows) / np.repeat(scale, L)
    sigma = np.linalg.svd(np.linalg.qr(H, mode="r"), compute_uv=False)
    return bool(sigma[-1] > VISIBLE * sigma[0])


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


POOR_ORDER = 3  # one sine with an offset
SMALL_SHARE = 0.5
CLOSE = 0.95
MANY_AT_LIMITS = 0.1


def findings_of(
    inputs: Sequence[InputCoverage],
    states: Sequence[StateCoverage],
    joint_order: int,
    duplicates: int,
    n_steps: int,
    shortest: int,
    n_runs: int,
) -> tuple[str, ...]:
    """Say what is unusual, most serious first; an empty tuple if nothing is."""
    found = [sentence for u in inputs for sentence in _about_input(u)]
    least = min(u.order for u in inputs)
    if joint_order < least:
        found.append(
            f"the inputs move together: each alone is excited to order {least} or more, all "
            f"together to {joint_order}; excite them independently"
        )
    found += [sentence for x in states for sentence in _about_state(x)]
    if duplicates:
        found.append(
            f"{duplicates} of {n_steps} steps repeat another one in every number; if a log was "
            "read twice, drop the copies: they spoil cross-validation"
        )
    if shortest == 1 and n_runs > 1:
        found.append(
            "some trajectories are one step long: they enter the fit, but say nothing about "
            "errors several steps ahead"
        )
    return tuple(found)


def _about_input(u: InputCoverage) -> list[str]:
    if u.constant:
        return [
            f"{u.name} never moves (always {u.low:.3g}), so nothing is known about its effect: "
            "excite it, or leave it out of the actions"
        ]
    found = []
    if u.order <= POOR_ORDER:
        found.append(
            f"{u.name} is excited to order {u.order} only (a sine or a few steps): use a richer "
            "signal, for example HeldUniform or Multisine"
        )
    if u.share_of_box is not None and u.share_of_box < SMALL_SHARE:
        found.append(
            f"{u.name} uses {u.share_of_box:.0%} of its range: a controller that uses all of it "
            "will extrapolate"
        )
    if abs(u.correlation) > CLOSE:
        found.append(
            f"{u.name} is nearly a function of {u.followed} (correlation {u.correlation:+.2f}), as "
            "under feedback: add an excitation, or their effects cannot be told apart"
        )
    return found


def _about_state(x: StateCoverage) -> list[str]:
    if x.low == x.high:
        return [f"{x.name} never moves (always {x.low:.3g}): leave it out of the states"]
    found = []
    if x.at_limits > MANY_AT_LIMITS:
        found.append(
            f"{x.name} sits on a known limit in {x.at_limits:.0%} of the samples: these are left "
            "out of a fit; excite more gently, or begin elsewhere"
        )
    inner = [(a, b) for a, b in x.empty if a > x.low and b < x.high]
    if inner:
        where = ", ".join(f"{a:.3g} ... {b:.3g}" for a, b in inner)
        found.append(f"{x.name} has never been in {where}, though on both sides of it")
    return found


SAME = 1e-12  # relative


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
    margin = rounding_at(np.array(bounds))
    touching = (x <= bounds[0] + margin) | (x >= bounds[1] - margin)
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
