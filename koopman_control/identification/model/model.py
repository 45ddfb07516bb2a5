"""A fitted lifted model: matrices, features and the three roll-outs, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import (
    Array,
    bounds_array,
    finite_array,
    positive_float,
    real_array,
)
from koopman_control.common.border import check_fields, checked
from koopman_control.common.files import PathLike
from koopman_control.features.base import FeatureMap
from koopman_control.features.coordinates import Coordinates
from koopman_control.identification.exchange import interop
from koopman_control.identification.exchange.foreign import (
    Lift,
    arrays_of_system,
    parts_from_arrays,
)
from koopman_control.identification.exchange.store import read_model, write_model
from koopman_control.identification.model.prediction import Predictor
from koopman_control.identification.model.rollouts import ROLLOUTS, Rollout
from koopman_control.identification.quantiles import LEVEL
from koopman_control.trajectories import Trajectory

if TYPE_CHECKING:
    from koopman_control.identification.analysis.diagnostics import ModelReport


@dataclass(frozen=True, eq=False)
class LiftedModel(Predictor):
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
        coordinates: From observations to states.
        features: Fitted feature map on e feature inputs.
        center: Mean of the feature inputs, shape (e,).
        scale: Standard deviation of the feature inputs, shape (e,).
        limits: Lowest and highest value of each state, shape (2, d); infinite where unknown.
        saturating: States the plant holds at their limit, shape (d,).
        action_bounds: Lowest and highest input, shape (2, m), or None.
        dt: Sampling time in seconds, or None.
        state_names: d names.
        summary: Facts about the fit: regularisation, condition number, errors and the like.
        reduction: Projection T of a reduced model, shape (n, full n): its lifted state is T psi(x);
            None if it is psi(x) itself.
        error_quantiles: By roll-out, what the absolute error of a prediction 1 ... K steps ahead
            stays below in a share `error_level` of left-out windows, in the units of the states
            (radians for angles), shape (K, d) for the d present states. Infinite where there were
            too few windows to say, empty where nothing was left out or the model has been changed
            since.
        error_level: Share of windows, in (0, 1).
        input_features: Fitted feature map of the inputs; [u, input_features(u)] of length q then
            takes the place of u. None for u itself.
        ground: Where the training data lie, as `distance` measures it, shape (k, 1 + e); None
            where that is not known.
    """

    A: Array
    B: Array
    C: Array
    N: Array | None
    coordinates: Coordinates
    features: FeatureMap
    center: Array
    scale: Array
    limits: Array
    saturating: NDArray[np.bool_]
    action_bounds: Array | None = None
    dt: float | None = None
    state_names: tuple[str, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    reduction: Array | None = None
    error_quantiles: Mapping[Rollout, Array] = field(default_factory=dict)
    error_level: float = LEVEL
    input_features: FeatureMap | None = None
    ground: Array | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        check_fields(self)
        finite_array("A", self.A, ndim=2)
        finite_array("B", self.B, ndim=2)
        n, d, q = len(self.A), self.coordinates.dim, np.shape(self.B)[-1]
        if self.input_features is not None:
            q = self.n_inputs + self.input_features._n_features_out
        n_e = len(self.coordinates.embedded)
        n_angles = int(self.coordinates.is_angle.sum())
        n_full = 1 + n_e + self.features._n_features_out + n_angles
        if self.reduction is not None:
            finite_array("reduction", self.reduction, shape=(n, n_full))
        elif n != n_full:
            raise ValueError(
                f"A has {n} rows; expected {n_full}: a constant, {n_e} feature inputs, "
                f"{self.features._n_features_out} features and {n_angles} angles"
            )
        shapes = {"A": (n, n), "B": (n, q), "C": (d, n), "center": (n_e,), "scale": (n_e,)}
        for name, shape in shapes.items():
            finite_array(name, getattr(self, name), shape=shape)
        if self.N is not None:
            finite_array("N", self.N, shape=(q, n, n))
        if self.ground is not None:
            finite_array("ground", self.ground, shape=(None, 1 + n_e))
        bounds_array("limits", self.limits, d)
        if self.action_bounds is not None:
            bounds_array("action_bounds", self.action_bounds, self.n_inputs)
        if self.dt is not None:
            positive_float("dt", self.dt)
        if not 0.0 < self.error_level < 1.0:
            raise ValueError(f"error_level is {self.error_level}; expected a share such as 0.9")
        if np.shape(self.saturating) != (d,) or np.asarray(self.saturating).dtype != np.bool_:
            raise ValueError(f"saturating is {self.saturating}; expected {d} booleans")
        for rollout, bounds in self.error_quantiles.items():
            name = f"error_quantiles[{rollout!r}]"
            real_array(name, bounds, shape=(None, self.coordinates.n_outputs))
            if rollout not in ROLLOUTS or not (bounds >= 0.0).all():
                raise ValueError(
                    f"{name} holds numbers below 0 or is of an unknown roll-out; expected bounds "
                    f"of at least 0 for {', '.join(ROLLOUTS)}"
                )

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
        write_model(path, self)

    @classmethod
    @checked
    def load(cls, path: PathLike) -> LiftedModel:
        """Read what `save` wrote, to the last bit; no code in the file is ever run.

        Raises:
            FileNotFoundError: If there is no such file.
            FileFormatError: If it is damaged or holds something else.
        """
        return read_model(path, cls)

    @classmethod
    @checked
    def from_arrays(
        cls,
        A: ArrayLike,
        B: ArrayLike,
        C: ArrayLike | None = None,
        lift: Lift | None = None,
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
            lift: From states (S, d) to lifted states (S, n); None for a C that is invertible.
            N: Input couplings, shape (m, n, n), or None.
            jacobian: Derivative of lift, (S, d) to (S, n, d); None differentiates numerically.
            dt: Sampling time in seconds, or None.
            state_names: d names.
            action_bounds: Lowest and highest input, shape (2, m), or None.
            coordinates: Which columns of an observation are the states; None: all, in order.

        Returns:
            A model whose roll-outs are those of the matrices given. Its lifted state is
            [1, x, lift(x)], so its n_lifted is 1 + d + n. It cannot be saved to a file.

        Raises:
            ValueError: If shapes disagree, or lift is needed and not given.

        Example:
            >>> A, B = [[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]]
            >>> LiftedModel.from_arrays(A, B, dt=0.1).predict([0.0, 1.0], [[0.0], [0.0]])
            array([[0.1, 1. ],
                   [0.2, 1. ]])
        """
        parts = parts_from_arrays(A, B, C, lift, N, jacobian, state_names, coordinates)
        if action_bounds is not None:
            action_bounds = bounds_array("action_bounds", action_bounds, parts["B"].shape[1])
        return cls(**parts, dt=dt, action_bounds=action_bounds)

    @classmethod
    @checked
    def from_control(
        cls, system: Any, lift: Lift | None = None, *, jacobian: Lift | None = None
    ) -> LiftedModel:
        """Make a model of a discrete-time `control.StateSpace`; see `from_arrays`.

        The states are the system's outputs. `lift` leads from them to the system's state; without
        it the output matrix must be invertible.
        """
        return cls.from_arrays(**arrays_of_system(system), lift=lift, jacobian=jacobian)

    def to_control(self) -> Any:
        """Return the linear roll-out as a `control.StateSpace`; see `interop.to_control`."""
        return interop.to_control(self)

    @property
    def n_lifted(self) -> int:
        """Number of lifted states n."""
        return len(self.A)

    @cached_property
    def eigenvalues(self) -> NDArray[np.complex128]:
        """Eigenvalues of A, by falling modulus, shape (n,)."""
        values = np.linalg.eigvals(self.A).astype(np.complex128)
        return values[np.argsort(-np.abs(values), kind="stable")]

    @checked
    def report(self, data: Trajectory | Sequence[Trajectory], horizon: int = 50) -> ModelReport:
        """Say how good this model is on data it was not fitted on; see `diagnostics.report`."""
        from koopman_control.identification.analysis.diagnostics import report

        return report(self, data, horizon)
