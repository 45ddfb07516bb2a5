"""The signals of a plant: what its states and inputs are, their units, limits and sampling time.

All candidates of a fit share them and the fitted model keeps them. They also say where the training
data lie (known ground): in a box along the axes and along principal axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import (
    Array,
    bounds_array,
    finite_array,
    positive_float,
    positive_int,
)
from koopman_control.common.border import check_fields
from koopman_control.features import Coordinates, FeatureMap, spread
from koopman_control.identification.delays import without_input_delay
from koopman_control.identification.rollouts import Embedding, InputLift
from koopman_control.identification.snapshots import Run, runs_of
from koopman_control.trajectories import Trajectory, check_trajectories


@dataclass(frozen=True, eq=False)
class Signals:
    """States and inputs of a plant, as data show them.

    Args:
        coordinates: From observations to states.
        center: Mean of the feature inputs, shape (e,).
        scale: Standard deviation of the feature inputs, shape (e,).
        limits: Lowest and highest value of each state, shape (2, d); infinite where unknown.
        saturating: States the plant holds at their limit, shape (d,).
        action_bounds: Lowest and highest input, shape (2, m), or None.
        dt: Sampling time in seconds, or None.
        state_names: d names.
        input_features: Fitted feature map of the inputs; [u, input_features(u)] of length q then
            takes the place of u. None for u itself.
        ground: Where the training data lie, as `LiftedModel.distance` measures it, shape
            (k, 1 + e); None where that is not known.
        input_delay: Samples that pass in the logs before an input acts. A model knows no delay,
            x+ = f(x, v) with v_t = u_t-k: data are shifted before they meet it, and `KoopmanMPC`
            predicts over the inputs already sent. -1 is feed-through: the input of a row acts on
            the outputs of that row, v_t = u_t+1. In closed loop the input after a measurement
            makes the next row, so that it acts without delay.
        noise: Standard deviations of what is measured of the p present states and of what a step
            adds to them unforeseen, shape (2, p), for the filter that tells the state in the loop;
            None: measurements are best believed as they are.
    """

    coordinates: Coordinates
    center: Array
    scale: Array
    limits: Array
    saturating: NDArray[np.bool_]
    action_bounds: Array | None = None
    dt: float | None = None
    state_names: tuple[str, ...] = ()
    input_features: FeatureMap | None = None
    ground: Array | None = None
    input_delay: int = 0
    noise: Array | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        check_fields(self)
        d, n_e = self.coordinates.dim, len(self.coordinates.embedded)
        for name in ("center", "scale"):
            finite_array(name, getattr(self, name), shape=(n_e,))
        bounds_array("limits", self.limits, d)
        if np.shape(self.saturating) != (d,) or np.asarray(self.saturating).dtype != np.bool_:
            raise ValueError(f"saturating is {self.saturating}; expected {d} booleans")
        if self.ground is not None:
            finite_array("ground", self.ground, shape=(None, 1 + n_e))
        if self.dt is not None:
            positive_float("dt", self.dt)
        positive_int("input_delay", self.input_delay, minimum=-1)
        if self.noise is not None:
            shape = (2, self.coordinates.n_outputs)
            if not (finite_array("noise", self.noise, shape=shape) > 0.0).all():
                raise ValueError(
                    f"noise is {self.noise}; expected positive standard deviations, shape {shape}"
                )

    @classmethod
    def of(
        cls,
        data: Sequence[Trajectory],
        runs: Sequence[Run],
        coordinates: Coordinates,
        limits: Array,
        input_features: FeatureMap | None = None,
    ) -> Signals:
        """Measure scales and known ground on the data, whose states are `runs`."""
        E = Embedding(coordinates)(np.concatenate([run.X for run in runs]))
        center, scale = E.mean(axis=0), spread(E)
        n_present = int((~coordinates.is_angle[: coordinates.n_outputs]).sum())
        return cls(
            coordinates=coordinates,
            center=center,
            scale=scale,
            limits=limits,
            saturating=np.zeros(coordinates.dim, dtype=bool),
            action_bounds=data[0].action_bounds,
            dt=data[0].dt,
            state_names=coordinates.names(data[0].observation_names),
            input_features=input_features,
            ground=known_ground(E, center, scale, n_present),
        )

    @cached_property
    def embedding(self) -> Embedding:
        """From states to feature inputs."""
        return Embedding(self.coordinates)

    @cached_property
    def state_sizes(self) -> Array:
        """Standard deviation of every state in the data of the fit, 1 rad for angles, (d,)."""
        sizes = np.ones(self.coordinates.dim)
        for (state, kind), scale in zip(self.coordinates.embedded, self.scale, strict=True):
            if kind == "id":
                sizes[state] = scale
        return sizes

    @cached_property
    def input_lift(self) -> InputLift | None:
        """From inputs u to what enters beside the lifted state, or None where that is u."""
        return None if self.input_features is None else InputLift(self.input_features)

    def lifted_inputs(self, U: Array) -> Array:
        """Return what enters, shape (..., m) to (..., q); U itself without features."""
        return U if self.input_lift is None else self.input_lift(U)

    def runs(self, data: Trajectory | Sequence[Trajectory]) -> list[Run]:
        """Read states and the inputs that act on them from data as logged, checked.

        Trajectories that are no longer than the delay or the memory of the state are left out.
        """
        checked = without_input_delay(check_trajectories(data), self.input_delay)
        return runs_of(checked, self.coordinates)


SHARE = 0.999  # of the training states that are on known ground
NARROWEST = 1e-2  # half a width of the ground, in standard deviations of the feature inputs
MOST = 100_000  # states that are looked at


def known_ground(E: Array, center: Array, scale: Array, n_present: int) -> Array:
    """Describe where feature inputs lie.

    Args:
        E: Feature inputs, shape (T, e).
        center: Their mean, shape (e,).
        scale: Their standard deviation, shape (e,).
        n_present: How many of them, the first ones, are present states themselves; principal axes
            do not mix these with others.

    Returns:
        G of shape (k, 1 + e): with standardised feature inputs s, a state is as far from the
        ground's middle as the largest entry of |G [1, s]|, at most 1 for SHARE of the data.
    """
    if len(E) > MOST:
        E = E[np.linspace(0, len(E) - 1, MOST).astype(int)]
    S = (E - center) / scale
    e, rows = S.shape[1], []
    for block in (slice(n_present), slice(n_present, e)):
        own = np.eye(e)[:, block]
        if own.size:
            covariance = np.atleast_2d(np.cov(S[:, block], rowvar=False, bias=True))
            principal = own @ np.linalg.eigh(covariance)[1]
            axes = np.hstack([own, principal]) if own.shape[1] > 1 else own
            rows.append(_between(S @ axes, axes))
    G = np.vstack(rows)
    edge = float(np.quantile(distances(G, S), SHARE))
    return G / edge if edge > 0.0 else G


def distances(G: Array, S: Array) -> Array:
    """Return how far standardised feature inputs (..., e) are from the ground's middle, (...)."""
    return np.asarray(np.abs(S @ G[:, 1:].T + G[:, 0]).max(axis=-1))


def _between(along: Array, axes: Array) -> Array:
    """Rows that are -1 and 1 at the ends of what data (T, k) reach along axes (e, k)."""
    low, high = np.quantile(along, [0.5 * (1.0 - SHARE), 0.5 * (1.0 + SHARE)], axis=0)
    half = np.maximum(0.5 * (high - low), NARROWEST)
    return np.column_stack([-0.5 * (low + high) / half, (axes / half).T])
