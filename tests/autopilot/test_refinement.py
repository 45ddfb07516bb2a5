"""The convex program about a plan."""

from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np

from koopman_control.autopilot.refinement import Refinement, expanded
from koopman_control.autopilot.search import Effort, PlanSearch
from koopman_control.autopilot.surface import fitted_surface
from koopman_control.common.arrays import Array
from koopman_control.mpc.solvers import make_solver
from tests.autopilot.plants import BOX, pendulum, some_surface, swing_up

MODEL, X0 = pendulum(), np.array([0.6, -0.5])
GOAL = replace(swing_up(), discount=0.95, value=some_surface(3, 1, 2))
PLAN = 0.3 * np.sin(np.arange(15.0))[:, None]


def refinement() -> Refinement:
    return Refinement(MODEL, GOAL, PlanSearch([MODEL], GOAL, BOX, Effort(15)), BOX)


def worth(plan: Array) -> float:
    X = MODEL.rolled_out(X0, plan[None], "relifted")[0]
    embed, weight = MODEL.signals.embedding, 0.95 ** np.arange(len(plan))
    before = np.concatenate([X0[None], X[:-1]])
    paid = GOAL.reward(np.hstack([embed(before), plan]))[:, 0]
    assert GOAL.value is not None
    return float(weight @ paid + 0.95 ** len(plan) * GOAL.value(embed(X[-1:]))[0, 0])


def test_its_slope_is_that_of_what_the_plan_is_worth() -> None:
    program, h = refinement().program(X0, PLAN), 1e-5
    steps = h * np.eye(15)[:, :, None]
    slope = [(worth(PLAN + e) - worth(PLAN - e)) / (2.0 * h) for e in steps]
    np.testing.assert_allclose(-program.f, slope, rtol=1e-5, atol=1e-6)


def test_so_it_is_where_a_reward_depends_on_the_states_before_and_after() -> None:
    after, before = some_surface(4, 1, 5), some_surface(3, 1, 6).of_more(4)
    goal = replace(swing_up(), reward=after.beside(before), after=True, discount=0.95)
    search, embed = PlanSearch([MODEL], goal, BOX, Effort(15)), MODEL.signals.embedding

    def earned(plan: Array) -> float:
        X = MODEL.rolled_out(X0, plan[None], "relifted")[0]
        seen = np.concatenate([X0[None], X])
        paid = after(np.hstack([embed(X), plan]))[:, 0]
        paid += before(np.hstack([embed(seen[:-1]), plan]))[:, 0]
        return float(0.95 ** np.arange(len(plan)) @ paid)

    program, h = Refinement(MODEL, goal, search, BOX).program(X0, PLAN), 1e-5
    steps = h * np.eye(15)[:, :, None]
    slope = [(earned(PLAN + e) - earned(PLAN - e)) / (2.0 * h) for e in steps]
    np.testing.assert_allclose(-program.f, slope, rtol=1e-5, atol=1e-5)
    first = earned(PLAN) - float(search.worth(X0, PLAN[None])[0])
    other = earned(-PLAN) - float(search.worth(X0, -PLAN[None])[0])
    np.testing.assert_allclose(first, other, rtol=1e-3, atol=1e-3)  # what X0 is worth, in all plans


def test_it_is_convex_and_its_solution_that_of_cvxpy() -> None:
    program = refinement().program(X0, PLAN)
    assert np.linalg.eigvalsh(program.H).min() > 0.0
    v: Any = cp.Variable(15)
    through: Any = cp
    cost = 0.5 * through.quad_form(v, through.psd_wrap(program.H)) + program.f @ v
    bounds = [program.lower <= v, v <= program.upper]
    through.Problem(cp.Minimize(cost), bounds).solve(solver="CLARABEL")
    found = make_solver("auto").solve(program, True).v
    assert found is not None and v.value is not None
    np.testing.assert_allclose(program.cost(found), program.cost(v.value), rtol=1e-5)


def test_a_plan_only_gets_better_and_stays_in_the_box() -> None:
    improve, before = refinement(), worth(PLAN)
    better, value = improve.improved(X0, PLAN, before)
    assert value > before
    np.testing.assert_allclose(value, worth(better), rtol=1e-3)
    assert np.abs(better).max() <= 2.0


def test_a_plan_that_the_model_loses_stays_as_it_is() -> None:
    lost = np.full((3, 2), np.nan)
    with np.errstate(all="ignore"):
        assert not np.isfinite(expanded(GOAL.reward, MODEL, lost, PLAN[:3]).curvature).any()
        better, value = refinement().improved(np.array([np.nan, 0.0]), PLAN, -1.0)
    assert value == -1.0
    np.testing.assert_array_equal(better, PLAN)


def test_a_concave_quadratic_of_states_and_inputs_is_taken_as_it_is() -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(100, 4))
    Z[:, 1:3] /= np.linalg.norm(Z[:, 1:3], axis=1)[:, None]  # a cosine and a sine
    y = -(Z[:, :1] ** 2) - 0.1 * Z[:, 3:] ** 2
    surface = fitted_surface(Z, y, [None])
    X, U = np.array([[0.4, 1.5]]), np.array([[0.7]])
    paid = expanded(surface, MODEL, X, U)
    np.testing.assert_allclose(paid.gradient, [[0.0, -3.0, -0.14]], atol=1e-6)
    np.testing.assert_allclose(paid.curvature[0], np.diag([0.0, 2.0, 0.2]), atol=1e-6)
