"""A fitted lifted model, one frozen value: signals, features, matrices and the three roll-outs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, bounds_array, finite_array, product, real_array
from koopman_control.common.border import check_fields, checked
from koopman_control.common.files import PathLike
from koopman_control.features import Coordinates, FeatureMap
from koopman_control.identification import rollouts
from koopman_control.identification.joint import JointMap
from koopman_control.identification.rollouts import (
    ROLLOUTS,
    LiftedInputMap,
    OneStepMap,
    Rollout,
    StepMap,
)
from koopman_control.identification.signals import Signals, distances
from koopman_control.trajectories import Trajectory

if TYPE_CHECKING:
    from koopman_control.identification.report import ModelReport

Lift = Callable[[Array], ArrayLike]
LEVEL = 0.9  # of the quantiles kept with a model


@dataclass(frozen=True, eq=False)
class LiftedModel:
    """Lifted model z+ = A z + B u + sum_i u_i N_i z with x = C z and z = psi(x).

    The lifted state is psi(x) = [1, standardised feature inputs, features, angles]. Feature inputs
    are the states, with an angle replaced by its cosine and sine; nothing depends on an angle
    itself, so its column of A is zero but for the identity. Inputs and states are in the units of
    the data.

    Args:
        A: Lifted dynamics, shape (n, n).
        B: Input matrix, shape (n, q), with q = m inputs where they enter plainly.
        C: Read-out of the states, shape (d, n).
        N: Input couplings, shape (q, n, n), or None for a model linear in z and u.
        signals: What states and inputs are: coordinates, units, limits, names.
        features: Fitted feature map on e feature inputs.
        summary: Facts about the fit: regularisation, condition number, errors and the like.
        reduction: Projection T of a reduced model, shape (n, full n): its lifted state is T psi(x);
            None if it is psi(x) itself.
        error_quantiles: By roll-out, what the absolute error of a prediction 1 ... K steps ahead
            stays below in a share `error_level` of left-out windows, in the units of the states
            (radians for angles), shape (K, d) for the d present states. Infinite where there were
            too few windows to say, empty where nothing was left out or the model has been changed
            since.
        error_level: Share of windows, in (0, 1).
        joint: The re-lifted one-step map, where features see states and inputs together (as those
            of `SampledRNN.model`); A and B are then its linearisation. None: that of the matrices.
    """

    A: Array
    B: Array
    C: Array
    N: Array | None
    signals: Signals
    features: FeatureMap
    summary: Mapping[str, Any] = field(default_factory=dict)
    reduction: Array | None = None
    error_quantiles: Mapping[Rollout, Array] = field(default_factory=dict)
    error_level: float = LEVEL
    joint: JointMap | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        check_fields(self)
        finite_array("A", self.A, ndim=2)
        finite_array("B", self.B, ndim=2)
        coordinates, input_features = self.coordinates, self.signals.input_features
        n, d, q = len(self.A), coordinates.dim, np.shape(self.B)[-1]
        if input_features is not None:
            q = self.n_inputs + input_features._n_features_out
        n_e, n_angles = len(coordinates.embedded), int(coordinates.is_angle.sum())
        n_full = 1 + n_e + self.features._n_features_out + n_angles
        if self.reduction is not None:
            finite_array("reduction", self.reduction, shape=(n, n_full))
        elif n != n_full:
            raise ValueError(
                f"A has {n} rows; expected {n_full}: a constant, {n_e} feature inputs, "
                f"{self.features._n_features_out} features and {n_angles} angles"
            )
        for name, shape in {"A": (n, n), "B": (n, q), "C": (d, n)}.items():
            finite_array(name, getattr(self, name), shape=shape)
        if self.N is not None:
            finite_array("N", self.N, shape=(q, n, n))
        if self.action_bounds is not None:
            bounds_array("action_bounds", self.action_bounds, self.n_inputs)
        if self.joint is not None:
            j = self.joint
            if (j.n_outputs, j.n_inputs, j.memory) != (
                coordinates.n_outputs,
                self.n_inputs,
                coordinates.memory,
            ):
                raise ValueError("joint is a map of other outputs, inputs or memory")
        if not 0.0 < self.error_level < 1.0:
            raise ValueError(f"error_level is {self.error_level}; expected a share such as 0.9")
        for rollout, bounds in self.error_quantiles.items():
            name = f"error_quantiles[{rollout!r}]"
            real_array(name, bounds, shape=(None, coordinates.n_outputs))
            if rollout not in ROLLOUTS or not (bounds >= 0.0).all():
                raise ValueError(
                    f"{name} holds numbers below 0 or is of an unknown roll-out; expected bounds "
                    f"of at least 0 for {', '.join(ROLLOUTS)}"
                )

    # What is read of the signals every day.

    @property
    def coordinates(self) -> Coordinates:
        """From observations to states."""
        return self.signals.coordinates

    @property
    def limits(self) -> Array:
        """Lowest and highest value of each state, shape (2, d)."""
        return self.signals.limits

    @property
    def action_bounds(self) -> Array | None:
        """Lowest and highest input, shape (2, m), or None."""
        return self.signals.action_bounds

    @property
    def input_delay(self) -> int:
        """Samples that pass in the logs before an input acts; see `Signals`."""
        return self.signals.input_delay

    @property
    def dt(self) -> float | None:
        """Sampling time in seconds, or None."""
        return self.signals.dt

    @property
    def state_names(self) -> tuple[str, ...]:
        """The d names of the states."""
        return self.signals.state_names

    @property
    def n_states(self) -> int:
        """Number of states d."""
        return len(self.C)

    @property
    def n_inputs(self) -> int:
        """Number of inputs m."""
        if self.signals.input_features is not None:
            return int(self.signals.input_features.n_features_in_)
        return int(self.B.shape[1])

    @property
    def n_lifted(self) -> int:
        """Number of lifted states n."""
        return len(self.A)

    @property
    def n_angles(self) -> int:
        """Number of angles among the states; they are the last lifted states."""
        return self.signals.embedding.n_angles

    @property
    def lifted_rollout(self) -> Literal["linear", "bilinear"]:
        """The roll-out that lifts once: "linear", or "bilinear" with couplings N."""
        return "linear" if self.N is None else "bilinear"

    @cached_property
    def eigenvalues(self) -> NDArray[np.complex128]:
        """Eigenvalues of A, by falling modulus, shape (n,)."""
        values = np.linalg.eigvals(self.A).astype(np.complex128)
        return values[np.argsort(-np.abs(values), kind="stable")]

    @cached_property
    def affine_step(self) -> OneStepMap:
        """The re-lifted one-step map x+ = C (A psi(x) + B v + sum_i v_i N_i psi(x)) in what enters.

        Inputs enter as v = u, or lifted by their features.
        """
        signals = self.signals
        n_e = len(signals.center)
        if self.reduction is None:
            drift = self.C @ (self.A - np.eye(len(self.A)))
        else:
            drift = self.C @ self.A @ self.reduction - rollouts.read_out(
                signals.coordinates, signals.center, signals.scale, self.reduction.shape[1]
            )
        n_phi = drift.shape[1] - self.n_angles
        drift = drift[:, :n_phi]
        gains = np.zeros((self.B.shape[1], *drift.shape))
        if self.N is not None:
            lift = np.eye(len(self.A)) if self.reduction is None else self.reduction
            gains += (self.C @ self.N @ lift)[:, :, :n_phi]
        gains[:, :, 0] += (self.C @ self.B).T
        blocks = np.concatenate([drift[None], gains])  # (1 + m, d, n_phi)
        linear = blocks[:, :, 1 : 1 + n_e] / signals.scale
        rows = blocks.shape[0] * blocks.shape[1]
        stacked = [
            np.ascontiguousarray(
                part.transpose(2, 0, 1).reshape(-1, rows)
            )  # for a product from left
            for part in (linear, blocks[:, :, 1 + n_e :])
        ]
        return OneStepMap(
            embedding=signals.embedding,
            features=self.features,
            constant=blocks[:, :, 0] - linear @ signals.center,
            linear=stacked[0],
            nonlinear=stacked[1],
            limits=signals.limits,
            saturating=signals.saturating,
        )

    @cached_property
    def one_step(self) -> StepMap:
        """The re-lifted one-step map."""
        if self.joint is not None:
            return self.joint
        lift = self.signals.input_lift
        return self.affine_step if lift is None else LiftedInputMap(self.affine_step, lift)

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
        signals = self.signals
        embedding = signals.embedding
        e = embedding(x)
        features, k = self.features.values(e), 1 + e.shape[-1]
        end = k + features.shape[-1]
        psi = np.empty((*x.shape[:-1], end + embedding.n_angles))
        psi[..., 0] = 1.0
        scaled = psi[..., 1:k]
        np.subtract(e, signals.center, out=scaled)
        scaled /= signals.scale
        psi[..., k:end] = features
        if embedding.n_angles:
            psi[..., end:] = x[..., embedding.angles]
        return psi if self.reduction is None else product(psi, self.reduction.T)

    @checked
    def distance(self, x: ArrayLike) -> Array:
        """Say how far states are from the middle of the training data, in units of their edge.

        Up to 1 are 99.9 % of the training states; beyond 1, the model extrapolates.

        Args:
            x: States, shape (..., d).

        Returns:
            Shape (...), at least 0; 0 throughout where `signals.ground` is None.
        """
        states = real_array("x", x)
        if states.shape[-1:] != (self.n_states,):
            raise ValueError(f"x has shape {states.shape}; expected (..., {self.n_states})")
        signals = self.signals
        if signals.ground is None:
            return np.zeros(states.shape[:-1])
        return distances(
            signals.ground, (signals.embedding(states) - signals.center) / signals.scale
        )

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
        V = self.signals.lifted_inputs(U)
        if rollout == "linear":
            return rollouts.linear(self.A, self.B, self.C, self.lift(x0), V)
        return rollouts.lifted(self.A, self.B, self.N, self.lift(x0), V) @ self.C.T

    def sensitivities(self, x0: Array, X: Array, U: Array, rollout: Rollout) -> Array:
        """Differentiate a prediction X (S, H, d) without checks; returns shape (S, H, d, H m)."""
        if rollout == "relifted":
            return rollouts.relifted_sensitivity(self.one_step, x0, X, U)
        lift = self.signals.input_lift
        Gamma = self._lifted_sensitivities(x0, X, self.signals.lifted_inputs(U))
        return Gamma if lift is None else lift.pull_back(Gamma, U)

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

    def require_plain_inputs(self, what: str) -> None:
        """Raise a ValueError, which says what is impossible, if inputs enter through features."""
        if self.signals.input_features is not None:
            raise ValueError(
                f"the model has input_features, so it is not linear in its inputs, and {what}; "
                "otherwise fit with input_features=None"
            )

    # What follows only forwards, for daily use. The files it forwards to import this one, so they
    # are imported late: the only place in this room where that closes a circle.

    @checked
    def save(self, path: PathLike) -> None:
        """Write the model to a .npz file, replacing what was there.

        Raises:
            TypeError: If its features are of a class that cannot be saved.
            OSError: If the file cannot be written.

        Example:
            >>> model.save("model.npz")  # doctest: +SKIP
            >>> LiftedModel.load("model.npz").predict(x0, U)  # doctest: +SKIP
        """
        from koopman_control.identification.store import write_model

        write_model(path, self)

    @classmethod
    @checked
    def load(cls, path: PathLike) -> LiftedModel:
        """Read what `save` wrote, to the last bit; no code in the file is ever run.

        Raises:
            FileNotFoundError: If there is no such file.
            FileFormatError: If it is damaged or holds something else.
        """
        from koopman_control.identification.store import read_model

        return read_model(path)

    @classmethod
    @checked
    def from_arrays(
        cls,
        A: ArrayLike,
        B: ArrayLike,
        C: ArrayLike | None = None,
        lift: Lift | FeatureMap | None = None,
        *,
        N: ArrayLike | None = None,
        jacobian: Lift | None = None,
        dt: float | None = None,
        state_names: Sequence[str] | None = None,
        action_bounds: ArrayLike | None = None,
        coordinates: Coordinates | None = None,
    ) -> LiftedModel:
        """Make a model of matrices fitted elsewhere: z+ = A z + B u + sum_i u_i N_i z, x = C z.

        Args:
            A: Lifted dynamics, shape (n, n).
            B: Input matrix, shape (n, m).
            C: Read-out of the measured states, shape (d, n); None means x = z.
            lift: From states (S, d) to lifted states (S, n), a function or a fitted feature map;
                None for a C that is invertible.
            N: Input couplings, shape (m, n, n), or None.
            jacobian: Derivative of lift, (S, d) to (S, n, d); None differentiates numerically.
            dt: Sampling time in seconds, or None.
            state_names: d names.
            action_bounds: Lowest and highest input, shape (2, m), or None.
            coordinates: Which columns of an observation are the states; None: all, in order.

        Returns:
            A model whose roll-outs are those of the matrices given. Its lifted state is
            [1, x, lift(x)], so its n_lifted is 1 + d + n. It cannot be saved to a file if lift is a
            function.

        Raises:
            ValueError: If shapes disagree, or lift is needed and not given.

        Example:
            >>> A, B = [[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]]
            >>> LiftedModel.from_arrays(A, B, dt=0.1).predict([0.0, 1.0], [[0.0], [0.0]])
            array([[0.1, 1. ],
                   [0.2, 1. ]])
        """
        from koopman_control.identification.foreign import model_from_arrays

        return model_from_arrays(
            A,
            B,
            C,
            lift,
            N=N,
            jacobian=jacobian,
            dt=dt,
            state_names=state_names,
            action_bounds=action_bounds,
            coordinates=coordinates,
        )

    @checked
    def report(self, data: Trajectory | Sequence[Trajectory], horizon: int = 50) -> ModelReport:
        """Say how good this model is on data it was not fitted on; see `identification.report`."""
        from koopman_control.identification.report import report

        return report(self, data, horizon)
