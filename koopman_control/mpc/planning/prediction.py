"""What plans lead to: predicted outputs and their sensitivities, for one model or several.

Linear roll-outs become matrices, prestabilised where an unstable model needs it; the others are
rolled out with arrays, or with compiled loops.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from koopman_control.common.arrays import Array, Index, product
from koopman_control.identification import (
    Feedback,
    LiftedModel,
    Rollout,
    compiled_roll_out,
    linear_response,
)
from koopman_control.mpc.compile.program import AffineMap, ParametricQP
from koopman_control.mpc.inputs import columns_of
from koopman_control.mpc.state import Start
from koopman_control.mpc.terminal import Regulator, finished_by_feedback


class Rolling:
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
        if self._fast is None or start.forecast is not None:
            return finished_by_feedback(self._model, start, plans, heads, regulator)
        r = regulator
        feedback = Feedback(r.target, r.u, r.K, r.box, r.L, r.before)
        return plans, start.outputs(self._fast.finished(start.x, plans, heads, feedback))


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
        self._rollings = [Rolling(model, rollout) for model in models]
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

    def lifted(self, start: Start) -> Array:
        """Lift what predictions start from."""
        if len(self.models) == 1:
            return start.lifted(self.first)
        pairs = zip(start.each(len(self.models)), self.models, strict=True)
        return np.concatenate([own.lifted(model) for own, model in pairs])

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
        return _side_by_side([rolling.predicted(own, U) for rolling, own in self._each(start)])

    def sensitivities(self, start: Start, Y: Array, U: Array) -> Array:
        """Differentiate predicted outputs Y (S, N, p) to U; returns shape (S, N, p, N c)."""
        pairs = zip(np.split(Y, len(self.models), axis=2), self._each(start), strict=True)
        parts = [rolling.sensitivities(own, part, U) for part, (rolling, own) in pairs]
        return _side_by_side(parts, axis=2)

    def finished(
        self, start: Start, plans: Array, heads: Index, regulator: Regulator
    ) -> tuple[Array, Array]:
        """Let the regulator take plans (S, N, c) over after heads (S,) steps of the first model.

        Returns:
            The plans, changed in place, and the outputs (S, N, p) they lead through.
        """
        plans, Y = self._rollings[0].finished(start, plans, heads, regulator)
        others = [rolling.predicted(own, plans) for rolling, own in self._each(start)[1:]]
        return plans, _side_by_side([Y, *others])

    def _each(self, start: Start) -> list[tuple[Rolling, Start]]:
        return list(zip(self._rollings, start.each(len(self.models)), strict=True))


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
    scenarios: Scenarios,
    horizon: int,
    controlled: Index,
    free: bool,
    costly: bool,
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
