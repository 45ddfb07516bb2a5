"""Plans priced in compiled batches, and found."""

from dataclasses import replace

import numpy as np
import pytest

from koopman_control.autopilot.search import Effort, Objective, PlanSearch
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from tests.autopilot.plants import ANYWHERE, BOX, pendulum, some_surface, swing_up, with_products

MODEL = pendulum()
X0 = np.array([2.5, -1.0])
PLANS = np.random.default_rng(0).uniform(-2.0, 2.0, (150, 20, 1))


def by_numpy(g: Objective, x: Array, plans: Array, model: LiftedModel = MODEL) -> Array:
    """The same, one step after the other in double precision."""
    embed, worth = model.signals.embedding, np.zeros(len(plans))
    X = model.rolled_out(x, plans, "relifted")
    before = np.concatenate([np.broadcast_to(x, (len(plans), 1, 2)), X[:, :-1]], axis=1)
    alive, factor = np.ones(len(plans)), 1.0
    for k in range(plans.shape[1]):
        e, after, u = embed(before[:, k]), embed(X[:, k]), plans[:, k]
        paid = g.reward(np.hstack([after if g.after else e, u]))
        r = paid[:, 0]
        if paid.shape[1] > 1 and k:
            r = r + g.reward(np.hstack([e, plans[:, k - 1]]))[:, 1]
        over = ((X[:, k] < g.box[0]) | (X[:, k] > g.box[1])).any(axis=1)
        ends = np.zeros(len(plans))
        if g.of_state is not None:
            told = g.of_state(after)
            over |= told[:, 0] > 0.5
            ends = told[:, 1]
            worth += factor * alive * g.unknown * told[:, 2]
        if g.trusted is not None:
            outside = ((X[:, k] < g.trusted[0]) | (X[:, k] > g.trusted[1])).any(axis=1)
            worth += factor * alive * g.distrust * outside
        worth += factor * alive * np.where(over, ends, r)
        alive = np.where(over, 0.0, alive)
        factor *= g.discount
    if g.value is not None:
        worth += factor * alive * g.value(embed(X[:, -1]))[:, 0]
    return worth


LIMITS = np.array([[-np.inf, -5.0], [np.inf, 5.0]])
FULL = Objective(
    reward=some_surface(4, 1, 0),
    after=True,
    of_state=some_surface(3, 3, 1),
    box=LIMITS,
    value=some_surface(3, 1, 2),
    discount=0.97,
    unknown=-0.3,
    trusted=np.array([[-np.inf, -4.0], [np.inf, np.inf]]),
    distrust=-2.0,
)


@pytest.mark.parametrize(
    "goal",
    [
        FULL,
        Objective(some_surface(4, 1, 3), False, None, ANYWHERE),
        Objective(some_surface(4, 2, 4), True, None, LIMITS, discount=0.9),
    ],
    ids=["all there is", "before the step", "a difference"],
)
def test_the_loop_prices_plans_as_one_step_after_the_other_does(goal: Objective) -> None:
    search = PlanSearch([MODEL], goal, BOX, Effort(20))
    exact = by_numpy(goal, X0, PLANS)
    off = np.abs(search.worth(X0, PLANS) - exact)
    # A plan that ends at a limit's very edge may end a step earlier in single precision.
    assert np.quantile(off, 0.97) < 1e-3 * exact.std()


def test_products_of_two_inputs_count_as_in_the_model() -> None:
    model = with_products()
    search = PlanSearch([model], FULL, BOX, Effort(20))
    exact = by_numpy(FULL, X0, PLANS, model)
    off = np.abs(search.worth(X0, PLANS) - exact)
    assert off.max() < 1e-4 * exact.std()
    assert off.max() < 0.1 * np.abs(exact - by_numpy(FULL, X0, PLANS)).max()


def test_a_state_held_at_its_limit_moves_the_others_as_in_the_model() -> None:
    fast = np.array([0.5, 7.9])
    assert MODEL.signals.saturating.any()
    goal = Objective(some_surface(4, 1, 3), True, None, ANYWHERE)
    exact = by_numpy(goal, fast, PLANS)
    found = PlanSearch([MODEL], goal, BOX, Effort(20)).worth(fast, PLANS)
    np.testing.assert_allclose(found, exact, atol=1e-3 * exact.std())


def test_inputs_held_for_two_steps_are_worth_what_they_are_written_out() -> None:
    held = PlanSearch([MODEL], replace(FULL, hold=2), BOX, Effort(20)).worth(X0, PLANS)
    written_out = PlanSearch([MODEL], FULL, BOX, Effort(40)).worth(X0, np.repeat(PLANS, 2, axis=1))
    np.testing.assert_allclose(held, written_out, rtol=1e-12)


def test_several_models_count_as_their_mean() -> None:
    one = PlanSearch([MODEL], FULL, BOX, Effort(20)).worth(X0, PLANS)
    two = PlanSearch([MODEL, MODEL], FULL, BOX, Effort(20)).worth(X0, PLANS)
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_the_search_finds_what_random_plans_do_not_and_the_same_again() -> None:
    search = PlanSearch([MODEL], swing_up(), BOX, Effort(40, 128, 3, 8), seed=5)
    plan, worth = search.plan(X0)
    wild = np.random.default_rng(1).uniform(-2.0, 2.0, (3000, 40, 1))
    assert worth > search.worth(X0, wild).max()
    assert np.abs(plan).max() <= 2.0
    np.testing.assert_allclose(worth, search.worth(X0, plan[None])[0])
    search.restart()
    again, _ = search.plan(X0)
    np.testing.assert_array_equal(again, plan)


def test_the_next_step_begins_from_the_plan_of_the_one_before() -> None:
    search = PlanSearch([MODEL], swing_up(), BOX, Effort(40, 64, 1, 12), seed=5)
    plan, _ = search.plan(X0)
    x = MODEL.rolled_out(X0, plan[None], "relifted")[0, 0]
    moved_on = np.concatenate([plan[1:], plan[-1:]])
    _, worth = search.plan(x)
    assert worth >= search.worth(x, moved_on[None])[0] - 1e-4


def test_a_search_is_as_long_as_its_counted_work_affords() -> None:
    cheap = Effort.affordable(MODEL, swing_up())
    assert (cheap.n_plans, cheap.iterations) == (250, 3)
    dear = replace(FULL, of_state=some_surface(3, 3, 1, neurons=400), hold=2)
    shorter = Effort.affordable(MODEL, dear)
    assert shorter.n_plans < cheap.n_plans and shorter.iterations >= 2
    # The same number of plans costs twice as much where a decision lasts twice as long.
    assert Effort.affordable(MODEL, replace(dear, hold=1, horizon=100)).n_plans == shorter.n_plans
