"""The re-lifted roll-out and its sensitivities as compiled loops, for the control loop.

The same numbers as `OneStepMap` gives, without the cost of a dozen array operations per step: with
one or few plans those are nearly all of the time. Needs numba; `compiled_roll_out` returns None
without it, and for maps that the loops do not cover.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification.model.relift import OneStepMap, StepMap

ACTIVATION_CODES = {"tanh": 0, "relu": 1, "sine": 2, "softplus": 3}


class Constants(NamedTuple):
    """Everything of a one-step map that the loops read; q runs over (1 + m) d rates.

    Args:
        plain: States that are feature inputs themselves.
        angles: States that are angles.
        activation: Its code.
        weights: Of the features, shape (e, h).
        biases: Shape (h,).
        constant: Rates without feature inputs and features, shape (q,).
        linear: Rates per feature input, shape (q, e).
        nonlinear: Rates per feature, shape (q, h).
        low: Lower limits, shape (d,).
        high: Upper limits, shape (d,).
        saturating: States the plant holds at their limit.
    """

    plain: np.ndarray
    angles: np.ndarray
    activation: int
    weights: Array
    biases: Array
    constant: Array
    linear: Array
    nonlinear: Array
    low: Array
    high: Array
    saturating: np.ndarray


class Feedback(NamedTuple):
    """A regulator u - K (x - target) inside a box that takes plans over; see `mpc.regulator`."""

    target: Array
    u: Array
    K: Array
    box: Array


class CompiledRollOut:
    """Compiled loops over the steps of a re-lifted roll-out.

    Compiling takes some seconds; it happens here, and once per installation.

    Args:
        step_map: A map that `compiled_roll_out` found suitable.
    """

    def __init__(self, step_map: OneStepMap) -> None:
        from koopman_control.identification.model import loops  # imports numba

        self._step_map = step_map
        self._loops, self._constants = loops, _constants(step_map)
        d, m = step_map.constant.shape[1], len(step_map.constant) - 1
        rest, plan = np.zeros(d), np.zeros((1, 1, m))
        regulator = Feedback(rest, np.zeros(m), np.zeros((m, d)), np.zeros((2, m)))
        states = self.finished(rest, plan.copy(), np.zeros(1, dtype=np.int64), regulator)
        self.sensitivity(rest, states, plan)

    def __reduce__(self) -> tuple[type[CompiledRollOut], tuple[OneStepMap]]:
        """Copy to other processes what is compiled there again."""
        return CompiledRollOut, (self._step_map,)

    def predicted(self, x0: Array, U: Array) -> Array:
        """Predict states (S, H, d) from x0 (d,) under inputs U (S, H, m)."""
        m, d = U.shape[2], len(x0)
        nobody = Feedback(x0, np.zeros(m), np.zeros((m, d)), np.zeros((2, m)))
        never = np.full(len(U), U.shape[1])
        return self.finished(x0, np.ascontiguousarray(U), never, nobody)

    def finished(self, x0: Array, plans: Array, heads: np.ndarray, regulator: Feedback) -> Array:
        """Predict states (S, H, d); the regulator replaces plans (S, H, m) from heads (S,) on.

        Plans are changed in place, and contiguous.
        """
        X = np.empty((*plans.shape[:2], len(x0)))
        # One memory layout, since others would be compiled anew, in the loop.
        regulator = Feedback(*map(np.ascontiguousarray, regulator))
        x0 = np.ascontiguousarray(x0)
        self._loops.roll_out(self._constants, x0, plans, heads, regulator, X)
        return X

    def sensitivity(self, x0: Array, X: Array, U: Array) -> Array:
        """Differentiate predicted states X (S, H, d) to U; returns shape (S, H, d, H m)."""
        S, H, m = U.shape
        Gamma = np.zeros((S, H, X.shape[2], H * m))
        x0, U, X = (np.ascontiguousarray(part) for part in (x0, U, X))
        self._loops.sensitivity(self._constants, x0, X, U, Gamma)
        return Gamma


def compiled_roll_out(step_map: StepMap) -> CompiledRollOut | None:
    """Compile a map's roll-out, if numba is there and the map is of a kind that is covered.

    Covered are `SampledFeatures` of one layer, and states that stop at a limit where there is one
    input.
    """
    if not isinstance(step_map, OneStepMap):
        return None
    features, stops = step_map.features, bool(step_map.saturating.any())
    covered = isinstance(features, SampledFeatures) and features.n_layers == 1
    if not covered or (stops and len(step_map.constant) != 2) or find_spec("numba") is None:
        return None
    return CompiledRollOut(step_map)


def _constants(step_map: OneStepMap) -> Constants:
    features, embedding = step_map.features, step_map.embedding
    assert isinstance(features, SampledFeatures)
    return Constants(
        plain=embedding.plain,
        angles=embedding.angles,
        activation=ACTIVATION_CODES[features.activation],
        weights=np.ascontiguousarray(features.weights_.T),
        biases=np.ascontiguousarray(features.biases_),
        constant=np.ascontiguousarray(step_map.constant.ravel()),
        linear=np.ascontiguousarray(step_map.linear.T),
        nonlinear=np.ascontiguousarray(step_map.nonlinear.T),
        low=np.ascontiguousarray(step_map.limits[0]),
        high=np.ascontiguousarray(step_map.limits[1]),
        saturating=np.flatnonzero(step_map.saturating),
    )
