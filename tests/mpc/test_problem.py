"""The compiled tracking problem against the CVXPY statement it comes from."""

from itertools import product

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.mpc import ParametricQP, compile_qp
from koopman_control.mpc.affine import theta_of
from koopman_control.mpc.condense import Condenser
from koopman_control.mpc.merit import Merit
from koopman_control.mpc.problem import TrackingProblem, Weights

N, P, M = 5, 3, 2


def random_weight(rng: np.random.Generator, size: int, rank: int) -> Array:
    root = rng.normal(size=(size, rank))
    return root @ root.T


def weights(rng: np.random.Generator, full: bool, bounded: bool) -> Weights:
    infinite = np.inf * np.array([[-1.0], [1.0]])
    outputs = np.tile(infinite, P)
    if bounded:
        outputs[:, 0], outputs[1, 2] = [-0.5, 0.5], 0.3  # two sides, none, one side
    return Weights(
        Q=random_weight(rng, P, 2) if full else np.diag([1.0, 0.0, 0.1]),
        R=random_weight(rng, M, M) if full else 0.1 * np.eye(M),
        S=random_weight(rng, M, 1) if full else np.zeros((M, M)),
        terminal=random_weight(rng, P, P) if full else np.zeros((P, P)),
        input_bounds=np.tile([[-1.0], [2.0]], M) if bounded else np.tile(infinite, M),
        rate_bounds=np.array([0.5, np.inf]) if bounded else np.full(M, np.inf),
        output_bounds=outputs,
        slack_weight=7.0,
    )


def compiled(stated: TrackingProblem) -> ParametricQP:
    return compile_qp(stated.stated, stated.parameters, (stated.u, stated.y))


def value_of(variable: cp.Variable) -> Array:
    return np.asarray(variable.value, dtype=np.float64)


def set_at_random(stated: TrackingProblem, w: Weights, rng: np.random.Generator) -> Array:
    """Give every leaf a random value, slacks their best; return theta."""
    for leaf in (*stated.parameters, stated.u, stated.y):
        leaf.value = rng.normal(size=leaf.shape)
    for slack in (v for v in stated.stated.variables() if v.name() == "slack"):
        Y = value_of(stated.y)[:, [0, 2]]
        low, high = w.output_bounds[:, [0, 2]]
        slack.value = np.maximum(0.0, np.maximum(Y - high, low - Y))
    return theta_of(stated.parameters)


def cost_of(qp: ParametricQP, theta: Array, U: Array, Y: Array) -> float:
    x = np.empty(len(qp.P))
    x[qp.columns["u"]], x[qp.columns["y"]] = U, Y
    soft = np.isfinite(qp.linear_weight)
    rows = qp.A @ x
    over = np.maximum(0.0, np.maximum(rows - qp.upper(theta), qp.lower(theta) - rows))[soft]
    penalty = over @ qp.linear_weight[soft] + 0.5 * over**2 @ qp.quadratic_weight[soft]
    return float(0.5 * x @ qp.P @ x + qp.q(theta) @ x + qp.constant(theta) + penalty)


@pytest.mark.parametrize(("full", "bounded"), list(product([False, True], repeat=2)))
def test_the_compiled_cost_equals_the_objective_at_random_points(full: bool, bounded: bool) -> None:
    rng = np.random.default_rng(0)
    w = weights(rng, full, bounded)
    stated = TrackingProblem(N, w)
    qp = compiled(stated)
    assert len(qp.P) == N * (P + M)  # no variables but y and u
    for _ in range(10):
        theta = set_at_random(stated, w, rng)
        U, Y = value_of(stated.u), value_of(stated.y)
        wanted = stated.stated.objective.value
        assert cost_of(qp, theta, U, Y) == pytest.approx(wanted, rel=1e-11)


def test_the_merit_equals_the_objective_for_a_whole_batch() -> None:
    rng = np.random.default_rng(1)
    w = weights(rng, full=True, bounded=True)
    stated = TrackingProblem(N, w)
    condenser = Condenser(compiled(stated))
    theta = set_at_random(stated, w, rng)
    parameters = [p.value for p in stated.parameters]
    plans, costs = [], []
    for _ in range(4):
        set_at_random(stated, w, rng)
        for parameter, value in zip(stated.parameters, parameters, strict=True):
            parameter.value = value
        plans.append((value_of(stated.u).ravel(), value_of(stated.y).ravel()))
        costs.append(stated.stated.objective.value)
    U, Y = (np.array(part) for part in zip(*plans, strict=True))
    np.testing.assert_allclose(Merit(condenser)(condenser.instance(theta), U, Y), costs, rtol=1e-11)


@pytest.mark.parametrize("full", [False, True])
def test_the_condensed_cost_differs_from_the_merit_by_a_constant_only(full: bool) -> None:
    rng = np.random.default_rng(2)
    w = weights(rng, full, bounded=True)
    stated = TrackingProblem(N, w)
    condenser = Condenser(compiled(stated))
    at = condenser.instance(set_at_random(stated, w, rng))
    free, Gamma = rng.normal(size=N * P), rng.normal(size=(N * P, N * M))
    qp = condenser.condense(at, free, Gamma)
    U = rng.normal(size=(6, N * M))
    rows = U @ qp.A.T
    n = len(qp.f)
    over = np.maximum(0.0, np.maximum(rows - qp.upper[n:], qp.lower[n:] - rows))
    soft = np.isfinite(qp.linear_weight)
    penalty = over[:, soft] @ qp.linear_weight[soft]
    penalty += 0.5 * over[:, soft] ** 2 @ qp.quadratic_weight[soft]
    condensed = 0.5 * np.einsum("si,ij,sj->s", U, qp.H, U) + U @ qp.f + penalty
    merit = Merit(condenser)(at, U, free + U @ Gamma.T)
    np.testing.assert_allclose(merit - condensed, (merit - condensed)[0], rtol=1e-9)


def test_two_sided_bounds_become_one_row_and_input_bounds_no_row_at_all() -> None:
    w = weights(np.random.default_rng(0), full=False, bounded=True)
    stated = TrackingProblem(N, w)
    condenser = Condenser(compiled(stated))
    zero = np.zeros(N * P + 2 * M)
    qp = condenser.condense(condenser.instance(zero), np.zeros(N * P), np.zeros((N * P, N * M)))
    assert len(qp.A) == N + 2 * N  # rates of one input, two bounded outputs
    np.testing.assert_array_equal(qp.lower[: N * M], -1.0)
    np.testing.assert_array_equal(qp.upper[: N * M], 2.0)
    assert np.isfinite(qp.linear_weight).sum() == 2 * N


def test_a_horizon_of_one_step_works() -> None:
    rng = np.random.default_rng(3)
    w = weights(rng, full=True, bounded=True)
    stated = TrackingProblem(1, w)
    theta = set_at_random(stated, w, rng)
    U, Y, wanted = value_of(stated.u), value_of(stated.y), stated.stated.objective.value
    assert cost_of(compiled(stated), theta, U, Y) == pytest.approx(wanted, rel=1e-11)
