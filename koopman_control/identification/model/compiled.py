"""The re-lifted roll-out and its sensitivities as compiled loops, for the control loop.

The same numbers as `OneStepMap` gives, without the cost of a dozen array operations per step: with
one or few plans those are nearly all of the time. Needs numba; `compiled_roll_out` returns None
without it, and for maps that the loops do not cover.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.model.covered_features import (
    CoveredFeatures,
    Features,
    covered_features,
)
from koopman_control.identification.model.input_lift import LiftedInputMap
from koopman_control.identification.model.relift import OneStepMap, StepMap


class Constants(NamedTuple):
    """Everything of a one-step map that the loops read; r runs over (1 + q) d rates.

    Args:
        plain: States that are feature inputs themselves.
        angles: States that are angles.
        features: Of the feature inputs, with v values.
        inputs: Of the inputs, with q values: what enters.
        constant: Rates where all values are zero, shape (r,).
        coefficients: Rates per value, shape (r, v).
        low: Lower limits, shape (d,).
        high: Upper limits, shape (d,).
        saturating: States the plant holds at their limit.
    """

    plain: np.ndarray
    angles: np.ndarray
    features: Features
    inputs: Features
    constant: Array
    coefficients: Array
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
        features: Its features.
        inputs: The features of its inputs.
    """

    def __init__(
        self, step_map: OneStepMap, features: CoveredFeatures, inputs: CoveredFeatures
    ) -> None:
        from koopman_control.identification.model import loops

        self._parts = step_map, features, inputs
        self._loops, self._constants = loops, _constants(step_map, features, inputs)
        d, m = step_map.constant.shape[1], len(inputs.arrays.center)
        rest, plan = np.zeros(d), np.zeros((1, 1, m))
        regulator = Feedback(rest, np.zeros(m), np.zeros((m, d)), np.zeros((2, m)))
        states = self.finished(rest, plan.copy(), np.zeros(1, dtype=np.int64), regulator)
        self.sensitivity(rest, states, plan)

    def __reduce__(self) -> tuple[type[CompiledRollOut], tuple[Any, ...]]:
        """Copy to other processes what is compiled there again."""
        return CompiledRollOut, self._parts

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

    Covered are unions of `SampledFeatures` of one layer, `FourierFeatures` and a polynomial, also
    as features of the inputs, there without states that stop at a limit.
    """
    lift = step_map.lift if isinstance(step_map, LiftedInputMap) else None
    inner = step_map.inner if isinstance(step_map, LiftedInputMap) else step_map
    if not isinstance(inner, OneStepMap) or find_spec("numba") is None:
        return None
    features = covered_features(inner.features)
    plain = CoveredFeatures([], len(inner.constant) - 1)
    inputs = plain if lift is None else covered_features(lift.features)
    if features is None or inputs is None or (lift is not None and inner.saturating.any()):
        return None
    return CompiledRollOut(inner, features, inputs)


def _constants(
    step_map: OneStepMap, features: CoveredFeatures, inputs: CoveredFeatures
) -> Constants:
    d, embedding = step_map.constant.shape[1], step_map.embedding
    constant = step_map.constant.reshape(1, -1)
    rates = features.in_values(np.concatenate([constant, step_map.linear, step_map.nonlinear]))
    by_input = inputs.in_values(rates.reshape(len(rates), -1, d).swapaxes(0, 1))
    table = by_input.swapaxes(1, 2).reshape(-1, len(rates))  # from (1 + q, 1 + v, d)
    return Constants(
        plain=embedding.plain,
        angles=embedding.angles,
        features=features.arrays,
        inputs=inputs.arrays,
        constant=np.ascontiguousarray(table[:, 0]),
        coefficients=np.ascontiguousarray(table[:, 1:]),
        low=np.ascontiguousarray(step_map.limits[0]),
        high=np.ascontiguousarray(step_map.limits[1]),
        saturating=np.flatnonzero(step_map.saturating),
    )
