"""Models fitted elsewhere, as lifted models: z+ = A z + B u with any lifting z = g(x).

Our lifted state begins with a constant and the states: [1, x, g(x)]. The foreign matrices move the
g(x) block, and the states follow by the foreign read-out, x+ = C z+. So all roll-outs are those of
the foreign model; the spectrum gains a one (the constant) and d zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, bounds_array, finite_array, real_array
from koopman_control.common.border import checked
from koopman_control.common.pickling import portable
from koopman_control.features import Coordinates, FeatureMap
from koopman_control.identification.model import Lift, LiftedModel
from koopman_control.identification.signals import Signals

STEP = np.finfo(float).eps ** (1.0 / 3.0)  # of central differences


class GivenLift(FeatureMap):
    """A lifting that somebody else fitted.

    Args:
        lift: From states (S, d) to lifted states (S, n).
        derivative: From states (S, d) to derivatives (S, n, d); None differentiates numerically.
    """

    _size: int

    def __init__(self, lift: Lift, derivative: Lift | None = None) -> None:
        self.lift = lift
        self.derivative = derivative

    def __getstate__(self) -> dict[str, Any]:
        """Let a lambda travel to another process, too."""
        own = {name: portable(vars(self)[name]) for name in ("lift", "derivative")}
        return {**super().__getstate__(), **own}

    @classmethod
    def by(cls, lift: MatrixLift | FeatureLift) -> GivenLift:
        """Make one, ready for use, of a lifting that knows its sizes and derivative."""
        made = cls(lift, lift.derivative)
        made._size, made.n_features_in_ = lift.shape
        return made

    @property
    def _n_features_out(self) -> int:
        return self._size

    def _fit(self, X: Array, y: Array | None) -> None:
        self._size = self.values(X[:1]).shape[-1]

    def values(self, X: Array) -> Array:
        """Lift without checks, shape (..., d) to (..., n)."""
        rows = X.reshape(-1, X.shape[-1])
        return np.asarray(self.lift(rows), dtype=np.float64).reshape(*X.shape[:-1], -1)

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., d) to (..., n, d)."""
        if self.derivative is not None:
            rows = X.reshape(-1, X.shape[-1])
            J = np.asarray(self.derivative(rows), dtype=np.float64)
            return J.reshape(*X.shape[:-1], *J.shape[-2:])
        columns = []
        for j in range(X.shape[-1]):
            h = np.zeros(X.shape)
            h[..., j] = STEP * np.maximum(1.0, np.abs(X[..., j]))
            above, below = X + h, X - h
            width = (above - below)[..., [j]]
            columns.append((self.values(above) - self.values(below)) / width)
        return np.stack(columns, axis=-1)


@dataclass(frozen=True)
class MatrixLift:
    """The lifting z = M x of states (S, d)."""

    M: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of lifted states n and of states d."""
        n, d = self.M.shape
        return n, d

    def __call__(self, X: Array) -> Array:
        """Lift, to (S, n)."""
        return X @ self.M.T

    def derivative(self, X: Array) -> Array:
        """Differentiate, to (S, n, d)."""
        return np.broadcast_to(self.M, (len(X), *self.M.shape))


@dataclass(frozen=True)
class FeatureLift:
    """The lifting z = g(x) of states (S, d) by fitted features g."""

    features: FeatureMap

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of lifted states n and of states d."""
        return self.features._n_features_out, int(self.features.n_features_in_)

    def __call__(self, X: Array) -> Array:
        """Lift, to (S, n)."""
        return self.features.values(X)

    def derivative(self, X: Array) -> Array:
        """Differentiate, to (S, n, d)."""
        return self.features.derivatives(X)


