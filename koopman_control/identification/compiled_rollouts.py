"""The re-lifted roll-out and its sensitivities as compiled loops, for the control loop.

Here a model becomes plain arrays: neurons side by side, then monomials; `kernels` holds the loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap, Monomials, Neurons
from koopman_control.identification.kernel_arrays import (
    ACTIVATION_CODES,
    Constants,
    Features,
    Regulator,
)
from koopman_control.identification.rollouts import LiftedInputMap, OneStepMap, StepMap


class CoveredFeatures:
    """A feature map that the loops can evaluate.

    Args:
        parts: Its neurons, and at most one set of monomials, side by side.
        n_inputs: Number of inputs e.

    Attributes:
        arrays: What the loops read.
        places: Of the features among the values of the loops, shape (h,).
    """

    def __init__(self, parts: Sequence[Neurons | Monomials], n_inputs: int) -> None:
        layers = [part for part in parts if isinstance(part, Neurons)]
        weights = np.concatenate([np.empty((0, n_inputs)), *(layer.weights for layer in layers)])
        ends = np.cumsum([len(layer.biases) for layer in layers], dtype=np.int64)
        n, none = len(weights), np.empty(0, dtype=np.int64)
        center, scale, parents, factors = np.zeros(n_inputs), np.ones(n_inputs), none, none
        self.places, places_of_layers = none, np.split(np.arange(n), ends[:-1])
        for part in parts:
            if isinstance(part, Monomials):
                center, scale = part.center, part.scale
                parents, factors = n + part.parents, n + part.factors
                places = n + n_inputs + np.arange(len(parents))
            else:
                places = places_of_layers.pop(0)
            self.places = np.concatenate([self.places, places])
        codes = [ACTIVATION_CODES[layer.activation] for layer in layers]
        self.arrays = Features(
            weights=np.ascontiguousarray(weights.T),
            biases=np.concatenate([np.empty(0), *(layer.biases for layer in layers)]),
            codes=np.array(codes, dtype=np.int64),
            ends=ends,
            center=center,
            scale=scale,
            parents=parents,
            factors=factors,
        )

    def in_values(self, coefficients: Array) -> Array:
        """Turn coefficients of [1, inputs, features], in rows, into those of [1, values]."""
        f, (e, n) = self.arrays, self.arrays.weights.shape
        inputs = coefficients[1 : 1 + e]
        out = np.zeros((1 + n + e + len(f.parents), *coefficients.shape[1:]))
        out[0] = coefficients[0] + np.tensordot(f.center, inputs, 1)
        out[1 + n : 1 + n + e] = (inputs.T * f.scale).T
        out[1 + self.places] = coefficients[1 + e :]
        return out


def covered_features(features: FeatureMap) -> CoveredFeatures | None:
    """Return a fitted map as the loops need it, or None if it is of a kind they do not cover."""
    form = features.compiled_form()
    if form is None or sum(isinstance(part, Monomials) for part in form) > 1:
        return None
    return CoveredFeatures(form, int(features.n_features_in_))


def _nobody(target: Array, m: int) -> Regulator:
    """A regulator of m inputs that does nothing, with a target (d,)."""
    return Regulator(target, np.zeros(m), np.zeros((m, len(target))), np.zeros((2, m)))


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
        from koopman_control.identification import kernels as loops

        self._parts = step_map, features, inputs
        self._loops, self._constants = loops, _constants(step_map, features, inputs)
        try:
            self._compile()
        except (AttributeError, ImportError):  # kept by a version whose classes are no more
            loops.forget_kept()
            self._compile()

    def _compile(self) -> None:
        """Run every loop once."""
        step_map, _, inputs = self._parts
        d, m = step_map.constant.shape[1], len(inputs.arrays.center)
        rest, plan = np.zeros(d), np.zeros((1, 1, m))
        heads = np.zeros(1, dtype=np.int64)
        states = self.finished(rest, plan.copy(), heads, _nobody(rest, m))
        self.sensitivity(rest, states, plan)

    @property
    def n_inputs(self) -> int:
        """Number of inputs m."""
        return len(self._constants.inputs.center)

    def __reduce__(self) -> tuple[type[CompiledRollOut], tuple[Any, ...]]:
        """Copy to other processes what is compiled there again."""
        return CompiledRollOut, self._parts

    def predicted(self, x0: Array, U: Array) -> Array:
        """Predict states (S, H, d) from x0 (d,) under inputs U (S, H, m)."""
        never = np.full(len(U), U.shape[1])
        return self.finished(x0, np.ascontiguousarray(U), never, _nobody(x0, U.shape[2]))

    def finished(self, x0: Array, plans: Array, heads: np.ndarray, regulator: Regulator) -> Array:
        """Predict states (S, H, d); the regulator replaces plans (S, H, m) from heads (S,) on.

        Plans are changed in place, and contiguous.
        """
        X = np.empty((*plans.shape[:2], len(x0)))
        # One memory layout, since others would be compiled anew, in the loop.
        regulator = Regulator(*map(np.ascontiguousarray, regulator))
        x0 = np.ascontiguousarray(x0)
        self._loops.roll_out(self._constants, x0, plans, heads, regulator, X)
        return X

    def step(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Advance a state x (d,) under u (m,); also returns the derivative (d, d) to x."""
        x_next, F = np.empty(len(x)), np.empty((len(x), len(x)))
        x, u = np.ascontiguousarray(x), np.ascontiguousarray(u)
        self._loops.step(self._constants, x, u, x_next, F)
        return x_next, F

    def sensitivity(self, x0: Array, X: Array, U: Array) -> Array:
        """Differentiate predicted states X (S, H, d) to U; returns shape (S, H, d, H m)."""
        S, H, m = U.shape
        Gamma = np.zeros((S, H, X.shape[2], H * m))
        x0, U, X = (np.ascontiguousarray(part) for part in (x0, U, X))
        self._loops.sensitivity(self._constants, x0, X, U, Gamma)
        return Gamma


def compiled_roll_out(step_map: StepMap) -> CompiledRollOut | None:
    """Compile a map's roll-out, if numba is there and the map is of a kind that is covered.

    Covered are features with a `compiled_form` of neurons and at most one polynomial, also as
    features of the inputs, there without states that stop at a limit.
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
        state_sizes=step_map.sizes[0],
        input_sizes=step_map.sizes[1],
    )
