"""What a lifted model says about the future: lifting, the three roll-outs and their derivatives."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array, product, real_array
from koopman_control.common.border import checked
from koopman_control.features.base import FeatureMap
from koopman_control.features.coordinates import Coordinates
from koopman_control.identification.ground import distances
from koopman_control.identification.model import rollouts
from koopman_control.identification.model.folding import folded
from koopman_control.identification.model.input_lift import InputLift, LiftedInputMap
from koopman_control.identification.model.relift import Embedding, StepMap
from koopman_control.identification.model.rollouts import ROLLOUTS, Rollout


class Predictor:
    """The part of `LiftedModel` that predicts; the fields are described there."""

    A: Array
    B: Array
    C: Array
    N: Array | None
    input_features: FeatureMap | None
    coordinates: Coordinates
    features: FeatureMap
    center: Array
    scale: Array
    limits: Array
    saturating: NDArray[np.bool_]
    reduction: Array | None
    ground: Array | None

    @property
    def n_states(self) -> int:
        """Number of states d."""
        return len(self.C)

    @property
    def n_inputs(self) -> int:
        """Number of inputs m."""
        if self.input_features is not None:
            return int(self.input_features.n_features_in_)
        return int(self.B.shape[1])

    @cached_property
    def input_lift(self) -> InputLift | None:
        """From inputs u to what enters beside the lifted state, or None where that is u."""
        return None if self.input_features is None else InputLift(self.input_features)

    def lifted_inputs(self, U: Array) -> Array:
        """Return what B and N act on, shape (..., m) to (..., q); U itself without features."""
        return U if self.input_lift is None else self.input_lift(U)

    @cached_property
    def embedding(self) -> Embedding:
        """From states to feature inputs."""
        return Embedding(self.coordinates)

    @cached_property
    def one_step(self) -> StepMap:
        """The re-lifted one-step map."""
        inner = folded(self)
        return inner if self.input_lift is None else LiftedInputMap(inner, self.input_lift)

    @checked
    def state(self, observation: ArrayLike, actions: ArrayLike | None = None) -> Array:
        """Read states from observations.

        Args:
            observation: Shape (..., p); for a model with a memory the history up to now, the oldest
                first, shape (memory + 1, p) or longer.
            actions: For a model with a memory, the inputs between those, one fewer.

        Returns:
            Shape (..., d), or (d,) for a history: the present states, the steps that led to them
            and the past inputs, each the latest first; `state_names` labels them.

        Raises:
            ValueError: If shapes do not suit the model, or the history is missing or too short.
        """
        y = np.asarray(observation, dtype=np.float64)
        if y.shape[-1:] != (self.coordinates.n_observations,):
            raise ValueError(
                f"observation has shape {y.shape}; expected {self.coordinates.n_observations} "
                "entries in the last dimension, as in the data the model was fitted on"
            )
        if not self.coordinates.memory:
            return self.coordinates.state(y)
        past = None if actions is None else np.asarray(actions, dtype=np.float64)
        length = len(y) - 1 if y.ndim == 2 else 0
        if (
            past is None
            or length < self.coordinates.memory
            or past.shape != (length, self.n_inputs)
        ):
            k, m = self.coordinates.memory, self.n_inputs
            raise ValueError(
                f"observation has shape {y.shape} and actions "
                f"{None if past is None else past.shape}; expected the history of a model with a "
                f"memory of {k}: at least {k + 1} observations, and as many actions less one, "
                f"shape ({k}, {m})"
            )
        return np.asarray(self.coordinates.along(y, past)[-1])

    def lift(self, x: Array) -> Array:
        """Lift states, shape (..., d) to (..., n)."""
        e = self.embedding(x)
        features, k = self.features.values(e), 1 + e.shape[-1]
        end = k + features.shape[-1]
        psi = np.empty((*x.shape[:-1], end + self.embedding.n_angles))
        psi[..., 0] = 1.0
        scaled = psi[..., 1:k]
        np.subtract(e, self.center, out=scaled)
        scaled /= self.scale
        psi[..., k:end] = features
        if self.embedding.n_angles:
            psi[..., end:] = x[..., self.coordinates.is_angle]
        return psi if self.reduction is None else product(psi, self.reduction.T)

    @checked
    def distance(self, x: ArrayLike) -> Array:
        """Say how far states are from the middle of the training data, in units of their edge.

        Up to 1 are 99.9 % of the training states; beyond 1, the model extrapolates.

        Args:
            x: States, shape (..., d).

        Returns:
            Shape (...), at least 0; 0 throughout where `ground` is None.
        """
        states = real_array("x", x)
        if states.shape[-1:] != (self.n_states,):
            raise ValueError(f"x has shape {states.shape}; expected (..., {self.n_states})")
        e = self.embedding(states)
        if self.ground is None:
            return np.zeros(e.shape[:-1])
        return distances(self.ground, (e - self.center) / self.scale)

    @checked
    def predict(self, x0: ArrayLike, U: ArrayLike, rollout: Rollout = "relifted") -> Array:
        """Predict states along given inputs.

        Args:
            x0: Initial state, shape (d,), or one per sequence, shape (S, d). See `state`.
            U: Inputs, shape (H, m), or S sequences of them, shape (S, H, m).
            rollout: "linear", "bilinear" or "relifted".

        Returns:
            States after 1 ... H steps, shape (H, d) or (S, H, d).

        Raises:
            ValueError: If shapes disagree with the model or the roll-out needs couplings N.
        """
        self.check_rollout(rollout)
        inputs = finite_array("U", U)
        start = finite_array("x0", x0)
        if inputs.ndim not in (2, 3) or inputs.shape[-1] != self.n_inputs:
            raise ValueError(
                f"U has shape {inputs.shape}; expected (H, {self.n_inputs}) or (S, H, m)"
            )
        allowed = ((self.n_states,), (*inputs.shape[:-2], self.n_states))
        if start.shape not in allowed:
            raise ValueError(
                f"x0 has shape {start.shape} beside U of shape {inputs.shape}; expected one state, "
                f"{allowed[0]}, or one for each sequence"
            )
        single = inputs.ndim == 2
        X = self.rolled_out(start, inputs[None] if single else inputs, rollout)
        return X[0] if single else X

    @checked
    def linearize(
        self, x0: ArrayLike, U: ArrayLike, rollout: Rollout = "relifted"
    ) -> tuple[Array, Array]:
        """Predict states along planned inputs and their sensitivity to them.

        Args:
            x0: Current state, shape (d,).
            U: Planned inputs, shape (H, m).
            rollout: "linear", "bilinear" or "relifted".

        Returns:
            Y of shape (H, d) and Gamma of shape (H d, H m), so that Y(U + dU) = Y + Gamma dU to
            first order (exactly, for a linear roll-out).

        Raises:
            ValueError: If the shapes disagree with the model.
        """
        Y = self.predict(finite_array("x0", x0, shape=(self.n_states,)), U, rollout)
        plan = finite_array("U", U, shape=(len(Y), self.n_inputs))
        if not plan.size:
            raise ValueError(f"U has shape {plan.shape}; expected at least one step")
        Gamma = self.sensitivities(np.asarray(x0, dtype=np.float64), Y[None], plan[None], rollout)
        return Y, Gamma[0].reshape(Y.size, plan.size)

    def rolled_out(self, x0: Array, U: Array, rollout: Rollout) -> Array:
        """Predict without checks, x0 (d,) or (S, d) and U (S, H, m) to states (S, H, d)."""
        if rollout == "relifted":
            return rollouts.relifted(self.one_step, x0, U)
        V = self.lifted_inputs(U)
        if rollout == "linear":
            return rollouts.linear(self.A, self.B, self.C, self.lift(x0), V)
        return rollouts.lifted(self.A, self.B, self.N, self.lift(x0), V) @ self.C.T

    def sensitivities(self, x0: Array, X: Array, U: Array, rollout: Rollout) -> Array:
        """Differentiate a prediction X (S, H, d) without checks; returns shape (S, H, d, H m)."""
        if rollout == "relifted":
            return rollouts.relifted_sensitivity(self.one_step, x0, X, U)
        Gamma = self._lifted_sensitivities(x0, X, self.lifted_inputs(U))
        return Gamma if self.input_lift is None else self.input_lift.pull_back(Gamma, U)

    def _lifted_sensitivities(self, x0: Array, X: Array, V: Array) -> Array:
        """Differentiate a lifted roll-out to lifted inputs V (S, H, q); shape (S, H, d, H q)."""
        if self.N is None:
            S, H, d = X.shape
            Gamma = rollouts.linear_response(self.A, self.B, self.C, H)[1]
            return np.broadcast_to(Gamma.reshape(H, d, -1), (S, H, d, Gamma.shape[1]))
        z0 = self.lift(x0)
        Z = rollouts.lifted(self.A, self.B, self.N, z0, V)
        return rollouts.bilinear_sensitivity(self.A, self.B, self.N, self.C, z0, Z, V)

    @checked
    def check_rollout(self, rollout: str) -> None:
        """Raise a ValueError unless this model can be rolled out that way."""
        if rollout not in ROLLOUTS:
            raise ValueError(f"rollout is {rollout!r}; expected one of {', '.join(ROLLOUTS)}")
        if rollout == "linear" and self.N is not None:
            raise ValueError(
                "rollout is 'linear' but the model has input couplings N, which it would ignore; "
                'fit with coupling="linear", or use the bilinear or re-lifted roll-out'
            )
        if rollout == "bilinear" and self.N is None:
            raise ValueError(
                "rollout is 'bilinear' but the model has no input couplings N; "
                'fit with coupling="bilinear", or use the linear or re-lifted roll-out'
            )