def model_from_arrays(
    A: ArrayLike,
    B: ArrayLike,
    C: ArrayLike | None,
    lift: Lift | FeatureMap | None,
    *,
    N: ArrayLike | None,
    jacobian: Lift | None,
    dt: float | None,
    state_names: Sequence[str] | None,
    action_bounds: ArrayLike | None,
    coordinates: Coordinates | None,
) -> LiftedModel:
    """Make a model of matrices fitted elsewhere; see `LiftedModel.from_arrays`."""
    A = finite_array("A", A, ndim=2)
    n = len(A)
    finite_array("A", A, shape=(n, n))
    B = finite_array("B", B, shape=(n, None))
    C = np.eye(n) if C is None else finite_array("C", C, shape=(None, n))
    (d, _), m = C.shape, B.shape[1]
    if lift is None:
        if d != n or not np.linalg.cond(C) < 1e12:
            raise ValueError(
                f"C has shape {C.shape}, so the lifted state cannot be told from the outputs; "
                "give lift, the function from measured states (S, d) to lifted states (S, n)"
            )
        linear = MatrixLift(np.asarray(np.linalg.inv(C)))
        lift, jacobian = linear, linear.derivative
    if isinstance(lift, FeatureMap):
        known = FeatureLift(lift)
        if known.shape[1] != d:
            raise ValueError(f"lift takes {known.shape[1]} states; expected {d}, one per row of C")
        if jacobian is not None:
            raise ValueError(
                "jacobian is given beside features, which have their own; leave it out"
            )
        lift, jacobian = known, known.derivative
    lifted = real_array("the result of lift", lift(np.zeros((2, d))))
    if lifted.shape != (2, n):
        raise ValueError(
            f"lift gave shape {lifted.shape} for 2 states of {d} entries; expected (2, {n}): one "
            "row per state, with as many entries as A has rows"
        )
    features = GivenLift(lift, jacobian)
    features._size, features.n_features_in_ = n, d
    coordinates = Coordinates.of(d) if coordinates is None else coordinates
    if coordinates.dim != d or coordinates.has_angles:
        raise ValueError(
            f"coordinates reads {coordinates.columns} from an observation; expected {d} plain "
            "columns, one per row of C: read an angle as its cosine and sine"
        )
    names = coordinates.names() if state_names is None else tuple(state_names)
    if len(names) != d:
        raise ValueError(f"state_names is {names}; expected {d} names, one per row of C")
    size, couplings = 1 + d + n, None
    if N is not None:
        given = finite_array("N", N, shape=(m, n, n))
        couplings = np.stack([_placed(M, C, size) for M in given])
    if action_bounds is not None:
        action_bounds = bounds_array("action_bounds", action_bounds, m)
    signals = Signals(
        coordinates=coordinates,
        center=np.zeros(d),
        scale=np.ones(d),
        limits=np.tile([[-np.inf], [np.inf]], d),
        saturating=np.zeros(d, dtype=bool),
        action_bounds=action_bounds,
        dt=dt,
        state_names=names,
    )
    whole = _placed(A, C, size)
    whole[0, 0] = 1.0
    return LiftedModel(
        A=whole,
        B=np.vstack([np.zeros((1, m)), C @ B, B]),
        C=np.hstack([np.zeros((d, 1)), np.eye(d), np.zeros((d, n))]),
        N=couplings,
        signals=signals,
        features=features,
        summary={"origin": "from_arrays", "n_features": n},
    )


@checked
def from_control(
    system: Any, lift: Lift | None = None, *, jacobian: Lift | None = None
) -> LiftedModel:
    """Make a model of a discrete-time `control.StateSpace`; see `LiftedModel.from_arrays`.

    The states are the system's outputs. `lift` leads from them to the system's state; without it
    the output matrix must be invertible.

    Args:
        system: A discrete `control.StateSpace`, or anything with A, B, C, D and dt.
        lift: From states (S, d) to the system's states (S, n).
        jacobian: Derivative of lift, (S, d) to (S, n, d); None differentiates numerically.

    Raises:
        TypeError: If the system has no such matrices.
        ValueError: If it is continuous, or has a feed-through.
    """
    if any(not hasattr(system, name) for name in "ABCD"):
        raise TypeError(
            f"system is a {type(system).__name__}; expected a control.StateSpace with A, B, C, D"
        )
    dt = getattr(system, "dt", None)
    if dt is None or dt == 0:
        raise ValueError(
            f"system has dt={dt}, so it is not known to be in discrete time; expected a discrete "
            "one: system.sample(0.05) turns a continuous system into one"
        )
    if np.any(real_array("D", system.D)):
        raise ValueError(
            "system has a feed-through D; expected zero: states do not jump with inputs"
        )
    names = getattr(system, "output_labels", None)
    return LiftedModel.from_arrays(
        np.asarray(system.A),
        np.asarray(system.B),
        np.asarray(system.C),
        lift,
        jacobian=jacobian,
        dt=None if dt is True else float(dt),
        state_names=None if names is None else tuple(names),
    )


def _placed(M: Array, C: Array, n_columns: int) -> Array:
    """Let M move the features, and the states by C M."""
    n = len(M)
    block = np.zeros((n_columns, n_columns))
    block[1:, -n:] = np.vstack([C @ M, M])
    return block
