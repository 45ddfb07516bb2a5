"""What plans lead to: predicted outputs and their sensitivities, for one model or several.

Nonlinear models are rolled out with arrays, or with compiled loops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopman_control.common.arrays import Array, Index
from koopman_control.identification import (
    LiftedModel,
    Rollout,
    compiled_roll_out,
    linear_response,
)
from koopman_control.identification.kernel_arrays import Regulator
from koopman_control.mpc.state import Start
from koopman_control.mpc.terminal import finished_by_feedback


class RollOut:
    """Predictions of a model along many plans, without checks.

    Args:
        model: The model.
        rollout: "linear", "bilinear" or "relifted". The last one is compiled if numba is installed
            and the model's features are covered (`identification.compiled_roll_out`).

    Attributes:
        rollout: Which roll-out it is.
    """

    def __init__(self, model: LiftedModel, rollout: Rollout) -> None:
        self._model, self.rollout = model, rollout
        self._fast = compiled_roll_out(model.one_step) if rollout == "relifted" else None

    def predicted(self, start: Start, U: Array) -> Array:
        """Predict outputs (S, N, d) under plans U (S, N, c)."""
        inputs = start.joined(U)
        if self._fast is not None:
            return start.outputs(self._fast.predicted(start.x, inputs))
        return start.outputs(self._model.rolled_out(start.x, inputs, self.rollout))

    def sensitivities(self, start: Start, Y: Array, U: Array) -> Array:
        """Differentiate predicted outputs Y (S, N, d) to U; returns shape (S, N, d, N c)."""
        X, inputs = start.states(Y), start.joined(U)
        if self._fast is not None:
            return start.kept(self._fast.sensitivity(start.x, X, inputs))
        return start.kept(self._model.sensitivities(start.x, X, inputs, self.rollout))

    def finished(
        self, start: Start, plans: Array, heads: Index, regulator: Regulator
    ) -> tuple[Array, Array]:
        """Let the regulator take plans (S, N, m) over after heads (S,) steps; re-lifted.

        Returns:
            The plans, changed in place, and the outputs (S, N, d) they lead through.
        """
        if self._fast is None or start.preview is not None:
            return finished_by_feedback(self._model, start, plans, heads, regulator)
        return plans, start.outputs(self._fast.finished(start.x, plans, heads, regulator))


LARGEST = 1e100  # response; its square, which the cost takes, is still a number


class Scenarios:
    """Predictions of K models with d states each; outputs have length p = K d.

    Args:
        models: The models, of the same states and inputs.
        rollout: How all of them are rolled out.

    Attributes:
        first: The model by which states are told from observations.
    """

    def __init__(self, models: Sequence[LiftedModel], rollout: Rollout) -> None:
        self.models, self.first, self.rollout = tuple(models), models[0], rollout
        self._roll_outs = [RollOut(model, rollout) for model in models]
        self.n_outputs = len(models) * self.first.n_states
        self.n_inputs = self.first.n_inputs
        self.has_angles = self.first.coordinates.has_angles

    def wrap(self, Y: Array) -> Array:
        """Wrap the angles in deviations of outputs (..., p) to [-pi, pi)."""
        if not self.has_angles:
            return Y
        by_model = Y.reshape(*Y.shape[:-1], len(self.models), -1)
        return self.first.coordinates.wrap(by_model).reshape(Y.shape)

    def lift(self, x: Array) -> Array:
        """Lift states (..., d), the lifted states of all models side by side."""
        return _side_by_side([model.lift(x) for model in self.models])

    def linear_response(self, horizon: int) -> tuple[Array, Array]:
        """Return Phi (N p, n) and Gamma (N p, N m) of the linear roll-out; n counts all lifts.

        Raises:
            ValueError: If a model grows beyond all that can be computed with.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [linear_response(model.A, model.B, model.C, horizon) for model in self.models]
        for Phi, Gamma in parts:
            _check_size(Phi, Gamma, horizon)
        if len(parts) == 1:
            return parts[0]
        d, ends = self.first.n_states, np.cumsum([len(model.A) for model in self.models])
        Phi = np.zeros((horizon, len(parts), d, ends[-1]))
        for k, (own, _) in enumerate(parts):
            Phi[:, k, :, ends[k] - own.shape[1] : ends[k]] = own.reshape(horizon, d, -1)
        Gamma = np.stack([own.reshape(horizon, d, -1) for _, own in parts], axis=1)
        return Phi.reshape(-1, ends[-1]), Gamma.reshape(horizon * self.n_outputs, -1)

    def linearized(self, start: Start, U: Array) -> tuple[Array, Array]:
        """Predict outputs (N, p) along one plan (N, c), and differentiate: (N p, N c)."""
        pairs = zip(start.each(len(self.models)), self.models, strict=True)
        Y, Gamma = zip(
            *(own.linearized(model, U, self.rollout) for own, model in pairs), strict=True
        )
        by_step = [own.reshape(len(U), -1, own.shape[1]) for own in Gamma]
        return np.concatenate(Y, axis=1), np.concatenate(by_step, axis=1).reshape(-1, U.size)

    def predicted(self, start: Start, U: Array) -> Array:
        """Predict outputs (S, N, p) under plans U (S, N, c); not for linear roll-outs."""
        return _side_by_side([roll_out.predicted(own, U) for roll_out, own in self._each(start)])

    def sensitivities(self, start: Start, Y: Array, U: Array) -> Array:
        """Differentiate predicted outputs Y (S, N, p) to U; returns shape (S, N, p, N c)."""
        pairs = zip(np.split(Y, len(self.models), axis=2), self._each(start), strict=True)
        parts = [roll_out.sensitivities(own, part, U) for part, (roll_out, own) in pairs]
        return _side_by_side(parts, axis=2)

    def finished(
        self, start: Start, plans: Array, heads: Index, regulator: Regulator
    ) -> tuple[Array, Array]:
        """Let the regulator take plans (S, N, c) over after heads (S,) steps of the first model.

        Returns:
            The plans, changed in place, and the outputs (S, N, p) they lead through.
        """
        plans, Y = self._roll_outs[0].finished(start, plans, heads, regulator)
        others = [roll_out.predicted(own, plans) for roll_out, own in self._each(start)[1:]]
        return plans, _side_by_side([Y, *others])

    def _each(self, start: Start) -> list[tuple[RollOut, Start]]:
        return list(zip(self._roll_outs, start.each(len(self.models)), strict=True))


