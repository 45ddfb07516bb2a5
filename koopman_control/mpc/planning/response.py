"""The linear roll-out as matrices, prestabilised where an unstable model needs it.

Over a long horizon, outputs of an unstable model outgrow what a program in the inputs resolves.
There, the program is stated in v instead, with u = v - K z, under which they stay bounded. The
inputs are then outputs like any other, so their bounds become rows (Rossiter, Kouvaritakis & Rice,
Automatica 34, 1998).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from koopman_control.common.arrays import Array, Index, product
from koopman_control.identification.rollouts import linear_response
from koopman_control.mpc.compilation.maps import AffineMap
from koopman_control.mpc.compilation.parametric import ParametricQP
from koopman_control.mpc.inputs import columns_of
from koopman_control.mpc.planning.scenarios import Scenarios
from koopman_control.mpc.start import Start

RELIABLE_GROWTH = 1e3  # of predictions; up to there, plans are exact to 1e-7
RELIABLE_WHERE_FREE = 10.0  # the same for inputs that cost nothing, which leave the cost flat
LARGEST_GROWTH = 1e5  # at 1e6 the program's condition number is 1e12
WORST_CONDITION = 1e12  # of the effort that growing modes take; beyond, one is out of reach


@dataclass(frozen=True)
class Response:
    """What the linear roll-out leads to: rows = Phi z + Gamma v + shift.

    The first rows are the outputs, (N p,); behind them, where the model is prestabilised, lie the
    inputs, (N c,). Elsewhere v are the inputs.

    Args:
        Phi: Shape (r, n).
        Gamma: Shape (r, N c).
        by_known: Response to all inputs of the model where they are known, shape (r, N m).
        n_outputs: Number of rows N p that are outputs.
        plain: Where the model is prestabilised, the response without that.
    """

    Phi: Array
    Gamma: Array
    by_known: Array
    n_outputs: int
    plain: Response | None = None

    @property
    def prestabilised(self) -> bool:
        """Whether v are no inputs."""
        return self.plain is not None

    def shift(self, start: Start) -> Array | None:
        """What a start adds to the rows beside its lifted state, shape (r,); None for nothing."""
        shift = start.moved(self.by_known[: self.n_outputs])
        if shift is None or not self.prestabilised:
            return shift
        inputs = self.by_known[self.n_outputs :]
        known = np.zeros(inputs.shape[1]) if start.forecast is None else start.forecast.others
        return np.append(shift, inputs @ known.ravel())

    def inputs(self, z: Array, shift: Array | None, v: Array) -> Array:
        """Return the inputs (..., N c) that values v (..., N c) stand for."""
        return self._rows(slice(self.n_outputs, None), z, shift, v) if self.prestabilised else v

    def outputs(self, z: Array, shift: Array | None, v: Array) -> Array:
        """Return the outputs (..., N p) that values v (..., N c) lead to."""
        return self._rows(slice(self.n_outputs), z, shift, v)

    def _rows(self, part: slice, z: Array, shift: Array | None, v: Array) -> Array:
        rows = product(z, self.Phi[part].T) + product(v, self.Gamma[part].T)
        if shift is not None:
            rows += shift[..., part]
        return np.asarray(rows)


def response_of(
    scenarios: Scenarios, horizon: int, controlled: Index, free: bool, costly: bool
) -> Response:
    """Compute the response of a linear roll-out, prestabilised where that is needed and possible.

    Args:
        scenarios: What predicts.
        horizon: Number of steps N.
        controlled: The model's inputs that are planned, shape (c,).
        free: Whether the input of each step is free; only then can feedback be part of it.
        costly: Whether all inputs or their changes cost something, in every direction.

    Raises:
        UserWarning: If predictions outgrow what the program can resolve all the same.
    """
    Phi, by_known = scenarios.linear_response(horizon)
    plain = Response(Phi, columns_of(by_known, controlled, scenarios.n_inputs), by_known, len(Phi))
    growth = _growth(plain, horizon)
    reliable = RELIABLE_GROWTH if costly else RELIABLE_WHERE_FREE
    if growth.max() <= reliable:
        return plain
    other = _prestabilised(scenarios, horizon, controlled) if free else None
    if other is not None and _growth(other, horizon).max() <= reliable:
        return replace(other, plain=plain)
    if growth.max() > LARGEST_GROWTH:
        _warn_of_growth(growth, "no feedback prevents it" if free else "inputs are parametrised")
    return plain


def with_feedback(qp: ParametricQP) -> ParametricQP:
    """State a program in (u, y) as one in v, without cost or rows, with outputs (y, u)."""
    u, y = qp.columns["u"], qp.columns["y"]
    n, k, t = len(qp.P), u.size, qp.q.matrix.shape[1]
    nothing = AffineMap(np.zeros(k), sp.csr_array((k, t)))
    columns = {"u": np.arange(n, n + k).reshape(u.shape), "y": np.append(y.ravel(), u.ravel())}
    return replace(
        qp,
        P=np.pad(qp.P, (0, k)),
        q=qp.q.stacked(nothing),
        A=np.pad(qp.A, [(0, 0), (0, k)]),
        columns=qp.columns | columns,
    )


def _warn_of_growth(growth: Array, why: str) -> None:
    steps = int(np.argmax(growth > LARGEST_GROWTH))
    warnings.warn(
        f"predictions grow by a factor of {growth.max():.0e} over the horizon of {len(growth)} "
        f"steps, since the model is unstable and {why}; plans will be inexact, or wrong: take a "
        f"horizon of at most {steps}, with terminal='riccati'",
        stacklevel=2,
    )


def _growth(response: Response, horizon: int) -> Array:
    """How much the response to the first input outgrows its first steps, step by step (N,)."""
    outputs = response.Gamma[: response.n_outputs].reshape(horizon, -1, response.Gamma.shape[1])
    c = response.Gamma.shape[1] // horizon
    size = np.abs(outputs[:, :, :c]).max(axis=(1, 2))
    early = size[: outputs.shape[1] + 1].max()
    return np.asarray(size / early if early > 0.0 else np.zeros_like(size))


def _prestabilised(scenarios: Scenarios, horizon: int, controlled: Index) -> Response | None:
    """Respond to v in u = v - K z; None where no feedback holds all models."""
    models = scenarios.models
    A = scipy.linalg.block_diag(*(model.A for model in models))
    B = np.concatenate([model.B for model in models])
    C = scipy.linalg.block_diag(*(model.C for model in models))
    K = stabilising_gain(A, B[:, controlled], horizon)
    if K is None:
        return None
    p, c, n_outputs = len(C), len(controlled), len(C) * horizon
    Phi, by_known = linear_response(A - B[:, controlled] @ K, B, np.vstack([C, -K]), horizon)
    Phi, by_known = (rows.reshape(horizon, p + c, -1) for rows in (Phi, by_known))
    # An input comes of the lifted state before it, an output is that after it.
    fed_back = np.concatenate([-K[None], Phi[:-1, p:]]).reshape(horizon * c, -1)
    known = np.concatenate([np.zeros_like(by_known[:1]), by_known[:-1]])[:, p:]
    Phi = np.concatenate([Phi[:, :p].reshape(n_outputs, -1), fed_back])
    by_known = np.concatenate(
        [by_known[:, :p].reshape(n_outputs, -1), known.reshape(horizon * c, -1)]
    )
    Gamma = columns_of(by_known, controlled, scenarios.n_inputs).copy()
    Gamma[n_outputs:] += np.eye(horizon * c)
    return Response(Phi, Gamma, by_known, n_outputs)


def stabilising_gain(A: Array, B: Array, horizon: int) -> Array | None:
    """Return the gain K (m, n) that turns growing modes of A into decaying ones with least effort.

    It is the linear-quadratic regulator without a cost on states: eigenvalues beyond the unit
    circle are mirrored at it, all others stay, whether or not they can be controlled.

    Returns:
        The gain, or None if growing modes cannot be controlled, or there are none.
    """
    bound = math.pow(10.0, 1.0 / horizon)  # modes that grow tenfold at most are left alone

    def grows(real: float, imaginary: float = 0.0) -> bool:
        return math.hypot(real, imaginary) > bound

    T, Z, k = scipy.linalg.schur(A.T, sort=grows)
    if not k:
        return None
    modes, growing = Z[:, :k].T, T[:k, :k].T  # modes A = growing modes
    back = np.linalg.solve(growing, np.eye(k))
    driven = back @ modes @ B
    effort = scipy.linalg.solve_discrete_lyapunov(back, driven @ driven.T)
    if not np.linalg.cond(effort) < WORST_CONDITION:
        return None
    return np.asarray(np.linalg.solve(effort, driven).T @ modes)
