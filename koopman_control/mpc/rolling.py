"""How a nonlinear planner rolls its plans out: with arrays, or with compiled loops if it can."""

from __future__ import annotations

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.compiled import Feedback, compiled_roll_out
from koopman_control.mpc.maps import Index
from koopman_control.mpc.regulator import Regulator, finished_by_feedback


class Rolling:
    """Predictions of a model along many plans, without checks.

    Args:
        model: The model.
        rollout: "linear", "bilinear" or "relifted". The last one is compiled if numba is installed
            and the model's features are covered (`identification.compiled`).
    """

    def __init__(self, model: LiftedModel, rollout: Rollout) -> None:
        self._model, self._rollout = model, rollout
        self._fast = compiled_roll_out(model.one_step) if rollout == "relifted" else None

    def predicted(self, x0: Array, U: Array) -> Array:
        """Predict states (S, N, d) from x0 (d,) under inputs U (S, N, m)."""
        if self._fast is not None:
            return self._fast.predicted(x0, U)
        return self._model.rolled_out(x0, U, self._rollout)

    def sensitivities(self, x0: Array, X: Array, U: Array) -> Array:
        """Differentiate predicted states X (S, N, d) to U; returns shape (S, N, d, N m)."""
        if self._fast is not None:
            return self._fast.sensitivity(x0, X, U)
        return self._model.sensitivities(x0, X, U, self._rollout)

    def finished(
        self, x0: Array, plans: Array, heads: Index, regulator: Regulator
    ) -> tuple[Array, Array]:
        """Let the regulator take plans (S, N, m) over after heads (S,) steps; re-lifted.

        Returns:
            The plans, changed in place, and the states (S, N, d) they lead through.
        """
        if self._fast is None:
            return finished_by_feedback(self._model, x0, plans, heads, regulator)
        feedback = Feedback(
            regulator.target, regulator.u, regulator.K, np.ascontiguousarray(regulator.box)
        )
        return plans, self._fast.finished(x0, plans, heads, feedback)
