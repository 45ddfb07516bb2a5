"""From trajectories and settings to candidates for a fit: scales, runs and fitted features.

And what is wrong with them, said before or instead of fitting.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from koopman_control.common.arrays import Array, finite_array
from koopman_control.common.border import require
from koopman_control.features import Coordinates, FeatureMap
from koopman_control.identification.least_squares import RFactor, RidgeSolver, decomposed
from koopman_control.identification.regression import Design, Regression
from koopman_control.identification.signals import Signals
from koopman_control.identification.snapshots import Run, at_limit, runs_of
from koopman_control.trajectories import Trajectory, check_trajectories, total_steps

MOST = 100_000  # snapshot pairs that features are drawn from


def prepared(data: Sequence[Trajectory], coordinates: Coordinates) -> tuple[Signals, list[Run]]:
    """Read states, scales and limits from the data, and check that what is called angle is one."""
    runs = checked_runs(data, coordinates)
    return Signals.of(data, runs, coordinates, limits_of(data[0], coordinates, runs), None), runs


def checked_runs(
    data: Sequence[Trajectory], coordinates: Coordinates, weights: Sequence[Array] | None = None
) -> list[Run]:
    """Read states from the data, and check that what is called angle is one."""
    for trajectory in data if coordinates.has_angles else ():
        coordinates.check_circles(trajectory.observations)
    return runs_of(data, coordinates, weights)


def limits_of(trajectory: Trajectory, coordinates: Coordinates, runs: Sequence[Run]) -> Array:
    """Return the limits of the states that a trajectory knows, shape (2, d).

    Where runs are mostly at one, it is none: the column is a flag or a goal, not held by a stop.
    """
    if trajectory.observation_bounds is None:
        return unlimited(coordinates)
    limits = coordinates.bounds(trajectory.observation_bounds)
    there = np.sum([at_limit(run.X, limits).sum(axis=0) for run in runs], axis=0)
    often = there > MOSTLY * sum(len(run.X) for run in runs)
    return np.where(often, unlimited(coordinates), limits)


def unlimited(coordinates: Coordinates) -> Array:
    """Return limits of states that have none, shape (2, d)."""
    return np.tile([[-np.inf], [np.inf]], coordinates.dim)


def fitted_candidates(
    design: Design, runs: Sequence[Run], given: Sequence[FeatureMap], n_pairs: int | None = None
) -> list[Regression]:
    """Fit clones of the candidate features; drop those with more unknowns than samples.

    Args:
        design: What stands in the regression.
        runs: The data, or a sample of them.
        given: Candidates, unfitted.
        n_pairs: How many snapshot pairs the data have; None: those of `runs`.
    """
    pairs, signals = design.snapshots(runs), design.signals
    free = np.flatnonzero(~pairs.censored)
    n_samples, n_total = len(free), len(pairs.censored)
    if n_samples < 2:
        raise too_few_samples(n_samples, n_total, "at least 2 are needed")
    if n_samples > MOST:
        free = free[np.linspace(0, n_samples - 1, MOST).astype(int)]
    E = signals.embedding(pairs.X[free])
    dX = pairs.dX[free, : signals.coordinates.n_outputs]  # of what the state holds of the present
    fitted = [clone(features).fit_to_states(E, dX, signals.coordinates) for features in given]
    candidates = [Regression(design, features) for features in fitted]
    if n_pairs is not None and n_pairs > n_total:
        n_samples, n_total = n_samples * n_pairs // n_total, n_pairs
    usable = [c for c in candidates if c.n_regressors <= n_samples]
    if not usable:
        need = f"there are {min(c.n_regressors for c in candidates)} unknowns per lifted state"
        raise too_few_samples(n_samples, n_total, need)
    warn_of_saturated_features([c.features for c in usable], E)
    return usable


def batches(data: Iterable[Trajectory], n_steps: int = MOST) -> Iterator[list[Trajectory]]:
    """Collect trajectories from an iterator until they hold `n_steps`, again and again."""
    batch: list[Trajectory] = []
    for trajectory in data:
        batch += check_trajectories([trajectory])
        if total_steps(batch) >= n_steps:
            yield batch
            batch = []
    if batch:
        yield batch


def weights_of(data: Sequence[Trajectory], sample_weight: Any) -> list[Array] | None:
    """Return a weight for every step of every trajectory, checked, or None where not weighted.

    Raises:
        ValueError: If there is not one weight, or one array of T weights, per trajectory, or one
            is negative or not finite.
    """
    if sample_weight is None:
        return None
    single = len(data) == 1
    several: Any = Sequence[Any] | NDArray[Any]
    require("sample_weight", sample_weight, float | several if single else several)
    given = [sample_weight] if single and np.ndim(sample_weight) == 0 else sample_weight
    if single and np.shape(given) == (len(data[0]),):
        given = [given]
    if len(given) != len(data):
        raise ValueError(
            f"sample_weight has {len(given)} entries for {len(data)} trajectories; expected one "
            "number, or one array with a weight per step, for each"
        )
    weights = []
    for i, (entry, trajectory) in enumerate(zip(given, data, strict=True)):
        name = f"sample_weight[{i}]"
        whole = np.full(len(trajectory), entry) if np.ndim(entry) == 0 else entry
        weights.append(finite_array(name, whole, shape=(len(trajectory),)))
        if weights[-1].min() < 0.0:
            raise ValueError(f"{name} holds {weights[-1].min():g}; expected weights of at least 0")
    if not any(weight.any() for weight in weights):
        raise ValueError("sample_weight is zero throughout; expected some positive weight")
    return weights


MOSTLY = 0.9  # share of the data
FLAT = 0.99  # of an activation bounded by 1
COLLINEAR = 1e-7  # relative; what went through float32 is no more precise
LOOKED_AT = 2000  # rows
TOLERATED = 0.2  # share of directions that may be lost to rounding; the smallest solution is used


def warn_of_idle_inputs(design: Design, names: Sequence[str] | None) -> None:
    """Warn of inputs that never move; the model takes their effect to be zero."""
    for i in np.flatnonzero(np.isinf(design.input_scale[: design.n_inputs])).tolist():
        name = f" ({names[i]})" if names else ""
        warnings.warn(
            f"action column {i}{name} never moves in data, so its effect is unknown and taken to "
            "be zero; collect with an excitation of it, or leave it out of the actions",
            UserWarning,
            stacklevel=3,  # where the user calls fit
        )


def warn_of_few_levels(input_features: FeatureMap, U: Array) -> None:
    """Warn of inputs (T, m) that take too few values to tell their features apart."""
    n_levels = len(np.unique(U, axis=0))
    needed = 1 + U.shape[1] + input_features._n_features_out
    if n_levels < needed:
        warnings.warn(
            f"the inputs take {n_levels} different values in data, which leaves their "
            f"{needed - 1} effects unsettled; excite with at least {needed}, or use fewer "
            "input features",
            UserWarning,
            stacklevel=4,
        )


def warn_of_saturated_features(candidates: Sequence[FeatureMap], E: Array) -> None:
    """Warn of features that sit at -1 or 1 nearly everywhere and so say little about the state."""
    sample = E[:: max(1, len(E) // LOOKED_AT)]
    for features in candidates:
        H = np.abs(features.values(sample))
        share = float((H > FLAT).mean()) if H.size else 0.0
        if share > 0.9 and H.max() <= 1.0 + 1e-9:
            warnings.warn(
                f"{type(features).__name__} is saturated: {100 * share:.0f} % of its values on "
                "the data lie within 0.01 of -1 or 1; use a smaller steepness or frequency, or "
                "features that take their scale from the data",
                UserWarning,
                stacklevel=4,
            )


def warn_of_lost_directions(
    regression: Regression, factor: RFactor, solver: RidgeSolver, runs: Sequence[Run], least: float
) -> None:
    """Warn where the data cannot tell unknowns apart; `least` is the regularisation that helps."""
    follows = _inputs_that_follow(regression, factor)
    if len(follows):
        warnings.warn(
            f"action columns {follows.tolist()} are linear functions of the state and the other "
            "actions in data, so their effects cannot be told apart; add an excitation to the "
            "actions while collecting",
            UserWarning,
            stacklevel=4,
        )
    size = np.linalg.norm(factor.R[:, : factor.n_regressors], axis=0)
    moving = int((size > COLLINEAR * size.max(initial=0.0)).sum())
    lost = moving - solver.rank
    if lost <= 0:
        return
    n_different = _too_few_differ(runs, moving)
    if n_different is not None:
        cause = f"only {n_different} snapshot pairs differ; collect more, repeated ones add nothing"
    elif least == 0.0 and lost > TOLERATED * moving:
        cause = 'the features are too alike on these data; use fewer, or regularization="cv"'
    else:
        return
    warnings.warn(
        f"data leave {lost} of {moving} unknowns per lifted state unsettled "
        f"(condition number {solver.condition_number:.1g}): {cause}",
        UserWarning,
        stacklevel=4,
    )


def _inputs_that_follow(regression: Regression, factor: RFactor) -> Any:
    """Find inputs that are linear functions of the feature inputs and of other inputs."""
    design = regression.design
    n_e, m = len(design.signals.center), design.n_inputs
    n_phi = 1 + n_e + regression.features._n_features_out
    step = n_phi if design.coupling == "bilinear" else 1
    columns = [*range(1 + n_e), *(n_phi + i * step for i in range(m))]
    R = factor.R[:, columns]
    size = np.linalg.norm(R, axis=0)
    moving = size > COLLINEAR * size.max(initial=0.0)
    if len(R) < len(columns) or moving.sum() < 2:
        return np.array([], dtype=int)
    _, s, Vt = decomposed(R[:, moving] / size[moving])
    inputs = np.flatnonzero(moving) - (1 + n_e)
    null = np.abs(Vt[s < COLLINEAR * s[0]]).max(axis=0, initial=0.0)
    return inputs[(inputs >= 0) & (null > 1e-3)]


def _too_few_differ(runs: Sequence[Run], needed: int) -> int | None:
    """Count the different rows [x, u] if there are fewer than needed, looking at few if enough."""
    for n_runs in (4 * needed, len(runs)):
        rows = np.concatenate([np.hstack([run.X[:-1], run.U]) for run in runs[:n_runs]])
        for n_rows in (4 * needed, len(rows)):
            n_different = len(np.unique(rows[:n_rows], axis=0))
            if n_different >= needed:
                return None
    return n_different


def too_few_samples(n_usable: int, n_total: int, need: str) -> ValueError:
    """Say how many samples there are, what is needed, and what to do."""
    censored = f" ({n_total - n_usable} more end on a known limit)" if n_usable < n_total else ""
    remedy = 'collect more steps, or use fewer features or coupling="linear"'
    if 2 * n_usable < n_total:
        remedy += "; if the bounds are no limits of the plant, limits=None uses all samples"
    return ValueError(f"data holds {n_usable} usable samples{censored}, but {need}; {remedy}")
