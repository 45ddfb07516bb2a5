"""Models fitted elsewhere, as lifted models: z+ = A z + B u with any lifting z = g(x).

Our lifted state begins with a constant and the states: [1, x, g(x)]. The foreign matrices move the
g(x) block, and the states follow by the foreign read-out, x+ = C z+. So all roll-outs are those of
the foreign model; the spectrum gains a one (the constant) and d zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array, real_array
from koopman_control.common.pickling import portable
from koopman_control.features.base import FeatureMap
from koopman_control.features.coordinates import Coordinates

Lift = Callable[[Array], ArrayLike]
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

    def __call__(self, X: Array) -> Array:
        """Lift, to (S, n)."""
        return X @ self.M.T

    def derivative(self, X: Array) -> Array:
        """Differentiate, to (S, n, d)."""
        return np.broadcast_to(self.M, (len(X), *self.M.shape))


def parts_from_arrays(
    A: ArrayLike,
    B: ArrayLike,
    C: ArrayLike | None,
    lift: Lift | None,
    N: ArrayLike | None,
    jacobian: Lift | None,
    state_names: Sequence[str] | None,
    coordinates: Coordinates | None,
) -> dict[str, Any]:
    """Arrange foreign matrices as the fields of a `LiftedModel`; see `LiftedModel.from_arrays`."""
    A = finite_array("A", A, ndim=2)
    n = len(A)
    finite_array("A", A, shape=(n, n))
    B = finite_array("B", B, shape=(n, None))
    C = np.eye(n) if C is None else finite_array("C", C, shape=(None, n))
    (d, _), m = C.shape, B.shape[1]
    if lift is None:
        linear = MatrixLift(_inverse_read_out(C))
        lift, jacobian = linear, linear.derivative
    features = GivenLift(lift, jacobian)
    _check_lift(lift, d, n)
    features._size, features.n_features_in_ = n, d
    coordinates = _checked(Coordinates.of(d) if coordinates is None else coordinates, d)
    names = coordinates.names() if state_names is None else tuple(state_names)
    if len(names) != d:
        raise ValueError(f"state_names is {names}; expected {d} names, one per row of C")
    fields: dict[str, Any] = {
        "A": _placed(A, C, n_columns=1 + d + n),
        "B": np.vstack([np.zeros((1, m)), C @ B, B]),
        "C": np.hstack([np.zeros((d, 1)), np.eye(d), np.zeros((d, n))]),
        "N": None,
        "coordinates": coordinates,
        "features": features,
        "center": np.zeros(d),
        "scale": np.ones(d),
        "limits": np.tile([[-np.inf], [np.inf]], d),
        "saturating": np.zeros(d, dtype=bool),
        "state_names": names,
        "summary": {"origin": "from_arrays", "n_features": n},
    }
    fields["A"][0, 0] = 1.0
    if N is not None:
        couplings = finite_array("N", N, shape=(m, n, n))
        fields["N"] = np.stack([_placed(M, C, n_columns=1 + d + n) for M in couplings])
    return fields


def arrays_of_system(system: Any) -> dict[str, Any]:
    """Read A, B, C, dt and names from a discrete `control.StateSpace` (or anything like it)."""
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
    return {
        "A": np.asarray(system.A),
        "B": np.asarray(system.B),
        "C": np.asarray(system.C),
        "dt": None if dt is True else float(dt),
        "state_names": None if names is None else tuple(names),
    }


def _checked(coordinates: Coordinates, d: int) -> Coordinates:
    if coordinates.dim != d or coordinates.has_angles:
        raise ValueError(
            f"coordinates reads {coordinates.columns} from an observation; expected {d} plain "
            "columns, one per row of C: read an angle as its cosine and sine"
        )
    return coordinates


def _placed(M: Array, C: Array, n_columns: int) -> Array:
    """Let M move the features, and the states by C M."""
    n = len(M)
    block = np.zeros((n_columns, n_columns))
    block[1:, -n:] = np.vstack([C @ M, M])
    return block


def _check_lift(lift: Lift, d: int, n: int) -> None:
    lifted = real_array("the result of lift", lift(np.zeros((2, d))))
    if lifted.shape != (2, n):
        raise ValueError(
            f"lift gave shape {lifted.shape} for 2 states of {d} entries; expected (2, {n}): one "
            "row per state, with as many entries as A has rows"
        )


def _inverse_read_out(C: Array) -> Array:
    d, n = C.shape
    if d == n and np.linalg.cond(C) < 1e12:
        return np.asarray(np.linalg.inv(C))
    raise ValueError(
        f"C has shape {C.shape}, so the lifted state cannot be told from the outputs; "
        "give lift, the function from measured states (S, d) to lifted states (S, n)"
    )
