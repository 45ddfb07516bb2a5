"""From trajectories and settings to candidates for a fit: scales, runs and fitted features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from koopman_control.common.arrays import Array, finite_array
from koopman_control.common.border import require
from koopman_control.features import Coordinates, FeatureMap
from koopman_control.identification.data.snapshots import Run, runs_of
from koopman_control.identification.fitting.checks import (
    too_few_samples,
    warn_of_saturated_features,
)
from koopman_control.identification.fitting.frame import Coupling, Frame, Targets
from koopman_control.identification.fitting.regression import Regression
from koopman_control.trajectories import Trajectory, check_trajectories, total_steps

MOST = 100_000  # snapshot pairs that features are drawn from


def coordinates_of(
    data: Sequence[Trajectory], states: Any, angles: Any, memory: int = 0
) -> Coordinates:
    """Choose the states, and check that what is called an angle is one."""
    p, m = data[0].observations.shape[1], data[0].actions.shape[1]
    coordinates = Coordinates.of(p, states, angles, memory=memory, n_inputs=m if memory else 0)
    for trajectory in data if coordinates.has_angles else ():
        coordinates.check_circles(trajectory.observations)
    return coordinates


def framed(
    data: Sequence[Trajectory],
    coordinates: Coordinates,
    coupling: Coupling,
    limits_known: bool,
    weights: Sequence[Array] | None = None,
    input_features: FeatureMap | None = None,
    targets: Targets = "increments",
) -> tuple[Frame, list[Run]]:
    """Read states, scales and limits from the data."""
    limits = np.tile([[-np.inf], [np.inf]], coordinates.dim)
    if limits_known and data[0].observation_bounds is not None:
        limits = coordinates.bounds(data[0].observation_bounds)
    runs = runs_of(data, coordinates, weights)
    return Frame.of(data, runs, coordinates, coupling, limits, input_features, targets), runs


def fitted_candidates(
    frame: Frame, runs: Sequence[Run], given: Sequence[FeatureMap]
) -> list[Regression]:
    """Fit clones of the candidate features; drop those with more unknowns than samples."""
    pairs = frame.snapshots(runs)
    free = np.flatnonzero(~pairs.censored)
    n_samples, n_total = len(free), len(pairs.censored)
    if n_samples < 2:
        raise too_few_samples(n_samples, n_total, "at least 2 are needed")
    if n_samples > MOST:
        free = free[np.linspace(0, n_samples - 1, MOST).astype(int)]
    E = frame.feature_inputs(pairs.X[free])
    dX = pairs.dX[free, : frame.coordinates.n_outputs]  # of what the state holds of the present
    fitted = [clone(features).fit_to_states(E, dX, frame.coordinates) for features in given]
    candidates = [Regression(frame, features) for features in fitted]
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
