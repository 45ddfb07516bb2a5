"""What an estimate is, what anything that makes one has to offer, and what it starts with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, balanced, finite_array, only_numbers
from koopman_control.identification import LiftedModel, Rollout


@dataclass(frozen=True)
class Estimate:
    """Where the plant is taken to be; also all that its maker remembers of the episode.

    Args:
        x: State, shape (d,).
        offset: What measured states are taken to differ from the model's, shape (d,), or None.
        z: Lifted state, shape (n,), or None for the lift of x.
        known: Whether it is fit to plan from.
    """

    x: Array
    offset: Array | None = None
    z: Array | None = None
    known: bool = True


class Estimator(Protocol):
    """Turns observations into estimates of one model's state; holds no memory of its own."""

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Return the estimate at an observation.

        Args:
            before: Its estimate one step earlier, or None in the first step of an episode.
            y: Observation, shape (p,); NaN where nothing was measured.
            u: Input that acted since, shape (m,); in the first step the one the plant rested under.

        Returns:
            The estimate, or None as long as there is nothing to go by.
        """


@runtime_checkable
class Observer(Protocol):
    """Settings of an estimator; the same ones serve any number of controllers and episodes."""

    def attached(self, model: LiftedModel, rollout: Rollout) -> Estimator:
        """Make the estimator for a model.

        Raises:
            ValueError: If the settings do not suit the model.
        """


STEPS, MORE = 10, 200  # of the model and, beside four per lifted state, draws


def covariance(name: str, value: ArrayLike, unit: Array, *, definite: bool = False) -> Array:
    """Expand noise to a covariance (k, k).

    Args:
        name: What the user calls it.
        value: Standard deviations, a number or (k,), in multiples of `unit`; or a covariance
            (k, k), taken as it is.
        unit: Shape (k,).
        definite: Whether zero is too little.

    Raises:
        ValueError: If the shape is another, or it is no covariance.
    """
    given, k = finite_array(name, value), len(unit)
    if given.shape == (k, k) and given.ndim == 2:
        P = 0.5 * (given + given.T)
    elif given.shape in ((), (k,)) and np.all(given >= 0.0):
        P = np.diag((given * unit) ** 2)
    else:
        raise ValueError(
            f"{name} is {value!r}; expected a standard deviation, one for each of {k} states, or a "
            f"covariance of shape ({k}, {k})"
        )
    scaled, _ = balanced(P)
    least = np.linalg.eigvalsh(scaled)[0]
    if least < -1e-12 * np.abs(scaled).max() or (definite and least <= 0.0):
        least = np.linalg.eigvalsh(P)[0]
        wanted = "positive" if definite else "non-negative"
        raise ValueError(f"{name} has smallest eigenvalue {least:.3g}; expected {wanted} ones only")
    return P


def state_scale(model: LiftedModel) -> Array:
    """Standard deviations of the states in the data the model was fitted on, shape (d,).

    One radian for angles.
    """
    return _of_states(model, model.signals.scale, np.ones(model.n_states))


def state_mean(model: LiftedModel) -> Array:
    """Means of the states in the data the model was fitted on, zero for angles; shape (d,)."""
    return _of_states(model, model.signals.center, np.zeros(model.n_states))


def lifted_spread(model: LiftedModel) -> Array:
    """Covariance (n, n) of lifted states as they are met within a few steps of the model.

    Lifted states fill a small part of their space. Noise of this shape keeps corrections there;
    elsewhere the data said nothing about the dynamics.
    """
    rng, n, d = np.random.default_rng(0), model.n_lifted, model.n_states
    x = state_mean(model) + state_scale(model) * rng.normal(size=(4 * n + MORE, d))
    Z, total = model.lift(x), np.zeros((n, n))
    Z = Z - Z.mean(axis=0)
    for _ in range(STEPS):
        total += Z.T @ Z / len(Z)
        Z = Z @ model.A.T
    return total / STEPS


def _of_states(model: LiftedModel, of_inputs: Array, values: Array) -> Array:
    """Put numbers (e,) that belong to feature inputs where they belong among states (d,)."""
    for (state, kind), value in zip(model.coordinates.embedded, of_inputs, strict=True):
        if kind == "id":
            values[state] = value
    return values


class Sensor:
    """Reads the present states from observations; the rest of a state is memory.

    Args:
        model: The model.
    """

    def __init__(self, model: LiftedModel) -> None:
        self._coordinates = model.coordinates
        self._present = replace(model.coordinates, memory=0, n_inputs=0)
        self.size = self._present.dim
        self._usual = state_mean(model)[: self.size]  # for what is not measured at first

    def read(self, y: Array) -> Array:
        """Return the measured states (p,) of an observation, NaN where there is none."""
        return self._present.state(y)

    def innovation(self, measured: Array, expected: Array) -> Array:
        """Return what measured states (p,) differ by, angles in [-pi, pi]."""
        return self._present.wrap(measured - expected)

    def first(self, measured: Array, u: Array) -> Array:
        """Return the state (d,) of a plant that rests at its first measurement under u (m,)."""
        now = np.where(np.isnan(measured), self._usual, measured)
        past = self._coordinates.memory
        return np.concatenate([now, np.zeros(past * self.size), *[u] * past])


@dataclass(frozen=True)
class Remembered(Estimate):
    """An estimate and the observations (k + 1, p) and inputs (k, m) it rests on, oldest first."""

    observations: tuple[Array, ...] = ()
    inputs: tuple[Array, ...] = ()


class History:
    """Believes every observation; what is not measured is not known.

    At the start of an episode the plant is taken to have rested at its first observation.

    Args:
        model: The model; its coordinates say how far back to remember.
    """

    def __init__(self, model: LiftedModel) -> None:
        self._coordinates = model.coordinates
        self._memory = model.coordinates.memory

    def settled(self) -> dict[str, Any]:
        """Return what it takes, beside the model, to make it again: nothing."""
        return {}

    def update(self, before: Estimate | None, y: Array, u: Array) -> Estimate | None:
        """Return the state at an observation; see `Estimator`.

        Where something is missing, the last observation stands in for it in later states, and the
        present one is marked as unknown.
        """
        if not only_numbers(y):
            if not isinstance(before, Remembered):
                return before if before is None else replace(before, known=False)
            return replace(self._remembered(before, before.observations[-1], u), known=False)
        if not self._memory:
            return Estimate(self._coordinates.state(y))
        return self._remembered(before, y, u)

    def _remembered(self, before: Estimate | None, y: Array, u: Array) -> Remembered:
        if isinstance(before, Remembered):
            observations = (*before.observations[-self._memory :], y)
            inputs = (*before.inputs[1:], u)
        else:
            observations, inputs = (y,) * (self._memory + 1), (u,) * self._memory
        x = self._coordinates.along(np.stack(observations), np.stack(inputs))[-1]
        return Remembered(x, observations=observations, inputs=inputs)
