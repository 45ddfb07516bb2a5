"""The compiled tracking problem against the CVXPY statement it comes from."""

from collections.abc import Callable
from itertools import product

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Cost, KoopmanMPC, ParametricQP, compile_qp
from koopman_control.mpc.planning.condense import Condenser, Merit
from koopman_control.mpc.problem import Parameters, TrackingProblem
from koopman_control.mpc.weights import Weights

N, P, M = 5, 3, 2


def random_weights(rng: np.random.Generator, size: int, rank: int) -> Array:
    """Weights that differ from step to step."""
    root = rng.normal(size=(N, size, rank))
    return np.asarray(root @ root.transpose(0, 2, 1))


def over_horizon(bounds: Array, horizon: int = N) -> Array:
    return np.repeat(bounds[:, None], horizon, axis=1)


def weights(rng: np.random.Generator, full: bool, bounded: bool) -> Weights:
    """Full: all kinds of weights; bounded: a polytope and bounds with two sides, none and one."""
    infinite = np.inf * np.array([[-1.0], [1.0]])
    outputs = over_horizon(np.tile(infinite, P))
    if bounded:
        outputs[:, :, 0], outputs[1, :, 2] = [[-0.5], [0.5]], 0.3
        outputs[1, 1, 2] = 0.1
    k = 2 * bounded
    return Weights(
        Q=random_weights(rng, P, 2) if full else np.stack([np.diag([1.0, 0.0, 0.1])] * N),
        R=random_weights(rng, M, M) if full else np.stack([0.1 * np.eye(M)] * N),
        S=random_weights(rng, M, 1) if full else np.zeros((N, M, M)),
        terminal=random_weights(rng, P, P)[0] if full else np.zeros((P, P)),
        linear_output=rng.normal(size=(N, P)) * full,
        linear_input=rng.normal(size=(N, M)) * full,
        input_bounds=over_horizon(np.tile([[-1.0], [2.0]] if bounded else infinite, M)),
        rate_bounds=np.array([0.5, np.inf]) if bounded else np.full(M, np.inf),
        output_bounds=outputs,
        polytope=(
            rng.normal(size=(k, P)),
            rng.normal(size=(k, M)),
            np.tile([0.3, 0.6], (N, 1))[:, :k],
        ),
        soft=np.ones(P, dtype=np.bool_),
        slack_weight=np.array([[7.0, 1.0, 2.0], [3.0, 1.0, 0.5]]),
    )


def stated_with(w: Weights) -> TrackingProblem:
    return TrackingProblem(w, (), Parameters(), P)


def price_of(w: Weights, U: Array, Y: Array) -> float:
    """What violations of the soft rows cost, written down by hand."""
    low, high = w.output_bounds
    over = np.maximum(0.0, np.maximum(Y - high, low - Y))
    price = (over * w.slack_weight[0] + over**2 * w.slack_weight[1]).sum()
    G_y, G_u, g = w.polytope
    beyond = np.maximum(0.0, Y @ G_y.T + U @ G_u.T - g)
    return float(price + 7.0 * beyond.sum() + 3.0 * (beyond**2).sum())


def cost_without_slack(stated: TrackingProblem) -> float:
    for slack in (v for v in stated.unpredicted.variables() if v.name().startswith("slack")):
        slack.value = np.zeros(slack.shape)
    return float(stated.unpredicted.objective.value)


def compiled(stated: TrackingProblem) -> ParametricQP:
    return compile_qp(stated.unpredicted, stated.parameters, (stated.u, stated.y))


def value_of(variable: cp.Variable) -> Array:
    return np.asarray(variable.value, dtype=np.float64)


def set_at_random(stated: TrackingProblem, rng: np.random.Generator) -> Array:
    """Give every leaf a random value; return theta."""
    for leaf in (*stated.parameters, stated.u, stated.y):
        leaf.value = rng.normal(size=leaf.shape)
    return np.concatenate([np.asarray(p.value).ravel() for p in stated.parameters])


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
    stated = stated_with(w)
    qp = compiled(stated)
    assert len(qp.P) == N * (P + M)  # no variables but y and u
    for _ in range(10):
        theta = set_at_random(stated, rng)
        U, Y = value_of(stated.u), value_of(stated.y)
        wanted = cost_without_slack(stated) + price_of(w, U, Y)
        assert cost_of(qp, theta, U, Y) == pytest.approx(wanted, rel=1e-11)


def test_the_merit_equals_the_objective_for_a_whole_batch() -> None:
    rng = np.random.default_rng(1)
    w = weights(rng, full=True, bounded=True)
    stated = stated_with(w)
    condenser = Condenser(compiled(stated))
    theta = set_at_random(stated, rng)
    parameters = [p.value for p in stated.parameters]
    plans, costs = [], []
    for _ in range(4):
        set_at_random(stated, rng)
        for parameter, value in zip(stated.parameters, parameters, strict=True):
            parameter.value = value
        U, Y = value_of(stated.u), value_of(stated.y)
        plans.append((U.ravel(), Y.ravel()))
        costs.append(cost_without_slack(stated) + price_of(w, U, Y))
    U, Y = (np.array(part) for part in zip(*plans, strict=True))
    np.testing.assert_allclose(Merit(condenser)(condenser.instance(theta), U, Y), costs, rtol=1e-11)


@pytest.mark.parametrize("full", [False, True])
def test_the_condensed_cost_differs_from_the_merit_by_a_constant_only(full: bool) -> None:
    rng = np.random.default_rng(2)
    w = weights(rng, full, bounded=True)
    stated = stated_with(w)
    condenser = Condenser(compiled(stated))
    at = condenser.instance(set_at_random(stated, rng))
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
    stated = stated_with(w)
    condenser = Condenser(compiled(stated))
    zero = np.zeros(N * P + N * M + M)
    qp = condenser.condense(condenser.instance(zero), np.zeros(N * P), np.zeros((N * P, N * M)))
    assert len(qp.A) == N + 2 * N + 2 * N  # rates of one input, two bounded outputs, a polytope
    np.testing.assert_array_equal(qp.lower[: N * M], -1.0)
    np.testing.assert_array_equal(qp.upper[: N * M], 2.0)
    assert np.isfinite(qp.linear_weight).sum() == 4 * N


def test_a_horizon_of_one_step_works(linear_model: Callable[..., LiftedModel]) -> None:
    model = linear_model(np.eye(2), [[0.0], [1.0]], action_bounds=[[-1.0], [1.0]])
    mpc = KoopmanMPC(
        model, 1, [1.0, 2.0], 0.5, output_bounds=(-3.0, 3.0), reference=0.1, cost=Cost(S=0.25)
    )
    # minimise 2 (0.3 + u - 0.1)^2 + 0.5 u^2 + 0.25 u^2
    np.testing.assert_allclose(mpc.act([1.0, 0.3]), [-2.0 * 0.2 / 2.75], rtol=1e-9)
