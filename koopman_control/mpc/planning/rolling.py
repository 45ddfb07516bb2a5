"""How a nonlinear planner rolls its plans out: with arrays, or with compiled loops if it can."""

from __future__ import annotations

from koopman_control.common.arrays import Array, Index
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.compiled_rollouts import Feedback, compiled_roll_out
from koopman_control.mpc.regulator import Regulator, finished_by_feedback
from koopman_control.mpc.start import Start


class Rolling:
    """Predictions of a model along many plans, without checks.

    Args:
        model: The model.
        rollout: "linear", "bilinear" or "relifted". The last one is compiled if numba is installed
            and the model's features are covered (`identification.model.compiled`).

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
        if self._fast is None or start.forecast is not None:
            return finished_by_feedback(self._model, start, plans, heads, regulator)
        feedback = Feedback(regulator.target, regulator.u, regulator.K, regulator.box)
        return plans, start.outputs(self._fast.finished(start.x, plans, heads, feedback))
