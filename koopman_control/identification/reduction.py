"""Fewer lifted states for the same linear roll-out: balanced truncation over a finite horizon.

What a planner uses of a model is the map from the lifted initial state and the inputs to the
states over its horizon. Balanced truncation keeps the lifted directions that are both reached (from
initial states as seen in data, and inputs) and seen in the outputs; here in the snapshot form
(balanced proper orthogonal decomposition, Rowley 2005, doi 10.1142/S0218127405012429) with factors
of the finite-horizon Gramians, so that eigenvalues on or outside the unit circle do no harm. The
constant and the angles, exact by construction, are kept as they are.

The error is bounded by computing the reduced model's response over the horizon beside the full one:
exact for every input sequence in the box and every initial state given, and no asymptotic estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.identification.errors import state_scale
from koopman_control.identification.least_squares import triangular
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.structure import core_of, typical_states
from koopman_control.trajectories import Trajectory

MAX_STATES = 2000  # initial states that Gramian and bound are computed from


@dataclass(frozen=True)
class Reduction:
    """A reduced model and what it costs.

    Args:
        model: The reduced model; its `summary` holds "error_bound" and "order_before" too.
        bound: Largest difference of the linear roll-outs of both models 1 ... H steps ahead, over
            all input sequences in the box and the initial states used, in standard deviations of
            the states (radians for angles); shape (H, d).
        singular_values: Hankel singular values of the core, descending; those beyond the kept ones
            are what was left out.
        order_before: Number of lifted states before.
    """

    model: LiftedModel
    bound: Array
    singular_values: Array
    order_before: int

    def __str__(self) -> str:
        """Say in one sentence what was gained and what it costs at most."""
        worst = self.bound.max(axis=0)
        each = ", ".join(
            f"{name} {value:.2g}"
            for name, value in zip(_names(self.model), worst.tolist(), strict=True)
        )
        return (
            f"{self.order_before} -> {self.model.n_lifted} lifted states; over {len(self.bound)} "
            f"steps the linear roll-out changes by at most (in standard deviations) {each}"
        )


@checked
def reduced(
    model: LiftedModel,
    order: int,
    data: Trajectory | Sequence[Trajectory] | None = None,
    horizon: int = 50,
) -> Reduction:
    """Reduce a linear model to fewer lifted states.

    Args:
        model: A model with z+ = A z + B u.
        order: Number of lifted states to keep, with the constant and the angles; fewer are kept if
            the rest does not matter beyond rounding.
        data: Trajectories to take initial states and the spread of the inputs from. None draws
            states by the centre and scale of the fit, and inputs over the action bounds (where
            there are none, as far as some state moves by its spread).
        horizon: Number of steps H that the roll-out should be right for.

    Returns:
        The reduced model and the bound on its error. It can be saved, predicts with all roll-outs
        a linear model knows, and serves `KoopmanMPC` like any other.

    Raises:
        ValueError: If the model is bilinear or reduced already, or the order is out of range.

    Example:
        >>> small = reduced(model, 50, data)  # doctest: +SKIP
        >>> print(small)  # doctest: +SKIP
        503 -> 50 lifted states; over 50 steps the linear roll-out changes by at most ...
    """
    core = core_of(model)
    angles = model.n_lifted - core.stop  # outside of the core
    kept = model.n_lifted - (core.stop - core.start)
    _check(model, order, kept)
    positive_int("horizon", horizon)
    X, U_scale, U_box, scale = _operation(model, data)
    Z0 = model.lift(X)
    reach = _reached(model, Z0, U_scale, horizon)[core]
    seen = _observed(model, horizon, scale)[:, core]
    U, s, Vt = scipy.linalg.svd(seen @ reach, full_matrices=False)
    r = min(order - kept, int(np.sum(s > s[0] * np.finfo(float).eps * len(s))) if len(s) else 0)
    root = np.sqrt(s[:r])
    onto, back = (U[:, :r] / root).T @ seen, (reach @ Vt[:r].T) / root
    T = scipy.linalg.block_diag(np.eye(core.start), onto, np.eye(angles))
    S = scipy.linalg.block_diag(np.eye(core.start), back, np.eye(angles))
    A, B, C = T @ model.A @ S, T @ model.B, model.C @ S
    small = replace(model, A=_exact(A, core.start, angles), B=B, C=C, reduction=T)
    bound = _bound(model, small, Z0, Z0 @ T.T, U_box, horizon) / scale
    facts = {"order_before": model.n_lifted, "error_bound": float(bound.max())}
    small = replace(small, summary=dict(model.summary) | facts, error_quantiles={})
    return Reduction(small, bound, s, model.n_lifted)


def _check(model: LiftedModel, order: int, kept: int) -> None:
    if model.N is not None:
        raise ValueError(
            "model is bilinear; only the linear roll-out can be reduced: fit it with "
            'coupling="linear"'
        )
    model.require_plain_inputs("cannot be reduced")
    if model.reduction is not None:
        raise ValueError("model is reduced already; reduce the one it was made from")
    positive_int("order", order)
    if not kept < order <= model.n_lifted:
        raise ValueError(
            f"order is {order}; expected more than {kept} (the constant and the angles stay) and "
            f"at most {model.n_lifted}, the number of lifted states"
        )


def _exact(A: Array, n_constant: int, n_angles: int) -> Array:
    """Restore the identities that rounding may have touched."""
    identity = np.eye(len(A))
    A[:, len(A) - n_angles :] = identity[:, len(A) - n_angles :]
    A[:n_constant] = identity[:n_constant]
    return A


def _operation(
    model: LiftedModel, data: Trajectory | Sequence[Trajectory] | None
) -> tuple[Array, Array, Array, Array]:
    """Return initial states (S, d), size (m,) and range (2, m) of inputs, and scale (d,)."""
    box = model.action_bounds
    if data is None:
        X = typical_states(model)
        usual = model.usual_inputs
        U_box = np.stack([-usual, usual])
        if box is not None:
            U_box = np.where(np.isfinite(box).all(axis=0), box, U_box)
        scale = np.where(model.coordinates.is_angle, 1.0, np.maximum(X.std(axis=0), 1e-300))
        return X, np.abs(U_box).max(axis=0) / np.sqrt(3.0), U_box, scale
    runs = model.signals.runs(data)
    X, U = np.concatenate([run.X for run in runs]), np.concatenate([run.U for run in runs])
    if len(X) > MAX_STATES:
        X = X[np.linspace(0, len(X) - 1, MAX_STATES).astype(int)]
    U_box = np.stack([U.min(axis=0), U.max(axis=0)])
    if box is not None:  # where it is known, the planner may use all of it
        U_box = np.where(np.isfinite(box), box, U_box)
    return X, np.sqrt(np.mean(U**2, axis=0)), U_box, state_scale(runs, model.coordinates)


def _reached(model: LiftedModel, Z0: Array, U_scale: Array, horizon: int) -> Array:
    """Factor (n, r) of the Gramian of lifted states reached within the horizon, by doubling."""
    start = triangular(Z0 / np.sqrt(len(Z0))).T
    factor, power, steps = np.hstack([start, model.B * U_scale]), model.A, 1
    with np.errstate(all="ignore"):
        while steps < horizon:
            both = np.hstack([factor, power @ factor])
            if not np.isfinite(both).all() or np.abs(both).max() > 1e8 * np.abs(start).max():
                break  # a model that explodes is balanced over the steps before
            factor = triangular(both.T).T
            power, steps = power @ power, 2 * steps
    return factor


def _observed(model: LiftedModel, horizon: int, scale: Array) -> Array:
    """Stack C A^k / scale for k = 0 ... horizon - 1, shape (H d, n)."""
    rows = [model.C / scale[:, None]]
    with np.errstate(all="ignore"):
        while len(rows) < horizon:
            following = rows[-1] @ model.A
            if not np.isfinite(following).all() or np.abs(following).max() > 1e8:
                break
            rows.append(following)
    return np.concatenate(rows)


def _bound(
    full: LiftedModel, small: LiftedModel, Z0: Array, Z0_small: Array, U_box: Array, horizon: int
) -> Array:
    """Bound |difference| of both roll-outs over a box of inputs and given starts, shape (H, d)."""
    bound = np.empty((horizon, full.n_states))
    middle, half = U_box.mean(axis=0), 0.5 * np.ptp(U_box, axis=0)
    forced_full, forced = full.B @ middle, small.B @ middle
    impulse_full, impulse = full.B, small.B
    from_inputs = np.zeros(full.n_states)
    Z, Z_small = Z0, Z0_small
    with np.errstate(all="ignore"):
        for k in range(horizon):
            Z, Z_small = Z @ full.A.T + forced_full, Z_small @ small.A.T + forced
            difference = np.abs(Z @ full.C.T - Z_small @ small.C.T).max(axis=0)
            from_inputs = from_inputs + np.abs(full.C @ impulse_full - small.C @ impulse) @ half
            impulse_full, impulse = full.A @ impulse_full, small.A @ impulse
            bound[k] = difference + from_inputs
    return np.where(np.isfinite(bound), bound, np.inf)


def _names(model: LiftedModel) -> Sequence[str]:
    return model.state_names or [f"x{i}" for i in range(model.n_states)]