def checked_models(
    given: LiftedModel | Sequence[LiftedModel], rollout: Rollout
) -> list[LiftedModel]:
    """Check that models can be rolled out and describe one plant.

    Raises:
        ValueError: If there is none, or they differ in states or inputs.
    """
    models = [given] if isinstance(given, LiftedModel) else list(given)
    if not models:
        raise ValueError("model is empty; expected a model, or several")
    first = models[0]
    for i, model in enumerate(models):
        model.check_rollout(rollout)
        if rollout == "linear":
            model.require_plain_inputs('the linear roll-out no QP: use rollout="relifted"')
        if model.coordinates != first.coordinates or model.n_inputs != first.n_inputs:
            raise ValueError(
                f"model[{i}] has other states or inputs than model[0]; expected models of one plant"
            )
    return models


def _side_by_side(parts: list[Array], axis: int = -1) -> Array:
    """Join what the models say; that of one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


def _check_size(Phi: Array, Gamma: Array, horizon: int) -> None:
    sizes = [np.abs(rows.reshape(horizon, -1)).max(axis=1) for rows in (Phi, Gamma)]
    fits = np.maximum(*sizes) < LARGEST
    if fits.all():
        return
    steps = int(np.argmin(fits))
    shorter = f", or take a horizon of at most {steps} steps" if steps else ""
    raise ValueError(
        f"the model's linear roll-out grows beyond {LARGEST:.0e} over {horizon} steps; expected "
        f"one that can be computed with: fit the model with stability=1.0{shorter}"
    )
