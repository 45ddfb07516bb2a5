"""The benchmark's problem as other packages solve it, each a function of (z, input before, r)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import osqp
import scipy.sparse as sp
from cvxpy.atoms.affine.reshape import reshape
from cvxpy.atoms.affine.vec import vec
from cvxpy.atoms.affine.vstack import vstack
from cvxpy.atoms.sum_squares import sum_squares

from examples.benchmarks.mpc_subjects import LiftedPlant
from koopman_control.common.arrays import Array
from koopman_control.identification.rollouts import linear_response

Solve = Callable[[Array, Array, Array], Array]


def condensed_cvxpy(plant: LiftedPlant) -> Solve:
    """CVXPY itself at every step, on the problem in inputs only."""
    statement = Statement(plant)

    def solve(z: Array, before: Array, target: Array) -> Array:
        statement.at(z, before, target)
        return statement.solved(solver="OSQP", warm_start=True)

    return solve


def cvxpy_clarabel(plant: LiftedPlant) -> Solve:
    """The same with the interior-point solver that comes with CVXPY."""
    statement = Statement(plant)

    def solve(z: Array, before: Array, target: Array) -> Array:
        statement.at(z, before, target)
        return statement.solved(solver="CLARABEL")

    return solve


def direct_osqp(plant: LiftedPlant) -> Solve:
    """OSQP on the condensed program with slacks, set up once, vectors updated."""
    N, m, p = plant.horizon, plant.m, plant.p
    Phi, Gamma = linear_response(plant.A, plant.B, np.eye(plant.n + 1)[1 : 1 + p], N)
    D = np.eye(N * m) - np.eye(N * m, k=-m)
    H = 2.0 * (Gamma.T @ Gamma + 0.01 * np.eye(N * m) + 0.1 * D.T @ D)
    eye, none = sp.identity(N * p), sp.csc_matrix((N * m, N * p))
    A = sp.vstack(
        [
            sp.hstack([sp.identity(N * m), none]),
            sp.hstack([sp.csc_matrix(D), none]),
            sp.hstack([sp.csc_matrix(Gamma), -eye]),
            sp.hstack([sp.csc_matrix(Gamma), eye]),
            sp.hstack([none.T, eye]),
        ],
        format="csc",
    )
    P = sp.block_diag([sp.triu(H), 10.0 * eye], format="csc")
    bound, infinite = np.tile(plant.bound, N), np.full(N * p, np.inf)

    def vectors(z: Array, before: Array, target: Array) -> tuple[Array, Array, Array]:
        free, first = Phi @ z, np.append(before, np.zeros((N - 1) * m))
        q = np.append(
            2.0 * Gamma.T @ (free - target.ravel()) - 0.2 * D.T @ first, np.full(N * p, 10.0)
        )
        limit = np.full(N * m, 0.3)
        lower = [-np.ones(N * m), first - limit, -infinite, -bound - free, 0.0 * bound]
        upper = [np.ones(N * m), first + limit, bound - free, infinite, infinite]
        return q, np.concatenate(lower), np.concatenate(upper)

    solver = osqp.OSQP()
    q, lower, upper = vectors(plant.z, np.zeros(m), plant.reference(plant.y))
    settings: dict[str, Any] = {"eps_abs": 1e-5, "eps_rel": 1e-5, "max_iter": 10000}
    solver.setup(P, q, A, lower, upper, verbose=False, **settings)

    def solve(z: Array, before: Array, target: Array) -> Array:
        q, lower, upper = vectors(z, before, target)
        solver.update(q=q, l=lower, u=upper)
        return np.array(solver.solve(raise_error=False).x[:m], dtype=np.float64)

    return solve


class Statement:
    """The problem in CVXPY, condensed: outputs are free response plus response to the inputs."""

    def __init__(self, plant: LiftedPlant) -> None:
        N, m, p = plant.horizon, plant.m, plant.p
        self._Phi, Gamma = linear_response(plant.A, plant.B, np.eye(plant.n + 1)[1 : 1 + p], N)
        self.u, slack = cp.Variable((N, m)), cp.Variable((N, p), nonneg=True)
        self._free, self._target = cp.Parameter((N, p)), cp.Parameter((N, p))
        self._before = cp.Parameter((1, m))
        response = reshape(Gamma @ vec(self.u, order="C"), (N, p), order="C")
        y, rates = self._free + response, self.u - vstack([self._before, self.u[:-1]])
        cost = sum_squares(y - self._target) + 0.01 * sum_squares(self.u)
        cost += 0.1 * sum_squares(rates) + 10.0 * slack.sum() + 5.0 * sum_squares(slack)
        bound = plant.bound[None]
        limits = [self.u <= 1.0, self.u >= -1.0, rates <= 0.3, rates >= -0.3]
        soft = [y <= bound + slack, y >= -bound - slack]
        self.problem = cp.Problem(cp.Minimize(cost), limits + soft)

    def at(self, z: Array, before: Array, target: Array) -> None:
        """Fill in a step."""
        self._free.value = (self._Phi @ z).reshape(target.shape)
        self._target.value, self._before.value = target, before[None]

    def solved(self, **settings: Any) -> Array:
        """Solve; return the first input."""
        self.problem.solve(**settings)  # type: ignore[no-untyped-call]
        u: Array = np.asarray(self.u.value, dtype=np.float64)
        return np.asarray(u[0])


PEERS: dict[str, Callable[[LiftedPlant], Solve]] = {
    "CVXPY, condensed, OSQP": condensed_cvxpy,
    "CVXPY, condensed, Clarabel": cvxpy_clarabel,
    "OSQP, condensed, direct": direct_osqp,
}
