"""What is rewarded and when an episode ends, from samples alone."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from koopman_control.autopilot.reward import (
    EndModel,
    RewardModel,
    Samples,
    aimless,
    less_effort,
    rarity,
    staying,
    unknown_places,
)
from koopman_control.autopilot.search import Objective
from koopman_control.autopilot.value import fitted_value
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from tests.autopilot.plants import ANYWHERE, BOX, pendulum, pendulum_data, some_surface

MODEL = pendulum()
SEEN = Samples.of(pendulum_data(), MODEL)
EMBED = MODEL.signals.embedding


def paying(r: Array) -> Samples:
    return replace(SEEN, r=r)


def test_a_quadratic_reward_before_the_step_is_found_to_be_one() -> None:
    r = -(SEEN.x[:, 1] ** 2) - 0.1 * SEEN.u[:, 0] ** 2
    found = RewardModel.fit(paying(r), MODEL)
    assert not found.after
    assert found.r2 > 1.0 - 1e-9
    assert not len(found.surface.b)
    paid = found(EMBED(SEEN.x), SEEN.u, EMBED(SEEN.x_next))
    np.testing.assert_allclose(paid, r, atol=1e-6)


def test_a_reward_of_the_state_after_the_step_is_told_from_one_before() -> None:
    r = np.cos(SEEN.x_next[:, 0]) ** 2
    found = RewardModel.fit(paying(r), MODEL)
    assert found.after
    assert found.r2 > 0.98
    assert "after" in found.form


def test_what_is_paid_for_a_change_of_the_state_is_told_from_both_ends_of_a_step() -> None:
    potential = [np.cos(X[:, 0]) - 0.1 * X[:, 1] ** 2 for X in (SEEN.x, SEEN.x_next)]
    r = potential[1] - potential[0] - 0.01 * SEEN.u[:, 0] ** 2
    found = RewardModel.fit(paying(r), MODEL)
    assert found.r2 > 1.0 - 1e-6
    assert "before and after" in found.form
    paid = found(EMBED(SEEN.x), SEEN.u, EMBED(SEEN.x_next))
    np.testing.assert_allclose(paid, r, atol=1e-3 * r.std())
    other_input = found(EMBED(SEEN.x), 0.0 * SEEN.u, EMBED(SEEN.x_next))
    off = np.abs(other_input - paid - 0.01 * SEEN.u[:, 0] ** 2)
    assert np.quantile(off, 0.99) < 1e-3 * r.std()  # the highest is clipped


def test_a_constant_reward_is_one() -> None:
    found = RewardModel.fit(paying(np.full(len(SEEN.r), 2.5)), MODEL)
    np.testing.assert_array_equal(found(EMBED(SEEN.x), SEEN.u, EMBED(SEEN.x_next)), 2.5)


def test_rewards_count_by_how_few_are_as_high() -> None:
    r = np.array([0.0] * 90 + [1.0] * 10)
    np.testing.assert_allclose(rarity(r), [1.0] * 90 + [10.0] * 10)
    np.testing.assert_allclose(rarity(-7.0 * r[::-1])[:10], 1.0)


def test_a_goal_that_is_hardly_ever_reached_is_still_where_the_reward_is_highest() -> None:
    away = np.hypot(SEEN.x_next[:, 0], 0.3 * SEEN.x_next[:, 1])
    nearest = np.sort(away)[12]
    found = RewardModel.fit(paying((away <= nearest).astype(float)), MODEL)
    paid = found(EMBED(SEEN.x), SEEN.u, EMBED(SEEN.x_next))
    assert (away[np.argsort(-paid)[:10]] <= 3.0 * nearest).all()


def test_effort_costs_nothing_in_the_middle_of_the_box_and_its_price_at_the_edge() -> None:
    box = np.array([[-1.0, 0.0], [3.0, 10.0]])
    plain = some_surface(4, 2, seed=8)
    Z = np.array([[0.3, -0.2, 1.0, 5.0], [0.3, -0.2, 3.0, 5.0], [0.3, -0.2, -1.0, 0.0]])
    off = plain(Z) - less_effort(plain, box, 0.25)(Z)
    np.testing.assert_allclose(off, [[0.0, 0.0], [0.25, 0.0], [0.5, 0.0]], atol=1e-12)


def test_staying_costs_its_price_a_spread_away_in_all_inputs() -> None:
    plain, center, spread = some_surface(4, 1, seed=8), np.ones(3), np.array([1.0, 2.0, 0.1])
    Z = np.array([[1.0, 1.0, 1.0, 0.7], [2.0, -1.0, 1.1, 0.7], [3.0, 1.0, 1.0, 0.7]])
    off = plain(Z) - staying(plain, center, spread, 0.3)(Z)
    np.testing.assert_allclose(off[:, 0], [0.0, 0.3, 0.4], atol=1e-12)


def test_rewards_of_pendulum_are_learned() -> None:
    assert RewardModel.fit(SEEN, MODEL).r2 > 0.99


def ending(ended: NDArray[np.bool_]) -> Samples:
    return replace(SEEN, ended=ended, r=np.where(ended, -7.0, 1.0))


def test_limits_that_end_episodes_are_found_between_what_ended_and_what_did_not() -> None:
    speed = SEEN.x_next[:, 1]
    end = EndModel.fit(ending(np.abs(speed) > 5.0), MODEL)
    assert end.explained == 1.0
    np.testing.assert_allclose(end.box[:, 1], [-5.0, 5.0], atol=0.5)
    assert np.isinf(end.box[:, 0]).all()
    np.testing.assert_allclose(end.surface(EMBED(SEEN.x))[:, 1], -7.0, atol=1e-9)


def test_ends_inside_the_data_are_told_by_features() -> None:
    ended = np.hypot(SEEN.x_next[:, 0] - 2.0, 0.5 * SEEN.x_next[:, 1]) < 1.2
    assert 20 < ended.sum() < 0.5 * len(ended)
    end = EndModel.fit(ending(ended), MODEL)
    assert end.explained < 0.95
    told = end.surface(EMBED(SEEN.x_next))[:, 0] > 0.5
    assert (told == ended).mean() > 0.9


def test_no_end_was_seen_where_none_was() -> None:
    end = EndModel.fit(SEEN, MODEL)
    assert end.n_ends == 0
    assert np.isinf(end.box).all()


def test_places_without_data_are_unknown() -> None:
    low = replace(SEEN, x=SEEN.x.clip(None, 0.5), x_next=SEEN.x_next.clip(None, 0.5))
    unknown = unknown_places(low, MODEL)
    known, never = unknown(EMBED(low.x)).mean(), unknown(EMBED(np.array([[1.5, 0.9]])))[0, 0]
    assert known < 0.2 < 0.8 < never


def test_rewards_of_inputs_alone_are_nothing_to_aim_at() -> None:
    r = -0.1 * SEEN.u[:, 0] ** 2
    assert aimless(paying(r)) and aimless(paying(np.zeros(len(r))))
    assert not aimless(paying(r + np.where(np.arange(len(r)) == 100, 1.0, 0.0)))
    assert not aimless(replace(paying(r), ended=np.arange(len(r)) == 100))


def plain(reward: RewardModel) -> Objective:
    return Objective(reward.surface, reward.after, None, ANYWHERE)


@pytest.fixture(scope="module")
def upright() -> LiftedModel:
    return MODEL


def test_the_value_of_staying_is_that_of_a_geometric_series(upright: LiftedModel) -> None:
    reward = RewardModel.fit(paying(np.full(len(SEEN.r), 3.0)), upright)
    end = EndModel.fit(SEEN, upright)
    value = fitted_value(upright, reward, end, SEEN.x, plain(reward), 0.9, None, BOX)
    np.testing.assert_allclose(value(EMBED(SEEN.x)), 3.0 / 0.1, rtol=0.01)


def test_the_value_is_higher_where_the_goal_is_nearer() -> None:
    r = np.where(np.abs(SEEN.x_next[:, 0]) < 0.6, 1.0, 0.0)
    reward, end = RewardModel.fit(paying(r), MODEL), EndModel.fit(SEEN, MODEL)
    value = fitted_value(MODEL, reward, end, SEEN.x, plain(reward), 0.97, None, BOX)
    near, away = value(EMBED(np.array([[0.1, 0.0], [3.1, 0.0]])))[:, 0]
    assert near > away


def test_no_state_is_worth_more_than_an_end_that_is_paid_once() -> None:
    ended = SEEN.x_next[:, 1] > 3.0
    r = np.where(ended, 100.0, -0.1)
    samples = replace(SEEN, r=r, ended=ended)
    reward, end = RewardModel.fit(samples, MODEL), EndModel.fit(samples, MODEL)
    value = fitted_value(MODEL, reward, end, SEEN.x, plain(reward), 0.99, None, BOX)
    worth = value(EMBED(SEEN.x))[:, 0]
    assert worth.max() <= 100.0 + 1e-9
    assert worth[SEEN.x[:, 1] > 2.5].mean() > 80.0


def test_places_that_the_model_cannot_follow_are_unknown() -> None:
    followed = SEEN.x[:, 1] < 2.0
    unknown = unknown_places(SEEN, MODEL, followed)(EMBED(SEEN.x))[:, 0]
    assert unknown[followed].mean() < 0.1 < 0.5 < unknown[~followed].mean()
