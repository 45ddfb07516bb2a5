"""Problems whose compiled form keeps variables beside inputs and outputs."""

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import pytest
from cvxpy.atoms.elementwise.abs import abs as absolute
from cvxpy.atoms.elementwise.huber import huber
from cvxpy.atoms.elementwise.maximum import maximum
from cvxpy.atoms.max import max as largest
from cvxpy.atoms.norm1 import norm1
from cvxpy.atoms.sum_squares import sum_squares

from koopman_control.common.arrays import Array
from koopman_control.mpc import compile_qp
from koopman_control.mpc.planning.condense import Condenser, Merit
from koopman_control.mpc.solvers import DaqpSolver

N, P, M = 5, 2, 2


@dataclass(frozen=True)
class Statement:
    problem: cp.Problem
    u: cp.Variable
    y: cp.Variable
    target: cp.Parameter

    def condenser(self) -> Condenser:
        return Condenser(compile_qp(self.problem, [self.target], [self.u, self.y]))

    def solved(self, extra: list[cp.Constraint]) -> float:
        problem = cp.Problem(self.problem.objective, [*self.problem.constraints, *extra])
        tight = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
        return float(problem.solve(solver="CLARABEL", **tight))  # type: ignore[no-untyped-call]


def statement(kind: str) -> Statement:
    u, y = cp.Variable((N, M), name="u"), cp.Variable((N, P), name="y")
    target = cp.Parameter((N, P), name="target")
    cost = sum_squares(y - target) + 0.1 * sum_squares(u)
    constraints = [u <= 1.0, u >= -1.0]
    if kind == "absolute outputs":
        cost += 0.7 * norm1(y[:, 0])
    elif kind == "largest input":
        cost += 2.0 * largest(absolute(u))
    elif kind == "huber":
        cost += huber(y[:, 1] - 0.2, 1).sum()
    elif kind == "budget":
        constraints.append(norm1(u) <= 1.5)
    elif kind == "priced excess":
        cost += 3.0 * maximum(y[:, 0] - 0.1, 0.4 * u[:, 0], 0.0).sum()
    return Statement(cp.Problem(cp.Minimize(cost), constraints), u, y, target)


KINDS = ["absolute outputs", "largest input", "huber", "budget", "priced excess"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_condensed_program_has_the_solution_of_the_statement(kind: str) -> None:
    stated, rng = statement(kind), np.random.default_rng(0)
    condenser, solver = stated.condenser(), DaqpSolver()
    assert len(condenser.P_vv) > N * M
    for _ in range(4):
        stated.target.value = rng.normal(size=(N, P))
        free, Gamma = rng.normal(size=N * P), rng.normal(size=(N * P, N * M))
        at = condenser.instance(value_of(stated.target).ravel())
        v = solver.solve(condenser.condense(at, free, Gamma), matrices_changed=True).v
        predicted = free + Gamma @ stated.u.flatten(order="C")
        cost = stated.solved([stated.y.flatten(order="C") == predicted])
        assert v is not None
        u = v[: N * M]
        np.testing.assert_allclose(u, value_of(stated.u).ravel(), atol=1e-6)
        assert priced(condenser, stated, u, free + Gamma @ u) == pytest.approx(cost, rel=1e-7)
        given = Merit(condenser).of(at, v[None], (free + Gamma @ u)[None])[0]
        assert given == pytest.approx(cost, rel=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_merit_of_a_plan_is_the_best_cost_with_that_plan_held(kind: str) -> None:
    stated, rng = statement(kind), np.random.default_rng(1)
    condenser = stated.condenser()
    for _ in range(3):
        stated.target.value = rng.normal(size=(N, P))
        u, y = rng.uniform(-0.1, 0.1, N * M), rng.normal(size=N * P)
        held = [stated.u == u.reshape(N, M), stated.y == y.reshape(N, P)]
        assert priced(condenser, stated, u, y) == pytest.approx(stated.solved(held), rel=1e-7)


def value_of(leaf: cp.Variable | cp.Parameter) -> Array:
    return np.asarray(leaf.value, dtype=np.float64)


def priced(condenser: Condenser, stated: Statement, u: Array, y: Array) -> float:
    at = condenser.instance(value_of(stated.target).ravel())
    return float(Merit(condenser)(at, u[None], y[None])[0])


def test_a_plan_whose_prediction_exploded_is_worth_nothing() -> None:
    stated = statement("huber")
    condenser = stated.condenser()
    y = np.full((1, N * P), np.inf)
    with np.errstate(all="ignore"):
        price = Merit(condenser)(condenser.instance(np.zeros(N * P)), np.zeros((1, N * M)), y)
    assert not np.isfinite(price).any()
