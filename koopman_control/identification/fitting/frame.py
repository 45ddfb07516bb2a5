"""What all candidates of a fit share: coordinates, scales, limits and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, FeatureMap
from koopman_control.features.base import constant_columns, spread
from koopman_control.identification.data.snapshots import Run, Snapshots, stack
from koopman_control.identification.ground import known_ground
from koopman_control.identification.model.input_lift import InputLift
from koopman_control.identification.model.relift import Embedding
from koopman_control.trajectories import Trajectory

Coupling = Literal["linear", "bilinear"]
Targets = Literal["increments", "states"]


@dataclass(frozen=True)
class Frame:
    """What all candidate features share: coordinates, scales, limits and labels.

    Args:
        coordinates: From observations to states.
        coupling: "linear" or "bilinear".
        limits: Known limits of the states, shape (2, d).
        saturating: States held at their limit by the plant, shape (d,).
        center: Mean of the feature inputs, shape (e,).
        scale: Standard deviation of the feature inputs, shape (e,).
        input_scale: Standard deviation of what enters, shape (q,): the inputs, or inputs and their
            features; infinite for what never moves, which takes it out of the regression and makes
            its effect zero.
        action_bounds: Input box, shape (2, m), or None.
        dt: Sampling time in seconds, or None.
        state_names: d names.
        input_features: Fitted feature map of the inputs, or None.
        targets: "increments" of the lifted state or lifted "states" themselves.
        ground: Where the feature inputs lie, shape (k, 1 + e); see `known_ground`.
    """

    coordinates: Coordinates
    coupling: Coupling
    limits: Array
    saturating: NDArray[np.bool_]
    center: Array
    scale: Array
    input_scale: Array
    action_bounds: Array | None
    dt: float | None
    state_names: tuple[str, ...]
    input_features: FeatureMap | None = None
    targets: Targets = "increments"
    ground: Array | None = None

    @classmethod
    def of(
        cls,
        data: Sequence[Trajectory],
        runs: Sequence[Run],
        coordinates: Coordinates,
        coupling: Coupling,
        limits: Array,
        input_features: FeatureMap | None = None,
        targets: Targets = "increments",
    ) -> Frame:
        """Measure scales on the data."""
        E = Embedding(coordinates)(np.concatenate([run.X for run in runs]))
        U = np.concatenate([run.U for run in runs])
        V = U if input_features is None else InputLift(input_features)(U)
        center, scale = E.mean(axis=0), spread(E)
        n_present = int((~coordinates.is_angle[: coordinates.n_outputs]).sum())
        return cls(
            coordinates=coordinates,
            coupling=coupling,
            limits=limits,
            saturating=np.zeros(coordinates.dim, dtype=bool),
            center=center,
            scale=scale,
            input_scale=np.where(constant_columns(V), np.inf, spread(V)),
            action_bounds=data[0].action_bounds,
            dt=data[0].dt,
            state_names=coordinates.names(data[0].observation_names),
            input_features=input_features,
            targets=targets,
            ground=known_ground(E, center, scale, n_present),
        )

    @property
    def n_inputs(self) -> int:
        """Number of inputs m, without their features."""
        if self.input_features is None:
            return len(self.input_scale)
        return int(self.input_features.n_features_in_)

    def snapshots(self, runs: Sequence[Run]) -> Snapshots:
        """Form the snapshot pairs of runs."""
        return stack(runs, self.coordinates, self.limits)

    def lifted_inputs(self, U: Array) -> Array:
        """Return what enters the regression for inputs U, shape (..., m) to (..., q)."""
        return U if self.input_features is None else InputLift(self.input_features)(U)

    def feature_inputs(self, X: Array) -> Array:
        """Embed states (..., d) as feature inputs (..., e)."""
        return Embedding(self.coordinates)(X)
